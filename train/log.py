"""What a run leaves to read while it trains: metrics.jsonl, a progress bar, a tracker, a trace."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from torch import Tensor

from shards.batch import Batch
from shards.errors import NumericError
from shards.files import publish
from shards.progress import Progress
from shards.stream import Stats
from shards.traffic import Traffic
from train.checkpoint import State
from train.config import Run

if TYPE_CHECKING:
    from accelerate import Accelerator


_SHOWN = {"store_bytes_view": "store_bytes_per_view"}
"""Beside the bar, where an archive lies in a store."""


class Log:
    """Writes on the main process; every process checks that the loss is a number.

    After a resume, lines past the checkpoint are dropped first, so that each step stands once.
    """

    def __init__(
        self, run: Run, state: State, accelerator: Accelerator, stats: Callable[[], Stats]
    ) -> None:
        self.run, self.accelerator = run, accelerator
        self._main = accelerator.is_main_process
        self._metrics = (
            reopen(run.out / "metrics.jsonl", _until(state.step)) if self._main else None
        )
        trace = run.out / f"trace-{accelerator.process_index}.jsonl"
        self._trace = reopen(trace, _until(state.step)) if run.trace else None
        self._bar = None
        if self._main:
            self._bar = Progress(run.method, total=run.steps, unit="steps", initial=state.step)
        self._since_s, self._since_step = time.monotonic(), state.step
        self._stats, self._since = stats, stats()

    def trace(self, step: int, batch: Batch) -> None:
        """Note which clips this process is about to learn from."""
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
        numbers["tracks_per_s"] = steps * self.run.batch_size / elapsed_s
        numbers |= self._of_data(elapsed_s)
        _write(self._metrics, {"step": step, "samples_seen": seen, **numbers, "terms": terms})
        self._bar.update(
            0,
            loss=f"{numbers['loss']:.3f}",
            tracks_s=f"{numbers['tracks_per_s']:.0f}",
            wait=f"{numbers['data_wait_share']:.0%}",
            **{
                name: f"{numbers[key] / 1024:.0f}" for name, key in _SHOWN.items() if key in numbers
            },
        )
        if self.run.tracker != "none":
            self.accelerator.log({**numbers, **terms}, step=step)
        self._since_s, self._since_step = time.monotonic(), step

    def _of_data(self, elapsed_s: float) -> dict[str, float]:
        """What the stream of this process has done since the last line."""
        before, now = self._since, self._stats()
        self._since = now
        return {
            "data_wait_share": min(1.0, (now.wait_s - before.wait_s) / elapsed_s),
            "views_per_s": (now.views - before.views) / elapsed_s,
            "read_mb_per_s": (now.bytes_read - before.bytes_read) / 1e6 / elapsed_s,
            "batches_ready": now.ready,
            "batches_ready_at_most": now.slots,
            "unique_tracks_100_steps": now.unique_tracks,
            "bad_records": now.bad,
            **of_store(now.traffic.since(before.traffic), now.views - before.views),
        }

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._metrics, self._trace):
            if file is not None:
                file.close()
        if self._bar is not None:
            self._bar.close()


def of_store(traffic: Traffic, views: int) -> dict[str, float]:
    """What reading from an object store has cost a view; nothing where none is read."""
    if not traffic.wanted or not views:
        return {}
    return {
        "store_bytes_per_view": traffic.transferred / views,
        "cache_bytes_per_view": traffic.cached / views,
        "wanted_bytes_per_view": traffic.wanted / views,
        "requests_per_view": traffic.requests / views,
        "requests_failed": traffic.failed,
    }


def reopen(path: Path, keep: Callable[[dict[str, Any]], bool]) -> TextIO:
    """The file, open for appending, with only the lines that are kept."""
    kept = []
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                if keep(json.loads(line)):
                    kept.append(line + "\n")
            except ValueError:  # the last line of a process that was killed
                continue
    publish(path, "".join(kept).encode())
    return open(path, "a")


def _write(file: TextIO, facts: dict[str, Any]) -> None:
    file.write(json.dumps(facts) + "\n")
    file.flush()


def _until(step: int) -> Callable[[dict[str, Any]], bool]:
    return lambda facts: facts["step"] <= step
