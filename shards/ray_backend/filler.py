"""A filler whose workers are Ray's: tasks go to any node, clips come into the ring.

Plain tasks, not Ray Data. Its executor starts tasks as far ahead as its own account of memory
allows, where ours may only start when a slot is free; and its blocks of clips cost a copy into the
object store and one out of it, its scheduler up to a core of its own while the trainer is busy.
"""

from __future__ import annotations

import time
from typing import Any

from shards.decode import Decoder
from shards.filler import Done, Task
from shards.located import Report
from shards.ray_backend.cluster import check_alive, connect, is_connected
from shards.ray_backend.shared import Block, SharedRing, fill
from shards.ray_backend.tasks import MAX_RETRIES
from shards.ring import Ring

LOOK_S = 1.0
"""Time between two looks at whether Ray lives."""

END_S = 10.0
"""For tasks that run when the stream is closed, before they are killed."""


class RayTasks:
    """Fills a ring by tasks of this process's Ray, which it starts if there is none.

    Args:
        decoder: Does the work.
        ring: Takes the clips.
    """

    def __init__(self, decoder: Decoder, ring: Ring) -> None:
        connect()
        import ray

        self._ray: Any = ray
        self._ring = ring
        self._job = [ray.put((decoder, SharedRing.of(ring)))]
        self._fill = ray.remote(num_cpus=1, max_retries=MAX_RETRIES)(fill)
        self._waiting: dict[Any, Task] = {}

    def submit(self, task: Task) -> None:
        """Hand a task to Ray; slots are free when tasks come, so that all may start."""
        self._waiting[self._fill.remote(self._job, task)] = task

    def wait(self, timeout_s: float) -> list[Done]:
        """Tasks done since the last call; none only if none was done in time."""
        deadline_s = time.monotonic() + timeout_s
        while self._waiting:
            left_s = max(0.0, deadline_s - time.monotonic())
            if self._ready(1, min(LOOK_S, left_s)):
                return [self._take(ref) for ref in self._ready(len(self._waiting), 0)]
            check_alive()
            if left_s == 0:
                break
        return []

    def _ready(self, count: int, timeout_s: float) -> list[Any]:
        """Up to `count` tasks that are done; fewer if there are not as many in time."""
        refs = [*self._waiting]
        done: list[Any] = self._ray.wait(refs, num_returns=count, timeout=timeout_s)[0]
        return done

    def close(self) -> None:
        """End all work; nothing writes into the ring any more when this returns."""
        waiting, self._waiting = [*self._waiting], {}
        self._job = []
        if not waiting or not is_connected():
            return
        for force in (False, True):
            for ref in waiting:
                self._ray.cancel(ref, force=force)
            _, waiting = self._ray.wait(waiting, num_returns=len(waiting), timeout=END_S)
            if not waiting:
                return

    def _take(self, ref: Any) -> Done:
        """A task that is done; raises what a further try does not mend."""
        from ray.exceptions import RayError, RayTaskError

        task = self._waiting.pop(ref)
        try:
            result: Report | Block = self._ray.get(ref)
        except RayTaskError as error:
            raise error.cause from error
        except RayError as error:
            check_alive()
            raise RuntimeError(_gave_up(task, error)) from error
        if isinstance(result, Block):
            self._ring.clips[task.at], self._ring.valid[task.at] = result.clips, result.valid
            result = result.report
        return Done(task.number, result)


def _gave_up(task: Task, error: Exception) -> str:
    rows = [int(row) for row in task.rows["row"]]
    some = ", ".join(map(str, rows[:20])) + (", …" if len(rows) > 20 else "")
    how = str(error).strip().split("\n")[0]
    return (
        f"Ray gave up a task after {MAX_RETRIES + 1} tries ({type(error).__name__}: {how}). It "
        f"reads the tracks in rows {some}. Run `ingest verify` on the archive, and look at the "
        "machine's log for lack of memory."
    )
