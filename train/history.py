"""Where a run begins: new, or from what it left; and what it says of itself in words."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from shards.errors import InputError
from shards.files import read_json, shown, write_json
from shards.plan import TrainPlan
from train.checkpoint import (
    State,
    checkpoints,
    load_checkpoint,
    newest_checkpoint,
    read_state,
    sweep,
)
from train.config import DECIDES, Run
from train.encoders.encoder import Encoder
from train.excluded import NAME as EXCLUDED

if TYPE_CHECKING:
    from accelerate import Accelerator

Facts = dict[str, Any]


def facts(run: Run, settings: dict[str, dict[str, Any]], plan: TrainPlan) -> Facts:
    """All that decides what a run computes, and with what it was computed; as run.json has it."""
    plain = {name: _plain(value) for name, value in asdict(run).items()}
    return {
        "run": plain,
        **{part: _plain(given) for part, given in settings.items()},
        "plan": _plain(plan.describe()),
        "plan_fingerprint": plan.fingerprint,
        "versions": {name: version(name) for name in ("wholetone", "torch", "torchaudio", "ray")}
        | {"python": platform.python_version()},
    }


def begin(
    run: Run,
    now: Facts,
    method: nn.Module,
    optimizer: torch.optim.Optimizer,
    accelerator: Accelerator,
) -> State:
    """The state to go on from; refuses to overwrite a run, or to continue another one."""
    if not run.resume and checkpoints(run.out):
        raise InputError(
            f"{shown(run.out)} holds a run already: add --resume to continue it, "
            "or give another folder to --out."
        )
    newest, faults = newest_checkpoint(run.out) if run.resume else (None, [])
    if accelerator.is_main_process:
        for fault in faults:
            print(f"passed over a checkpoint: {fault}", flush=True)
    state = State(step=0, samples_seen=0, plan=now["plan"])
    if newest is not None:
        before = read_json(run.out / "run.json")
        refuse_changes({**before, "plan": read_state(newest).plan}, now)
        state = load_checkpoint(newest, method, optimizer)
        if accelerator.is_main_process and before["run"]["batch_size"] != run.batch_size:
            print(
                f"note: --batch-size was {before['run']['batch_size']}, is {run.batch_size}: the "
                "tracks go on in the same order, in other batches",
                flush=True,
            )
    elif faults:
        raise InputError(f"No checkpoint of {shown(run.out)} is whole: {'; '.join(faults)}.")
    accelerator.wait_for_everyone()  # nobody writes before all have read
    if accelerator.is_main_process:
        run.out.mkdir(parents=True, exist_ok=True)
        sweep(run.out)
        write_json(run.out / "run.json", now)
    accelerator.wait_for_everyone()  # nobody goes on before the folder stands
    return state


def refuse_changes(before: Facts, now: Facts) -> None:
    """`InputError` that names every setting which would make the rest of the run another one."""
    old = {name: before["run"].get(name) for name in DECIDES}
    new = {name: now["run"][name] for name in DECIDES}
    for part in ("method", "encoder"):
        old |= {f"{part}.{name}": value for name, value in before[part].items()}
        new |= {f"{part}.{name}": value for name, value in now[part].items()}
    old, new = {**before["plan"], **old}, {**now["plan"], **new}
    changed = [
        f"{name} was {old.get(name)}, is {new.get(name)}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    if changed:
        raise InputError(
            f"This would not be the same run: {'; '.join(changed)}. Give the settings of "
            "run.json, or another --out."
        )


def opening(run: Run, plan: TrainPlan, encoder: Encoder, state: State) -> str:
    """What is about to be learned from what."""
    chosen = plan.selection
    used = len(chosen)
    lines = [
        f"{run.method}: {used} of {chosen.num_rows} tracks, "
        f"{chosen.duration_s / 3600:.2f} h at {chosen.sample_rate} Hz; "
        f"{sum(p.numel() for p in encoder.parameters()):,} parameters in the encoder"
    ]
    for reason, count in sorted(chosen.left_out.items()):
        lines.append(f"left out: {count} tracks, {reason}")
    if chosen.left_out:
        lines.append(f"what is left out is listed in {shown(run.out / EXCLUDED)}")
    if used < run.batch_size:
        lines.append(f"note: a batch of {run.batch_size} holds a track more than once")
    if encoder.sample_rate > chosen.sample_rate:
        lines.append(
            f"warning: {run.encoder} wants {encoder.sample_rate} Hz, the archive has "
            f"{chosen.sample_rate} Hz; what is above {chosen.sample_rate // 2} Hz stays empty"
        )
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if launched not in ("no", run.precision):
        lines.append(f"note: --precision {run.precision} holds, not the launcher's {launched}")
    if state.step:
        lines.append(f"resumed at step {state.step} of {run.steps}")
    return "\n".join(lines)


def closing(run: Run, state: State) -> str:
    """Where it ended and what to type next."""
    if state.step < run.steps:
        return (
            f"stopped at step {state.step} of {run.steps}; the same command with --resume goes on"
        )
    judge = f"evaluate {shown(run.index[0])} --encoder {shown(run.out)}"
    return f"trained {state.step} steps; next: {judge}"


def model_card(run: Run, state: State) -> str:
    """README.md of the encoder folder."""
    return f"""---
library_name: wholetone
tags: [music, audio, self-supervised, {run.method}]
---
# {run.encoder}, pre-trained with {run.method}

{state.step} of {run.steps} steps, {state.samples_seen:,} tracks drawn, seed {run.seed}.
Settings and versions stand in `run.json` of the run, its data in `manifest.json` of the archive
with the selection `{state.plan["selection"]}`.

```python
from train import load_encoder

encoder = load_encoder("this folder")
embedding = encoder.embed(waveform, frames)  # [B, T] float32 at {{encoder.sample_rate}} Hz
```
"""


def _plain(value: Any) -> Any:
    """As JSON would give it back."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)
