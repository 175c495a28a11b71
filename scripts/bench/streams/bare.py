"""The limit: as many processes as cores seek and read; nothing is shuffled, shared or collected."""

from __future__ import annotations

import multiprocessing

import numpy as np

from scripts.bench.streams.common import sums, windows

TELL_EVERY = 32


def work(given, worker, told):
    """Read clips of every track that is ours, and tell which they were."""
    starts = given.starts
    order = np.random.default_rng(worker).permutation(starts.shape[1])
    seen = []
    for visit in range(worker, 1 << 40, given.workers):
        for row in order:
            start = starts[visit % len(starts), row]
            clips = windows(str(given.member(row)), start, given.clip_frames)
            seen.append((row, start, sums(clips[None])[0]))
            if len(seen) == TELL_EVERY:
                told.put(tuple(map(np.array, zip(*seen, strict=True))))
                seen = []


def batches(given):
    """Row, start and sum of what the processes have read."""
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    processes = [
        context.Process(target=work, args=(given, worker, told), daemon=True)
        for worker in range(given.workers)
    ]
    for process in processes:
        process.start()
    try:
        while True:
            yield told.get()
    finally:
        for process in processes:
            process.terminate()
            process.join()
