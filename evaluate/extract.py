"""extract(): what is missing of some parts, streamed, by any number of processes at once.

rows → parts that no other process works at → PartedPlan → stream → one forward pass → sums → part
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass

import numpy as np

from evaluate.claims import Claims
from evaluate.forward import Forward, takes_any_length
from evaluate.job import Job
from evaluate.parted_plan import PartedPlan, batch_windows
from evaluate.sums import Sums
from shards.progress import Progress
from shards.stream import stream

RUN_PARTS = 16
"""Parts that a process claims at a time, and reads without a pause between them."""


@dataclass(frozen=True)
class _Part:
    """A part that is ours: its number, and the rows that each feature lacks."""

    number: int
    missing: dict[str, np.ndarray]

    @property
    def rows(self) -> np.ndarray:
        """Rows that any feature lacks, ascending."""
        return np.unique(np.concatenate([*self.missing.values()]))


def extract(job: Job, rows: np.ndarray, *, wait: bool = True) -> None:
    """Compute and keep what is missing of the vectors of index rows [n], ascending.

    Processes share the work by parts: each begins with its own, then helps the others. With `wait`
    all is there at the end, whoever computed it, and what a dead process left is done by another.
    """
    own, pending = _shares(job.by_part(rows))
    title, total = f"embed, {job.encoder.name}", int(job.num_windows[rows].sum())
    with Claims(job.prepare()) as claims, Progress(title, total=total, unit="windows") as bar:
        forward = Forward(job.encoder, job.index.sample_rate, job.extraction)
        while run := _claimed(job, own, RUN_PARTS, claims, bar):
            _compute(job, run, forward, claims, bar)
        pending |= own  # what another process has taken of it
        while pending:
            if run := _claimed(job, pending, 1, claims, bar):
                _compute(job, run, forward, claims, bar)
            elif pending and not wait:
                return
            elif pending:
                claims.wait(next(iter(pending)))


Shares = dict[int, np.ndarray]
"""Number of a part → its rows."""


def _shares(parts: list[tuple[int, np.ndarray]]) -> tuple[Shares, Shares]:
    """What this process begins with, by RANK and WORLD_SIZE, and what is the others' to begin."""
    rank, world_size = (int(os.environ.get(n, d)) for n, d in (("RANK", "0"), ("WORLD_SIZE", "1")))
    others = [part for i, part in enumerate(parts) if i % world_size != rank]
    return dict(parts[rank::world_size]), dict(others)


def _claimed(job: Job, pending: Shares, most: int, claims: Claims, bar: Progress) -> list[_Part]:
    """Parts for one run, at most so many, taken off `pending`, as are those that lack nothing."""
    run: list[_Part] = []
    for number, rows in list(pending.items()):
        if len(run) == most:
            break
        if not claims.take(number):
            continue
        missing = {name: parts.missing(number, rows) for name, parts in job.parts.items()}
        part = _Part(number, missing)
        if len(part.rows):
            run.append(part)
        else:
            claims.release(number)
        del pending[number]
        bar.skip(int(job.num_windows[np.setdiff1d(rows, part.rows)].sum()))
    return run


def _compute(job: Job, run: list[_Part], forward: Forward, claims: Claims, bar: Progress) -> None:
    """Embed the parts of a run in one stream; each is published as soon as it is whole."""
    features = [f for f in job.features if any(len(part.missing[f.name]) for part in run)]
    rows = [part.rows for part in run]
    most = max(int(job.num_windows[some].sum()) for some in rows)
    size = batch_windows(job.encoder, job.window_frames, job.index.sample_rate, job.extraction)
    any_length = takes_any_length(job.encoder)
    plan = PartedPlan(
        job.index,
        rows,
        clip_frames=job.window_frames,
        hop_frames=job.hop_frames,
        batch_size=min(size, most),
        by_length=any_length,
    )
    todo = deque((part, Sums(job, part.rows)) for part in run)
    with stream(
        plan,
        batch_size=min(size, most),
        backend=job.extraction.backend,
        num_workers=job.extraction.num_workers,
    ) as batches:
        for batch in batches:
            part, sums = todo[0]
            read, frames = batch.valid, batch.frames[:, 0]
            if read.any():
                length = max(1, int(frames[read].max())) if any_length else job.window_frames
                clips = np.ascontiguousarray(batch.clips[read, 0, :length])
                vectors = forward.vectors(clips, frames[read], features)
                sums.add(batch.row[read], batch.start[read, 0] // job.hop_frames, vectors)
            bar.update(int(plan.take(batch.position)["valid"].sum()))
            if batch.position[-1] + 1 == plan.ends[-len(todo)]:
                _publish(job, part, sums, forward)
                claims.release(part.number)
                todo.popleft()


def _publish(job: Job, part: _Part, sums: Sums, forward: Forward) -> None:
    """Add to each feature's part what it lacks."""
    silence = forward.silence(job.features) if not sums.counts.any() else {}
    for name, missing in part.missing.items():
        if len(missing):
            job.parts[name].add(part.number, sums.embeddings(name, missing, silence.get(name)))
