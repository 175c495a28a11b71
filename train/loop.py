"""pretrain(): the whole training, read downward. The only module that imports accelerate."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin
from torch import nn

from shards.batch import Batch
from shards.draw import draw
from shards.errors import InputError
from shards.index import Index
from shards.labels import Labels
from shards.plan import TrainPlan
from shards.stream import Stream, stream
from shards.text import shown
from shards.views import view_class
from train import history
from train.bad_records import BadRecords, bad_records_path
from train.checkpoint import State, export_encoder, export_head, load_encoder, save_checkpoint
from train.config import Run
from train.encoders import build_encoder
from train.encoders.encoder import Encoder
from train.excluded import write_excluded
from train.frontend import resampler
from train.log import Log
from train.methods import method_class
from train.methods.method import Archive, Method
from train.optimizer import adamw
from train.plan import plan_of
from train.schedule import learning_rate
from train.signals import StopFlag

Settings = dict[str, Any]


@dataclass(frozen=True)
class Parts:
    """What a run is made of."""

    accelerator: Accelerator
    plan: TrainPlan
    method: Method
    wrapped: nn.Module  # the method as DistributedDataParallel and mixed precision see it
    optimizer: torch.optim.Optimizer
    resample: nn.Module


def pretrain(
    run: Run,
    *,
    method: Settings | None = None,
    encoder: Settings | None = None,
    view: Settings | None = None,
) -> int:
    """Train until `run.steps`, or until asked to stop; the exit status, 0 when all is done.

    Args:
        run: What describes the run.
        method: Keyword arguments of the method.
        encoder: Keyword arguments of the encoder.
        view: Keyword arguments of the method's view.
    """
    run.validate()
    settings = {"method": method or {}, "encoder": encoder or {}, "view": view or {}}
    parts = assemble(run, settings)
    accelerator, plan = parts.accelerator, parts.plan

    facts = history.facts(run, settings, plan)
    state = history.begin(run, facts, parts.method, parts.optimizer, accelerator)
    if accelerator.is_main_process:
        write_excluded(run, plan)
        print(history.opening(run, plan, parts.method.encoder, state), flush=True)
    if run.tracker != "none":
        accelerator.init_trackers("tensorboard")
    with (
        StopFlag() as stop,
        batches(run, plan, state.samples_seen, accelerator) as stream_of_batches,
    ):
        reached = train(run, parts, state, stream_of_batches, stop)
    if run.tracker != "none":
        accelerator.end_training()
    if accelerator.is_main_process:
        # Again, for a run that was killed between its last checkpoint and this.
        export_encoder(parts.method.encoder, run.out, card=history.model_card(run, reached))
        export_head(parts.method, run.out)
        print(history.closing(run, reached), flush=True)
    return 128 + stop.signal if stop.signal is not None and reached.step < run.steps else 0


def assemble(run: Run, settings: dict[str, Settings]) -> Parts:
    """Plan, method and optimizer of a run; first weights are a function of the seed alone."""
    accelerator = Accelerator(
        mixed_precision=run.precision,
        cpu=run.device == "cpu",
        log_with="tensorboard" if run.tracker == "tensorboard" else None,
        project_dir=run.out,
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
    )
    view = view_class(method_class(run.method).view)(**settings["view"])
    plan = plan_of(run, view, where=method_class(run.method).where(settings["method"]))
    tracks = plan.selection
    kept = first_encoder(run, settings["encoder"])
    if run.init is not None:
        settings["encoder"] = dict(kept.config)
    torch.manual_seed(run.seed)
    method = method_class(run.method)(kept, **settings["method"])
    method.setup(
        Archive(
            num_rows=tracks.num_rows,
            sample_rate=tracks.sample_rate,
            labels=partial(open_labels, tracks.indexes),
        )
    )
    optimizer = adamw(method, lr=run.lr, weight_decay=run.weight_decay)
    wrapped, optimizer = accelerator.prepare(method, optimizer)
    resample = resampler(tracks.sample_rate, kept.sample_rate).to(accelerator.device)
    return Parts(accelerator, plan, method, wrapped, optimizer, resample)


def first_encoder(run: Run, config: Settings) -> Encoder:
    """A new encoder, or the one of `--init`, which is built as it was then."""
    if run.init is None:
        return build_encoder(run.encoder, config, run.seed)
    encoder = load_encoder(run.init).train()
    if encoder.name != run.encoder:
        raise InputError(
            f"{shown(run.init)} holds a {encoder.name}: give --encoder {encoder.name}."
        )
    return encoder


def open_labels(indexes: Sequence[Index], name: str) -> Labels:
    """A label set of the one archive of a run."""
    if len(indexes) != 1:
        raise InputError("Labels are learnt from one archive: give one --index.")
    return Labels.open(indexes[0], name)


def train(run: Run, parts: Parts, state: State, stream_of_batches: Stream, stop: StopFlag) -> State:
    """The loop: from a state to the end of the run, or to where it was asked to stop."""
    step, seen, saved = state.step, state.samples_seen, state.step
    accelerator, method, optimizer = parts.accelerator, parts.method, parts.optimizer
    parts.wrapped.train()
    with Log(run, state, accelerator, stream_of_batches.stats) as log:
        while step < run.steps and not _asked_to_stop(stop, accelerator):
            drawn = next(stream_of_batches)
            log.trace(step, drawn)
            lr = set_learning_rate(run, optimizer, seen)
            _seed_torch(run, step, accelerator.process_index)

            batch = parts.plan.view.apply(drawn.to(accelerator.device))
            terms, gathered = parts.wrapped(_resampled(batch, parts.resample))
            loss = torch.stack(list(terms.values())).sum()
            accelerator.backward(loss)
            norm = accelerator.clip_grad_norm_(method.parameters(), run.clip_norm or math.inf)
            optimizer.step()
            optimizer.zero_grad()

            step, seen = step + 1, seen + run.batch_size
            method.after_step(gathered, step / run.steps)
            log.step(step, seen, terms=terms, loss=loss.detach(), lr=lr, grad_norm=norm)
            if step % run.save_every == 0:
                log.check(step, loss)
                saved = _save(run, parts, State(step, seen, parts.plan.describe()))
        if saved < step:
            log.check(step, loss)
    reached = State(step, seen, parts.plan.describe())
    if saved < step:
        _save(run, parts, reached)
    return reached


def set_learning_rate(run: Run, optimizer: torch.optim.Optimizer, seen: int) -> float:
    """The rate at `seen` samples; a scheduler object would step once a process."""
    lr = learning_rate(
        run.lr,
        seen=seen,
        batch=run.batch_size,
        warmup=run.warmup_steps * run.batch_size,
        total=run.steps * run.batch_size,
    )
    for group in optimizer.param_groups:
        group["lr"] = lr
    return lr


@contextmanager
def batches(run: Run, plan: TrainPlan, seen: int, accelerator: Accelerator) -> Iterator[Stream]:
    """This process's stream from `seen` on; with Ray, from its start to its end."""
    if run.backend == "ray":
        from shards import ray_backend

        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        ray_backend.connect(
            num_cpus=local * max(1, run.num_workers),  # a rank with much to do starves no other
            local_rank=accelerator.local_process_index,
            exchange=_all_gather,
        )
    path = bad_records_path(run.out, accelerator.process_index)
    with BadRecords(path, seen) as bad:
        ours = stream(
            plan,
            start=seen,
            batch_size=run.batch_size,
            rank=accelerator.process_index,
            world_size=accelerator.num_processes,
            backend=run.backend,
            num_workers=run.num_workers,
            prefetch=PREFETCH,
            pin=accelerator.device.type == "cuda",
            max_bad_frac=run.max_bad_frac,
            on_bad=bad.add,
            bad_listed=f"They are listed in {shown(path)}.",
        )
        all_is_well = False
        try:
            with ours:
                yield ours
            all_is_well = True
        finally:
            if run.backend == "ray":
                _leave_ray(accelerator, together=all_is_well)


PREFETCH = 3
"""Batches ready before they are asked for."""


def _leave_ray(accelerator: Accelerator, *, together: bool) -> None:
    """Its guests first, then the process that started it; after an error nobody is waited for."""
    from shards import ray_backend

    if accelerator.local_process_index:
        ray_backend.disconnect()
    if together:
        accelerator.wait_for_everyone()
    ray_backend.disconnect()


def _all_gather(mine: Any) -> list[Any]:
    if not dist.is_initialized():
        return [mine]
    everyone: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, mine)
    return everyone


def _asked_to_stop(stop: StopFlag, accelerator: Accelerator) -> bool:
    """Whether any process was; all must agree, or those left would wait for ever."""
    asked = stop.signal is not None
    if accelerator.num_processes == 1:
        return asked
    flag = torch.tensor([float(asked)], device=accelerator.device)
    dist.all_reduce(flag)
    return bool(flag.item())


def _seed_torch(run: Run, step: int, process: int) -> None:
    """Draws on the device (dropout and the like) are addressed by step: nothing to restore."""
    torch.manual_seed(int(draw(run.seed, "torch", torch.tensor(step), process)))


def _resampled(batch: Batch, resample: nn.Module) -> Batch:
    """Clips and their parts at the rate the encoder wants."""
    if isinstance(resample, nn.Identity):
        return batch
    clips = resample(batch.clips)
    scale = clips.shape[-1] / batch.clips.shape[-1]
    parts = tuple(resample(level) for level in batch.parts)
    return replace(batch, clips=clips, parts=parts, frames=(batch.frames * scale).long())


def _save(run: Run, parts: Parts, state: State) -> int:
    """Checkpoint and encoder, by the main process; all wait, so that none runs ahead of it."""
    if parts.accelerator.is_main_process:
        save_checkpoint(run.out, parts.method, parts.optimizer, state, keep=run.keep)
        export_encoder(parts.method.encoder, run.out, card=history.model_card(run, state))
        export_head(parts.method, run.out)
    parts.accelerator.wait_for_everyone()
    return state.step
