"""What a run leaves to read while it trains: metrics.jsonl, a progress bar, a tracker, a trace."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from torch import Tensor

from shards.batch import Batch
from shards.errors import NumericError
from shards.files import publish
from shards.progress import Progress
from train.checkpoint import State
from train.config import Run

if TYPE_CHECKING:
    from accelerate import Accelerator


class Log:
    """Writes on the main process; every process checks that the loss is a number.

    After a resume, lines past the checkpoint are dropped first, so that each step stands once.
    """

    def __init__(self, run: Run, state: State, accelerator: Accelerator) -> None:
        self.run, self.accelerator = run, accelerator
        self._main = accelerator.is_main_process
        self._metrics = _reopen(run.out / "metrics.jsonl", state.step) if self._main else None
        trace = run.out / f"trace-{accelerator.process_index}.jsonl"
        self._trace = _reopen(trace, state.step) if run.trace else None
        self._bar = None
        if self._main:
            self._bar = Progress(run.method, total=run.steps, unit="steps", initial=state.step)
        self._since_s, self._since_step, self._waited_s = time.monotonic(), state.step, 0.0
        self._unreadable = 0

    def trace(self, step: int, batch: Batch, waited_s: float) -> None:
        """Note which clips this process is about to learn from, and how long it waited for them."""
        self._waited_s += waited_s
        self._unreadable += int((~batch.valid).sum())
        if self._trace is not None:
            facts = {name: getattr(batch, name).tolist() for name in ("position", "row", "start")}
            _write(self._trace, {"step": step + 1, **facts})

    def step(self, step: int, seen: int, *, terms: dict[str, Tensor], **facts: Any) -> None:
        """Note a step; every `log_every`-th is written, and must have a finite loss."""
        if self._bar is not None:
            self._bar.update(1)
        if step % self.run.log_every and step not in (1, self.run.steps):
            return
        self.check(step, facts["loss"])
        numbers = {name: float(value) for name, value in facts.items()}
        self._write_line(
            step, seen, numbers, {name: float(x.detach()) for name, x in terms.items()}
        )

    def check(self, step: int, loss: Tensor) -> None:
        """Raise `NumericError` if the loss is no number; called before anything is kept."""
        if not math.isfinite(float(loss.detach())):
            raise NumericError(
                f"The loss is {float(loss.detach())} at step {step}; nothing of it was saved. "
                "Start again in another --out with a lower --lr, or with --precision no."
            )

    def _write_line(
        self, step: int, seen: int, numbers: dict[str, float], terms: dict[str, float]
    ) -> None:
        if self._metrics is None or self._bar is None:
            return
        elapsed_s = max(1e-9, time.monotonic() - self._since_s)
        steps = step - self._since_step
        numbers |= {
            "tracks_per_s": steps * self.run.batch_size / elapsed_s,
            "data_wait_share": min(1.0, self._waited_s / elapsed_s),
            "unreadable_rows": self._unreadable,  # of this process since it started
        }
        _write(self._metrics, {"step": step, "samples_seen": seen, **numbers, "terms": terms})
        self._bar.update(
            0, loss=f"{numbers['loss']:.3f}", tracks_s=f"{numbers['tracks_per_s']:.0f}"
        )
        if self.run.tracker != "none":
            self.accelerator.log({**numbers, **terms}, step=step)
        self._since_s, self._since_step, self._waited_s = time.monotonic(), step, 0.0

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._metrics, self._trace):
            if file is not None:
                file.close()
        if self._bar is not None:
            self._bar.close()


def _reopen(path: Path, step: int) -> TextIO:
    """The file, open for appending, with only the lines of steps up to `step`."""
    kept = []
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except ValueError:  # the last line of a process that was killed
                continue
    publish(path, "".join(kept).encode())
    return open(path, "a")


def _write(file: TextIO, facts: dict[str, Any]) -> None:
    file.write(json.dumps(facts) + "\n")
    file.flush()
