"""Measures each stage by itself, on the windows that the stream would read."""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from shards.bench.found import Found
from shards.decode import Decoder
from shards.errors import InputError
from shards.files import shown
from shards.how import FRAMES, SAMPLES
from shards.index import Index
from shards.located import Located
from shards.plan import Rows, TrainPlan
from shards.process import cores
from shards.source import SOURCES
from shards.steps import Steps
from shards.stream import stream
from shards.views.view import View

WARM_UP_BATCHES = 3
READ_ROWS = 1_000
"""At most, so that reading and forgetting are done with other bytes than the stream's first."""

Ranges = list[tuple[int, int, int]]
"""Shard, offset, size."""


def measure(
    index: Index, view: View, *, batch_size: int, num_workers: int, seconds: float, ray: bool
) -> Found:
    """Every stage in turn, each for its share of the seconds."""
    plan = TrainPlan(index, view)
    workers = num_workers or cores()
    counts = sorted({*(2**n for n in range(workers.bit_length())), workers})
    share_s = seconds / (len(counts) + 3 + ray)
    rows = _rows(plan, min(READ_ROWS, 4 * len(index)))
    decoder = Decoder.of(plan)
    ranges = _ranges(decoder, rows)
    forget(index)
    read_cold = _read(decoder, ranges, workers, share_s)
    read_warm = _read(decoder, ranges, workers, share_s)
    found = Found(
        archive=str(index.path),
        remote=not isinstance(index.path, Path),
        codec=Counter(index.column("codec")).most_common(1)[0][0],
        packed=bool(np.isin(rows["how"], (FRAMES, SAMPLES)).all()),
        archive_bytes=sum(shard["bytes"] for shard in index.manifest["shards"]),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        cores=cores(),
        row_bytes=sum(size for some in ranges for *_, size in some) / len(ranges),
        clip_bytes=2 * plan.num_views * plan.clip_frames,
        read_cold=read_cold,
        read_warm=read_warm,
        decode=_decode(decoder, rows, share_s),
        memcpy=_memcpy(plan),
    )
    for count in counts:
        found.inline[count], found.inline_first_s[count] = _stream(
            plan, "inline", batch_size, count, share_s
        )
    if ray:
        _stream(plan, "ray", batch_size, workers, 0.0)  # starts Ray
        found.ray, found.ray_first_s = _stream(plan, "ray", batch_size, workers, share_s)
    found.to_device, found.device = _to_device(plan, batch_size)
    return found


def forget(index: Index) -> None:
    """Ask the kernel to drop what it keeps of the shards; it may keep what others use."""
    if not isinstance(index.path, Path) or not hasattr(os, "posix_fadvise"):
        return
    for shard in index.shards:
        fd = os.open(str(shard), os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def model_rate(run: Path) -> float:
    """Rows a second that training took while it did not wait, the median of RUN/metrics.jsonl."""
    path = run / "metrics.jsonl"
    if not path.is_file():
        raise InputError(f"{shown(path)} does not exist. Want --run OUT of a training run.")
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    rates = [
        line["tracks_per_s"] / max(1e-3, 1 - line.get("data_wait_share", 0.0))
        for line in lines[1:] or lines  # the first line is slow: everything is done once
        if line.get("tracks_per_s")
    ]
    if not rates:
        raise InputError(f"{shown(path)} has no line with a rate: train a few steps more.")
    return float(np.median(rates))


def _rows(plan: TrainPlan, count: int) -> Rows:
    """Located rows of the first positions."""
    return Steps(plan, 0, None, count, 0, 1).rows(0)


def _ranges(decoder: Decoder, rows: Rows) -> list[Ranges]:
    """The bytes of each row: those of its windows, or of the whole payload."""
    return [list(_of_row(decoder, rows, i)) for i in range(len(rows["row"]))]


def _of_row(decoder: Decoder, rows: Rows, i: int) -> Iterator[tuple[int, int, int]]:
    names = ("shard", "offset", "size", "track_frames", "seek", "how")
    shard, offset, size, frames, seek, how = (int(rows[name][i]) for name in names)
    wanted = [
        (int(start), int(count), v)
        for v, (start, count) in enumerate(zip(rows["start"][i], rows["frames"][i], strict=True))
    ]
    windows = Located(decoder.shards[shard], offset, size, frames, seek, how, wanted).windows()
    yield from ((shard, window.offset, window.size) for window in windows)
    if not windows:
        yield shard, offset, size


def _read(decoder: Decoder, ranges: list[Ranges], readers: int, seconds: float) -> float:
    """Rows a second that threads can read, until they are through or the time is up."""
    begun = time.perf_counter()

    def read(some: Ranges) -> bool:
        if time.perf_counter() - begun > seconds:
            return False
        for shard, offset, size in some:
            SOURCES.get(decoder.shards[shard].place).range(offset, size)
        return True

    with ThreadPoolExecutor(readers) as pool:
        done = sum(pool.map(read, ranges))
    return done / (time.perf_counter() - begun)


def _decode(decoder: Decoder, rows: Rows, seconds: float) -> float:
    """Rows a second that one process decodes; infinite if samples lie there as they are."""
    clips = np.empty((1, *rows["start"].shape[1:], decoder.clip_frames), np.int16)
    valid = np.empty(1, bool)
    begun, decode_s, done = time.perf_counter(), 0.0, 0
    while done < len(rows["row"]) and (not done or time.perf_counter() - begun < seconds):
        row = {name: column[done : done + 1] for name, column in rows.items()}
        decode_s += decoder.fill(row, clips, valid).decode_s
        done += 1
    return done / decode_s if decode_s else math.inf


def _memcpy(plan: TrainPlan, copies: int = 50) -> float:
    """Rows a second that one process copies in memory."""
    samples = np.ones((copies, plan.num_views, plan.clip_frames), np.int16)
    clips = np.zeros_like(samples[0])
    begun = time.perf_counter()
    for one in samples:
        clips[:] = one
    return copies / (time.perf_counter() - begun)


def _stream(
    plan: TrainPlan, backend: str, batch_size: int, num_workers: int, seconds: float
) -> tuple[float, float]:
    """Rows a second of the whole stream, and seconds until its first batch."""
    begun = time.perf_counter()
    with stream(plan, batch_size=batch_size, backend=backend, num_workers=num_workers) as batches:
        next(batches)
        first_s = time.perf_counter() - begun
        for _ in range(WARM_UP_BATCHES if seconds else 0):
            next(batches)
        begun, done = time.perf_counter(), 0
        while seconds and (not done or time.perf_counter() - begun < seconds):
            done += len(next(batches))
        return done / (time.perf_counter() - begun), first_s


def _to_device(plan: TrainPlan, batch_size: int, copies: int = 20) -> tuple[float | None, str]:
    """Rows a second that can be copied to the accelerator from pinned memory, and its name."""
    if not any(Path(sign).exists() for sign in ("/dev/nvidiactl", "/dev/kfd")):
        return None, ""  # before torch, which takes seconds to load
    import torch

    if not torch.cuda.is_available():
        return None, ""
    shape = (batch_size, plan.num_views, plan.clip_frames)
    clips = torch.zeros(shape, dtype=torch.int16, pin_memory=True)

    def seconds(run: Callable[[], object]) -> float:
        torch.cuda.synchronize()
        begun = time.perf_counter()
        for _ in range(copies):
            run()
        torch.cuda.synchronize()
        return time.perf_counter() - begun

    copy_s = min(seconds(lambda: clips.to("cuda", non_blocking=True)) for _ in range(3))
    return copies * batch_size / copy_s, torch.cuda.get_device_name()
