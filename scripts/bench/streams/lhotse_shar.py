"""lhotse Shar: the original bytes in its tars; windows are cuts, loaded in DataLoader's workers."""

from __future__ import annotations

import numpy as np
from lhotse import CutSet, Recording
from lhotse.dataset import DynamicCutSampler
from lhotse.dataset.dataloading import make_worker_init_fn
from lhotse.dataset.iterable_dataset import IterableDatasetWrapper
from torch.utils.data import DataLoader, Dataset

from scripts.bench.streams.common import (
    RATE_HZ,
    SHARDS,
    loaded,
    members,
    visits_of_this_worker,
)

NAME = "lhotse"
BUFFER = 100


def pack(data):
    """Tars of the same bytes and lists of cuts."""
    rows = [row for row, _ in members(data)]
    paths = [data / "members" / f"{row:06d}.flac" for row in rows]
    cuts = CutSet.from_cuts(
        Recording.from_file(path, recording_id=path.stem).to_cut() for path in paths
    )
    size = -(-len(rows) // SHARDS)
    (data / NAME).mkdir(exist_ok=True)
    cuts.to_shar(data / NAME, {"recording": "original"}, shard_size=size)


class Clips(Dataset):
    """A batch of cuts → rows, starts, clips."""

    def __init__(self, given):
        self.given, self.seen = given, None

    def __getitem__(self, cuts):
        self.seen = self.seen or visits_of_this_worker(self.given)
        rows = [int(cut.recording_id) for cut in cuts]
        starts = [self.seen(row) for row in rows]
        clips = [self.clips(cut, start) for cut, start in zip(cuts, starts, strict=True)]
        return np.array(rows), np.array(starts), np.stack(clips)

    def clips(self, cut, starts):
        """Windows of a recording, int16 [V, T]; lhotse gives float32."""
        clip_s = self.given.clip_frames / RATE_HZ
        read = [cut.recording.load_audio(offset=s / RATE_HZ, duration=clip_s) for s in starts]
        return np.concatenate([np.rint(clip * 32_768).astype(np.int16) for clip in read])


def tensors(batch):
    """Nothing to collate: the sampler has made the batch."""
    import torch

    return tuple(map(torch.from_numpy, batch))


def batches(given):
    """Row, start and sum of each row of the batches."""
    cuts = CutSet.from_shar(
        in_dir=given.data / NAME, shuffle_shards=True, split_for_dataloading=True, seed=0
    )
    cuts = cuts.repeat(preserve_id=True)
    sampler = DynamicCutSampler(
        cuts, max_cuts=given.batch_size, shuffle=True, shuffle_buffer_size=BUFFER
    )
    wrapped = IterableDatasetWrapper(Clips(given), sampler)
    loader = DataLoader(
        wrapped,
        batch_size=None,
        num_workers=given.workers,
        collate_fn=tensors,
        worker_init_fn=make_worker_init_fn(seed=0),
    )
    yield from loaded(loader)
