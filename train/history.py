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
from train.checkpoint import State, checkpoints, load_checkpoint, newest_checkpoint, sweep
from train.config import DECIDES, Run
from train.encoders.encoder import Encoder

if TYPE_CHECKING:
    from accelerate import Accelerator

Facts = dict[str, Any]


def facts(run: Run, settings: dict[str, dict[str, Any]], plan: TrainPlan) -> Facts:
    """All that decides what a run computes, and with what it was computed; as run.json has it."""
    plain = {name: _plain(value) for name, value in asdict(run).items()}
    return {
        "run": plain,
        **{part: _plain(given) for part, given in settings.items()},
        "index_fingerprint": plan.index.fingerprint,
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
    state = State(step=0, samples_seen=0, plan_fingerprint=now["plan_fingerprint"])
    if newest is not None:
        refuse_changes(read_json(run.out / "run.json"), now)
        state = load_checkpoint(newest, method, optimizer)
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
    for part in ("method", "encoder", "view"):
        old |= {f"{part}.{name}": value for name, value in before[part].items()}
        new |= {f"{part}.{name}": value for name, value in now[part].items()}
    for name in ("index_fingerprint", "plan_fingerprint"):
        old[name], new[name] = before[name], now[name]
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
    index = plan.index
    used, left_out = len(plan.rows), plan.excluded[plan.excluded != ""]
    lines = [
        f"{run.method}: {used} of {len(index)} tracks, "
        f"{index.column('duration_s')[plan.rows].sum() / 3600:.2f} h at {index.sample_rate} Hz; "
        f"{sum(p.numel() for p in encoder.parameters()):,} parameters in the encoder"
    ]
    for reason in sorted(set(left_out)):
        lines.append(f"left out: {(left_out == reason).sum()} tracks, {reason}")
    if used < run.batch_size:
        lines.append(f"note: a batch of {run.batch_size} holds a track more than once")
    if encoder.sample_rate > index.sample_rate:
        lines.append(
            f"warning: {run.encoder} wants {encoder.sample_rate} Hz, the archive has "
            f"{index.sample_rate} Hz; what is above {index.sample_rate // 2} Hz stays empty"
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
    return (
        f"trained {state.step} steps; next: evaluate {shown(run.index)} --encoder {shown(run.out)}"
    )


def model_card(run: Run, state: State) -> str:
    """README.md of the encoder folder."""
    return f"""---
library_name: wholetone
tags: [music, audio, self-supervised, {run.method}]
---
# {run.encoder}, pre-trained with {run.method}

{state.step} of {run.steps} steps, {state.samples_seen:,} tracks drawn, seed {run.seed}.
Settings and versions stand in `run.json` of the run, its data in `manifest.json` of the archive
with plan fingerprint `{state.plan_fingerprint}`.

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
