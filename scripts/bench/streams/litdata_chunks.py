"""litData: optimised chunks of the same FLAC bytes, or, as `window`, of plain samples.

`window` is its way to read a part of an array by `read_window`: what a WAV payload is here.
"""

from __future__ import annotations

import io
from functools import partial

import litdata
import numpy as np
import soundfile
from torch.utils.data import DataLoader, Dataset, RandomSampler

from scripts.bench.streams.common import (
    REPEATS,
    SHARDS,
    loaded,
    members,
    visits_of_this_worker,
    windows,
)

NAMES = {"": "litdata", "window": "litdata-window"}


def flac(data, row):
    """A record of bytes."""
    return {"row": row, "flac": (data / "members" / f"{row:06d}.flac").read_bytes()}


def samples(data, row):
    """A record of samples."""
    audio = flac(data, row)["flac"]
    return {"pcm": soundfile.read(io.BytesIO(audio), dtype="int16")[0]}


def pack(data):
    """Chunks of both kinds."""
    rows = [row for row, _ in members(data)]
    chunk = -(-len(rows) // SHARDS)
    for record, kind in ((flac, ""), (samples, "window")):
        litdata.optimize(
            fn=partial(record, data),
            inputs=rows,
            output_dir=str(data / NAMES[kind]),
            chunk_size=chunk,
            num_workers=1,
            verbose=False,
        )


class Tracks(litdata.StreamingDataset):
    """Clips instead of bytes."""

    def __init__(self, given):
        super().__init__(
            str(given.data / NAMES[""]), shuffle=True, drop_last=True, subsample=float(REPEATS)
        )
        self.given, self.seen = given, None

    def __getitem__(self, at):
        self.seen = self.seen or visits_of_this_worker(self.given)
        sample = super().__getitem__(at)
        start = self.seen(sample["row"])
        return sample["row"], start, windows(sample["flac"], start, self.given.clip_frames)


class Windows(Dataset):
    """Clips read as windows of arrays."""

    def __init__(self, given):
        self.given, self.seen, self.chunks = given, None, None
        self.tracks = given.starts.shape[1]

    def __len__(self):
        return self.tracks

    def __getitem__(self, row):
        if self.chunks is None:
            self.chunks = litdata.StreamingDataset(str(self.given.data / NAMES["window"]))
            self.seen = visits_of_this_worker(self.given)
        start = self.seen(row)
        frames = self.given.clip_frames
        read = (self.chunks.read_window(row, int(s), frames)["pcm"] for s in start)
        return row, start, np.stack([np.asarray(clip) for clip in read])


def batches(given):
    """Row, start and sum of each row of the batches."""
    if given.backend == "window":
        tracks = Windows(given)
        draws = RandomSampler(tracks, replacement=True, num_samples=1 << 24)
        loader = DataLoader(
            tracks, batch_size=given.batch_size, num_workers=given.workers, sampler=draws
        )
    else:
        loader = litdata.StreamingDataLoader(
            Tracks(given), batch_size=given.batch_size, num_workers=given.workers
        )
    yield from loaded(loader)
