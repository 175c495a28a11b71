"""What every stream that is measured shares: the tracks, the clips, and one cheap sum of each.

DATA/flac and DATA/wav are archives of wholetone; DATA/members has their payloads as files. Peers
pack the same FLAC bytes. Which clips of a track are read at its v-th visit stands in a table, so
all of them decode the same windows, whatever their order.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from shards.views.hierarchical import LONG_S

RATE_HZ = 16_000
CLIP_S = {"pair": 4.0, "hierarchical": LONG_S}
"""Of a view of each kind: hierarchical crops are read as whole clips and cut on the device."""
EVERY = 997
"""Of the samples that go into a sum: enough to tell clips apart, too few to cost anything."""
REPEATS = 50
"""Passes that a peer is given as one epoch, so that nothing ends while it is measured."""
SHARDS = 32
"""Parts into which everybody's tracks are cut, a few for every worker."""


@dataclass(frozen=True)
class Given:
    """What a stream is told."""

    data: Path
    payload: str
    view: str
    batch_size: int
    workers: int
    crops: int
    backend: str

    @property
    def clip_frames(self):
        """Samples of a clip."""
        return round(CLIP_S[self.view] * RATE_HZ)

    @property
    def starts(self):
        """First samples of the clips, int64 [visits, tracks, V]."""
        return np.load(self.data / f"{self.view}.npy")

    def member(self, row):
        """A track's payload as a file."""
        return self.data / "members" / f"{row:06d}.{self.payload}"


def members(data):
    """Row and FLAC bytes of each track."""
    for path in sorted((data / "members").glob("*.flac")):
        yield int(path.stem), path.read_bytes()


def windows(file, starts, frames):
    """Clips int16 [V, frames] of a sound file or its bytes: seek and read, the forward way."""
    clips = np.empty((len(starts), frames), np.int16)
    with soundfile.SoundFile(io.BytesIO(file) if isinstance(file, bytes) else file) as sound:
        for v in np.argsort(starts):
            sound.seek(int(starts[v]))
            sound.read(frames, dtype="int16", out=clips[v])
    return clips


def windows_of_whole(data, starts, frames):
    """Clips int16 [V, frames], cut from all of the track's samples."""
    samples, _ = soundfile.read(io.BytesIO(data), dtype="int16")
    return np.stack([samples[start : start + frames] for start in starts])


def sums(clips):
    """A number for each row of clips [B, V, T], int64 [B]."""
    return np.asarray(clips)[..., ::EVERY].astype(np.int64).sum(axis=(1, 2))


class Visits:
    """How often a process has come to each track: every visit reads other clips."""

    def __init__(self, given, worker=0, workers=1):
        self.starts, self.worker, self.workers = given.starts, worker, workers
        self.count = np.zeros(self.starts.shape[1], np.int64)

    def __call__(self, row):
        """Starts [V] of the next visit to a track."""
        visit = int(self.count[row]) * self.workers + self.worker
        self.count[row] += 1
        return self.starts[visit % len(self.starts), row]


def visits_of_this_worker(given):
    """`Visits` of a worker of torch's DataLoader."""
    from torch.utils.data import get_worker_info

    info = get_worker_info()
    return Visits(given, info.id, info.num_workers) if info else Visits(given)


def loaded(batches):
    """Row, start and sum from what torch's DataLoader yields, forever."""
    while True:
        for row, start, clips in batches:
            yield row.numpy(), start.numpy(), sums(clips)
