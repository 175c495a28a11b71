"""stream(plan): a rank's batches in the order of the plan, whoever decodes them, bit for bit."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol

import numpy as np

from shards.bad import BadRecord, Mender
from shards.batch import Batch
from shards.decode import Decoder
from shards.errors import InputError
from shards.feed import TIMEOUT_S, Bad, RingFeed
from shards.filler import Filler, Here
from shards.located import Report
from shards.plan import Plan
from shards.ring import Ring, Shape
from shards.steps import Steps as Steps
from shards.traffic import Traffic
from shards.workers import DEADLINE_S, Workers

BACKENDS = ("ray", "inline")

STATS_STEPS = 100
"""Of which the unique tracks are counted."""


def stream(
    plan: Plan,
    *,
    start: int = 0,
    stop: int | None = None,
    batch_size: int,
    rank: int = 0,
    world_size: int = 1,
    backend: str = "inline",
    num_workers: int = 0,
    prefetch: int = 2,
    pin: bool = False,
    max_bad_frac: float = 1.0,
    on_bad: Callable[[BadRecord], None] | None = None,
    bad_listed: str = "",
    timeout_s: float = TIMEOUT_S,
    deadline_s: float = DEADLINE_S,
) -> Stream:
    """Batches of one rank from a position on; endless if the plan is.

    Step k takes the positions [start + k·G, start + (k + 1)·G) for a global batch of G, rank r the
    r-th part of them: any world size that divides G gives the same global batches. A finite plan
    is padded to whole batches with rows that are not valid; all ranks take equally many steps.

    A batch is valid until the next one is asked for: `Batch.to` and `Batch.copy` copy it.

    Args:
        plan: What stands at each position.
        start: First position, the samples seen so far.
        stop: Position to end before, the plan's own end if None.
        batch_size: The global batch G, tracks over all ranks.
        rank: Which part of every batch is ours.
        world_size: Number of parts.
        backend: "inline" decodes in worker processes of its own, "ray" in tasks of Ray.
        num_workers: Processes, or tasks at a time; inline, 0 decodes in this process.
        prefetch: Batches kept ready.
        pin: Let the accelerator copy batches without the processor, where there is one.
        max_bad_frac: Share of rows that cannot be decoded above which to stop with `TooManyBad`.
        on_bad: Called with every row that could not be decoded.
        bad_listed: A sentence that says where `on_bad` lists them.
        timeout_s: How long nothing may be decoded while the trainer waits.
        deadline_s: How long a worker process may take for a task before it is replaced.
    """
    if batch_size % world_size:
        raise InputError(f"A batch of {batch_size} does not divide among {world_size} processes.")
    if backend not in BACKENDS:
        raise InputError(f"Want a backend of {BACKENDS}, got {backend!r}.")
    ends = [end for end in (stop, plan.stop) if end is not None]
    steps = Steps(plan, start, min(ends, default=None), batch_size, rank, world_size)
    decoder = Decoder.of(plan)
    by = backend, num_workers, prefetch
    feed = ring_feed(steps, decoder, *by, timeout_s=timeout_s, deadline_s=deadline_s)
    if pin:
        from shards.pinned import pin_ring

        pin_ring(feed.ring)
    mender = Mender(plan, decoder, max_bad_frac=max_bad_frac, listed=bad_listed)
    return Stream(steps, feed, mender, on_bad)


def ring_feed(
    steps: Steps,
    decoder: Decoder,
    backend: str,
    num_workers: int,
    prefetch: int,
    *,
    timeout_s: float,
    deadline_s: float,
) -> RingFeed:
    """A ring, and the processes that fill it: no more than there are tasks."""
    if backend == "ray":
        num_workers = max(1, num_workers)
    elif steps.count is not None:
        tasks = steps.count * len(steps.parts(1, num_workers))
        num_workers = min(num_workers, tasks) if tasks > 1 else 0
    # One batch is in use. Two blocks must be under way, or workers would wait for one another.
    ahead = steps.crops * max(2, -(-prefetch // steps.crops))
    slots = 1 + ahead if num_workers else steps.crops
    ring = Ring.new(Shape(slots, steps.rank_size, steps.plan.num_views, steps.plan.clip_frames))
    filler = filler_of(backend, decoder, ring, num_workers, deadline_s)
    return RingFeed(steps, ring, filler, num_workers=num_workers, timeout_s=timeout_s)


def filler_of(
    backend: str, decoder: Decoder, ring: Ring, num_workers: int, deadline_s: float
) -> Filler:
    """Whoever fills the ring."""
    if backend == "ray":
        from shards.ray_backend import RayTasks

        return RayTasks(decoder, ring)
    if not num_workers:
        return Here(decoder, ring)
    return Workers(decoder, ring, num_workers=num_workers, deadline_s=deadline_s)


class Feed(Protocol):
    """Gives the batches of a rank, step by step."""

    cost: Report

    @property
    def ready(self) -> int:
        """Batches that lie ready."""
        ...

    @property
    def slots(self) -> int:
        """Batches that may."""
        ...

    def take(self, step: int) -> tuple[Batch, list[Bad]]:
        """The batch of a step, which may be written to, and which of its rows are bad."""
        ...

    def release(self, step: int) -> None:
        """The batch of this step is used."""
        ...

    def close(self) -> None:
        """End all work."""
        ...


@dataclass(frozen=True)
class Stats:
    """What a stream has done since it began.

    Args:
        views: Clips given out.
        bytes_read: Of the shards.
        wait_s: Time that whoever iterates has waited.
        read_s: Time of reading, over all workers.
        decode_s: Time of decoding, over all workers.
        ready: Batches that lie ready now.
        slots: Batches that may lie ready.
        unique_tracks: Different valid rows in the last 100 steps.
        rows: Rows given out, those past the end of a plan included.
        bad: Rows of these that could not be decoded.
        traffic: With the store, where shards lie in one.
    """

    views: int
    bytes_read: int
    wait_s: float
    read_s: float
    decode_s: float
    ready: int
    slots: int
    unique_tracks: int
    rows: int
    bad: int
    traffic: Traffic


class Stream(Iterator[Batch]):
    """Batches, one after another; ends its workers when closed, when left, and when forgotten."""

    def __init__(
        self, steps: Steps, feed: Feed, mender: Mender, on_bad: Callable[[BadRecord], None] | None
    ) -> None:
        self._steps, self._feed, self._mender, self._on_bad = steps, feed, mender, on_bad
        self._step, self._held, self._closed, self._pid = 0, False, False, os.getpid()
        self._wait_s, self._views = 0.0, 0
        self._recent: deque[np.ndarray] = deque(maxlen=STATS_STEPS)

    def __next__(self) -> Batch:
        if os.getpid() != self._pid:
            raise RuntimeError("A stream belongs to the process that opened it: open one here.")
        self._release()
        if self._closed or self._step == self._steps.count:
            self.close()
            raise StopIteration
        begin_s = time.monotonic()
        try:
            batch, bad = self._feed.take(self._step)
            batch, records = self._mender.mend(self._steps.check(batch, self._step), bad)
        except BaseException:
            self.close()
            raise
        self._held, self._step = True, self._step + 1
        self._wait_s += time.monotonic() - begin_s
        self._views += batch.start.size
        self._recent.append(batch.row[batch.valid])
        self._report(records)
        return batch

    def _report(self, records: list[BadRecord]) -> None:
        for record in records:
            if self._on_bad is not None:
                self._on_bad(record)
        if records:
            self._mender.check()

    def _release(self) -> None:
        if self._held:
            self._feed.release(self._step - 1)
        self._held = False

    def stats(self) -> Stats:
        """Counters since the stream began."""
        cost = self._feed.cost
        return Stats(
            views=self._views,
            bytes_read=cost.bytes_read,
            wait_s=self._wait_s,
            read_s=cost.read_s,
            decode_s=cost.decode_s,
            ready=self._feed.ready,
            slots=self._feed.slots,
            unique_tracks=len(np.unique(np.concatenate([[], *self._recent]))),
            rows=self._mender.rows,
            bad=self._mender.bad,
            traffic=replace(cost.traffic),
        )

    def close(self) -> None:
        """End all work; the last batch must not be looked at any more."""
        if not self._closed and os.getpid() == self._pid:
            self._feed.close()
        self._closed = True

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_closed"):
            self.close()
