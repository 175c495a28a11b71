"""Steps: one rank's share of the positions, step by step, and how it is cut into tasks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from shards.batch import Batch
    from shards.plan import Plan, Rows

TASK_CLIPS = 256
"""At most: a quarter of a second of decoding 4 s of FLAC each, and a message of 30 KB."""

FEWEST_CLIPS = 16
"""Below that a task costs more to hand out than to do; enough of tracks decoded as a whole."""

PLANNED_ROWS = 2_048
"""At a time: a row then costs 2 µs, planned by the batch of 64 it costs 40."""


class Steps:
    """Step k takes positions [start + k·G, start + (k + 1)·G), this rank its part of them.

    A plan that reads a track for c steps on end (`crops_per_visit`) has blocks of c steps, counted
    from position 0, which are read together.
    """

    def __init__(
        self, plan: Plan, start: int, stop: int | None, batch_size: int, rank: int, world_size: int
    ) -> None:
        self.plan, self.start, self.stop, self.batch_size = plan, start, stop, batch_size
        self.rank_size = batch_size // world_size
        self.offset = rank * self.rank_size
        self.crops: int = getattr(plan, "crops_per_visit", 1)

    @property
    def count(self) -> int | None:
        """Steps until the plan ends, None if it does not."""
        if self.stop is None:
            return None
        return max(0, -(-(self.stop - self.start) // self.batch_size))

    def blocks(self) -> Iterator[tuple[range, Rows]]:
        """Steps that are read together, with their rows, which are planned for many at once."""
        ahead = max(1, PLANNED_ROWS // (self.rank_size * self.crops))
        ranges = self._ranges()
        while some := [*islice(ranges, ahead)]:
            first = some[0].start
            rows = self.rows(first, some[-1].stop - first)
            for steps in some:
                at = slice(*((step - first) * self.rank_size for step in (steps.start, steps.stop)))
                yield steps, part(rows, at)

    def _ranges(self) -> Iterator[range]:
        """Blocks of steps; after a resume the first may be the rest of one."""
        step, before = 0, self.start // self.batch_size
        while self.count is None or step < self.count:
            end = step + self.crops - (before + step) % self.crops
            end = end if self.count is None else min(end, self.count)
            yield range(step, end)
            step = end

    def rows(self, step: int, count: int = 1) -> Rows:
        """Located plan rows of `count` steps, [count · rank_size]."""
        first = self.start + np.arange(step, step + count, dtype=np.int64) * self.batch_size
        position = (first[:, None] + self.offset + np.arange(self.rank_size)).reshape(-1)
        if self.stop is None:
            return self.plan.located(position)
        inside = position < self.stop
        rows = self.plan.located(np.minimum(position, self.stop - 1))
        # A plan may leave positions empty itself.
        return {**rows, "position": position, "valid": inside & rows.get("valid", True)}

    def parts(
        self, num_steps: int, num_workers: int, *, sandboxed: bool = False
    ) -> list[np.ndarray]:
        """Rows of each task of a block, as places in `rows`: a track's crops stay together."""
        clips = num_steps * self.plan.num_views
        limits = FEWEST_CLIPS, FEWEST_CLIPS if sandboxed else TASK_CLIPS
        least, most = (max(1, limit // clips) for limit in limits)
        size = max(least, min(most, -(-self.rank_size // max(1, num_workers))))
        places = np.arange(self.rank_size)
        of_step = np.arange(num_steps)[:, None] * self.rank_size
        return [
            (of_step + places[at : at + size]).reshape(-1) for at in range(0, self.rank_size, size)
        ]

    def check(self, batch: Batch, step: int) -> Batch:
        """The batch, if it is the one of this step; an order gone wrong must never train."""
        want = self.start + step * self.batch_size + self.offset
        first, last = int(batch.position[0]), int(batch.position[-1])
        if first != want or last != want + self.rank_size - 1:
            raise RuntimeError(
                f"Step {step} came with positions {first} … {last}, want {want} …: the order broke."
            )
        return batch


def part(rows: Rows, at: Any) -> Rows:
    """Some of the rows."""
    return {name: column[at] for name, column in rows.items()}
