"""stream(plan): a rank's batches in the order of the plan, decoded here or by Ray, bit for bit."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from shards.batch import Batch
from shards.decode import Decoder
from shards.errors import InputError
from shards.plan import Plan, Rows

BACKENDS = ("ray", "inline")


def stream(
    plan: Plan,
    *,
    start: int = 0,
    stop: int | None = None,
    batch_size: int,
    rank: int = 0,
    world_size: int = 1,
    backend: str = "inline",
    num_workers: int = 1,
    prefetch: int = 2,
) -> Iterator[Batch]:
    """Batches of one rank from a position on; endless if the plan is.

    Step k takes the positions [start + k·G, start + (k + 1)·G) for a global batch of G, rank r the
    r-th part of them: any world size that divides G gives the same global batches. A finite plan
    is padded to whole batches with rows that are not valid; all ranks take equally many steps.

    Args:
        plan: What stands at each position.
        start: First position, the samples seen so far.
        stop: Position to end before, the plan's own end if None.
        batch_size: The global batch G, tracks over all ranks.
        rank: Which part of every batch is ours.
        world_size: Number of parts.
        backend: "inline" decodes in threads of this process, "ray" in tasks of Ray Data.
        num_workers: Threads, or tasks at a time.
        prefetch: Batches kept ready.
    """
    if batch_size % world_size:
        raise InputError(f"A batch of {batch_size} does not divide among {world_size} processes.")
    if backend not in BACKENDS:
        raise InputError(f"Want a backend of {BACKENDS}, got {backend!r}.")
    ends = [end for end in (stop, plan.stop) if end is not None]
    steps = Steps(plan, start, min(ends, default=None), batch_size, rank, world_size)
    if backend == "ray":
        from shards.ray_backend import ray_batches

        return ray_batches(steps, num_workers=num_workers, prefetch=prefetch)
    return inline_batches(steps, num_workers=num_workers, prefetch=prefetch)


class Steps:
    """One rank's share of the positions, step by step."""

    def __init__(
        self, plan: Plan, start: int, stop: int | None, batch_size: int, rank: int, world_size: int
    ) -> None:
        self.plan, self.start, self.stop, self.batch_size = plan, start, stop, batch_size
        self.rank_size = batch_size // world_size
        self.offset = rank * self.rank_size

    @property
    def count(self) -> int | None:
        """Steps until the plan ends, None if it does not."""
        if self.stop is None:
            return None
        return max(0, -(-(self.stop - self.start) // self.batch_size))

    def rows(self, step: int, count: int = 1) -> Rows:
        """Located plan rows of `count` steps, [count · rank_size]."""
        first = self.start + np.arange(step, step + count, dtype=np.int64) * self.batch_size
        position = (first[:, None] + self.offset + np.arange(self.rank_size)).reshape(-1)
        if self.stop is None:
            return self.plan.located(position)
        inside = position < self.stop
        rows = self.plan.located(np.minimum(position, self.stop - 1))
        return {**rows, "position": position, "valid": inside}

    def check(self, batch: Batch, step: int) -> Batch:
        """The batch, if it is the one of this step; an order gone wrong must never train."""
        want = self.start + step * self.batch_size + self.offset
        first, last = int(batch.position[0]), int(batch.position[-1])
        if first != want or last != want + self.rank_size - 1:
            raise RuntimeError(
                f"Step {step} came with positions {first} … {last}, want {want} …: the order broke."
            )
        return batch


def inline_batches(steps: Steps, *, num_workers: int, prefetch: int) -> Iterator[Batch]:
    """Batches decoded by threads of this process; libsndfile works without the interpreter lock."""
    decoder = Decoder.of(steps.plan)
    waiting: deque[Future[Rows]] = deque()
    submitted = 0
    with ThreadPoolExecutor(max(1, num_workers), thread_name_prefix="decode") as pool:
        step = 0
        try:
            while steps.count is None or step < steps.count:
                while len(waiting) <= prefetch and (steps.count is None or submitted < steps.count):
                    waiting.append(pool.submit(lambda s: decoder(steps.rows(s)), submitted))
                    submitted += 1
                yield steps.check(Batch(**waiting.popleft().result()), step)
                step += 1
        finally:
            for future in waiting:
                future.cancel()
