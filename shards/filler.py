"""Filler: whoever decodes tasks into the slots of a ring; and the one that is this process."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from shards.decode import Decoder
from shards.located import Report
from shards.ring import Ring

if TYPE_CHECKING:
    from shards.plan import Rows


@dataclass(frozen=True)
class Task:
    """Located plan rows [n], and the place of each in the ring's arrays."""

    number: int
    rows: Rows
    at: np.ndarray


@dataclass(frozen=True)
class Done:
    """A task whose clips lie in the ring."""

    number: int
    report: Report


class Filler(Protocol):
    """Takes tasks, gives them back done in any order; raises what no further try can mend."""

    def submit(self, task: Task) -> None:
        """Take a task, without waiting for anything."""
        ...

    def wait(self, timeout_s: float) -> list[Done]:
        """Tasks done since the last call; none only if none was done in time."""
        ...

    def close(self) -> None:
        """End all work; nothing writes into the ring any more when this returns."""
        ...


class Here:
    """Decodes in this process while it is waited for: works anywhere, and ahead of nobody."""

    def __init__(self, decoder: Decoder, ring: Ring) -> None:
        self._decoder, self._ring = decoder, ring
        self._tasks: deque[Task] = deque()

    def submit(self, task: Task) -> None:
        """Keep the task for later."""
        self._tasks.append(task)

    def wait(self, timeout_s: float) -> list[Done]:
        """The oldest task, done now."""
        task = self._tasks.popleft()
        report = self._decoder.fill(task.rows, self._ring.clips, self._ring.valid, task.at)
        return [Done(task.number, report)]

    def close(self) -> None:
        """Forget the tasks."""
        self._tasks.clear()
