"""webdataset over our own tars: shards shuffled, members shuffled in a buffer, decoded in workers.

A member comes whole. By default only the clips are decoded, from the member's bytes; the variant
`whole` decodes everything, as `.decode(wds.torch_audio)` and its like do.
"""

from __future__ import annotations

import json

import webdataset as wds

from scripts.bench.streams.common import (
    REPEATS,
    loaded,
    visits_of_this_worker,
    windows,
    windows_of_whole,
)
from shards.index import Index

BUFFER = 100
"""Members a worker shuffles among: some hundred MiB where tracks last minutes."""


class Cut:
    """A member's bytes → row, starts, clips."""

    def __init__(self, given):
        self.given, self.visits = given, None
        self.read = windows_of_whole if given.backend == "whole" else windows
        self.row_of_key = Index.open(given.data / "flac").row_of_key

    def __call__(self, sample):
        self.visits = self.visits or visits_of_this_worker(self.given)
        row = self.row_of_key[sample["__key__"]]
        start = self.visits(row)
        return row, start, self.read(sample["flac"], start, self.given.clip_frames)


def batches(given):
    """Row, start and sum of each row of the batches."""
    shards = json.loads((given.data / "flac" / "manifest.json").read_bytes())["shards"]
    urls = [str(given.data / "flac" / shard["name"]) for shard in shards] * REPEATS
    samples = wds.WebDataset(urls, shardshuffle=len(urls)).shuffle(BUFFER).map(Cut(given))
    samples = samples.batched(given.batch_size)
    loader = wds.WebLoader(samples, batch_size=None, num_workers=given.workers)
    yield from loaded(loader)
