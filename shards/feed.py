"""Feed: the batches of a rank, step by step, out of a ring that a filler fills ahead."""

from __future__ import annotations

import faulthandler
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from shards.batch import Batch
from shards.decode import COLUMNS
from shards.filler import Filler, Task
from shards.how import SANDBOXED
from shards.located import Report
from shards.plan import Rows
from shards.ring import Ring
from shards.steps import Steps, part

TIMEOUT_S = 300.0
"""Without any task done while the trainer waits: then something is stuck."""


Bad = tuple[int, str, str]
"""Place in a batch, code and message of a row that could not be decoded."""


@dataclass
class _Step:
    """A step whose clips lie, or soon lie, in a slot."""

    slot: int
    rows: Rows
    missing: set[int] = field(default_factory=set)  # numbers of the tasks that are not done
    bad: list[Bad] = field(default_factory=list)


class RingFeed:
    """Steps in order; each slot is filled again when its batch has been used.

    Args:
        steps: What to read.
        ring: Where to.
        filler: Who does.
        num_workers: How many it has, for the size of a task.
        timeout_s: How long it may do nothing while it is waited for.
    """

    def __init__(
        self,
        steps: Steps,
        ring: Ring,
        filler: Filler,
        *,
        num_workers: int,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.steps, self.ring, self._filler = steps, ring, filler
        self._num_workers, self._timeout_s = num_workers, timeout_s
        self._blocks = steps.blocks()
        self._free = deque(range(ring.shape.num_slots))
        self._steps: dict[int, _Step] = {}
        self._tasks: dict[int, np.ndarray] = {}  # number → places in the ring
        self._number = 0
        self.cost = Report()  # of all tasks so far
        try:
            self._next_block = next(self._blocks, None)
            self._submit()
        except BaseException:
            self.close()
            raise

    @property
    def ready(self) -> int:
        """Batches that lie ready."""
        return sum(not step.missing for step in self._steps.values())

    @property
    def slots(self) -> int:
        """Batches that may."""
        return self.ring.shape.num_slots

    def take(self, step: int) -> tuple[Batch, list[Bad]]:
        """The batch of a step, its arrays in the ring, and what is bad in it; waits for it."""
        self._submit()
        waited = self._steps[step]
        last_s = time.monotonic()
        while waited.missing:
            for done in self._filler.wait(self._timeout_s):
                self._note(done.number, done.report)
                last_s = time.monotonic()
            if time.monotonic() - last_s >= self._timeout_s:
                self._stuck(step)
        slot = self.ring.slot(waited.slot)
        columns = {name: waited.rows[name] for name in COLUMNS}
        batch = Batch(clips=self.ring.clips[slot], valid=self.ring.valid[slot], **columns)
        return batch, sorted(waited.bad)

    def release(self, step: int) -> None:
        """The batch of this step is used: its slot may be filled again."""
        self._free.append(self._steps.pop(step).slot)

    def close(self) -> None:
        """End all work and let go of the ring."""
        self._filler.close()
        self.ring.close()

    def _submit(self) -> None:
        """Hand out as many blocks as there are free slots for."""
        while self._next_block is not None and len(self._next_block[0]) <= len(self._free):
            self._hand_out(*self._next_block)
            self._next_block = next(self._blocks, None)

    def _hand_out(self, block: range, rows: Rows) -> None:
        size = self.steps.rank_size
        slots = [self._free.popleft() for _ in block]
        places = np.concatenate([np.arange(size) + slot * size for slot in slots])
        for i, step in enumerate(block):
            mine = part(rows, slice(i * size, (i + 1) * size))
            self._steps[step] = _Step(slots[i], mine)
        sandboxed = bool((rows["how"] == SANDBOXED).any())
        for some in self.steps.parts(len(block), self._num_workers, sandboxed=sandboxed):
            task = Task(self._number, part(rows, some), places[some])
            self._number += 1
            self._tasks[task.number] = task.at
            for step in block:
                self._steps[step].missing.add(task.number)
            self._filler.submit(task)

    def _note(self, number: int, report: Report) -> None:
        """A task is done: its steps miss it no longer, and know which of their rows are bad."""
        at = self._tasks.pop(number)
        in_slot = {step.slot: step for step in self._steps.values() if number in step.missing}
        for step in in_slot.values():
            step.missing.remove(number)
        for i, code, message in report.bad:
            slot, place = divmod(int(at[i]), self.steps.rank_size)
            in_slot[slot].bad.append((place, code, message))
        self.cost.bytes_read += report.bytes_read
        self.cost.read_s += report.read_s
        self.cost.decode_s += report.decode_s
        self.cost.traffic.add(report.traffic)

    def _stuck(self, step: int) -> NoReturn:
        faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        raise RuntimeError(
            f"Waited {self._timeout_s:g} s for step {step} and nothing was decoded; where all "
            "threads of this process stand is printed above. Look at the disk or the store."
        )
