"""mosaicml-streaming: MDS shards of the same FLAC bytes, decoded in part in `__getitem__`."""

from __future__ import annotations

from streaming import MDSWriter, Stream, StreamingDataset
from streaming.base.util import clean_stale_shared_memory
from torch.utils.data import DataLoader

from scripts.bench.streams.common import (
    REPEATS,
    SHARDS,
    loaded,
    members,
    visits_of_this_worker,
    windows,
)

NAME = "mds"


def pack(data):
    """Shards with a row and its bytes."""
    size = sum(len(audio) for _, audio in members(data)) // SHARDS
    columns = {"row": "int", "flac": "bytes"}
    with MDSWriter(out=str(data / NAME), columns=columns, size_limit=max(1 << 20, size)) as writer:
        for row, audio in members(data):
            writer.write({"row": row, "flac": audio})


class Tracks(StreamingDataset):
    """Clips instead of bytes."""

    def __init__(self, given):
        local = Stream(local=str(given.data / NAME), repeat=REPEATS)
        super().__init__(streams=[local], shuffle=True, batch_size=given.batch_size)
        self.given, self.seen = given, None

    def __getitem__(self, at):
        self.seen = self.seen or visits_of_this_worker(self.given)
        sample = super().__getitem__(at)
        start = self.seen(sample["row"])
        return sample["row"], start, windows(sample["flac"], start, self.given.clip_frames)


def batches(given):
    """Row, start and sum of each row of the batches."""
    clean_stale_shared_memory()
    tracks = Tracks(given)
    loader = DataLoader(
        tracks,
        batch_size=given.batch_size,
        num_workers=given.workers,
        persistent_workers=True,
        drop_last=True,
    )
    yield from loaded(loader)
