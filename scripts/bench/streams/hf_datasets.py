"""Hugging Face datasets: Arrow files of the same FLAC bytes, mapped; decoded in part on access.

Its own `Audio` feature decodes whole tracks with torchcodec; a transform decodes what is wanted.
"""

from __future__ import annotations

from functools import partial

from datasets import Dataset, Features, Value, disable_progress_bars, load_from_disk
from torch.utils.data import DataLoader, RandomSampler

from scripts.bench.streams.common import SHARDS, loaded, members, visits_of_this_worker, windows

NAME = "datasets"


def pack(data):
    """Arrow files with a row and its bytes."""
    disable_progress_bars()
    features = Features({"row": Value("int64"), "flac": Value("large_binary")})
    rows = [{"row": row, "flac": audio} for row, audio in members(data)]
    tracks = Dataset.from_list(rows, features=features)
    tracks.save_to_disk(data / NAME, num_shards=min(SHARDS, len(rows)))


class Cut:
    """Columns of bytes → columns of clips."""

    def __init__(self, given):
        self.given, self.seen = given, None

    def __call__(self, columns):
        self.seen = self.seen or visits_of_this_worker(self.given)
        starts = [self.seen(row) for row in columns["row"]]
        both = zip(columns["flac"], starts, strict=True)
        clips = [windows(audio, start, self.given.clip_frames) for audio, start in both]
        return {"row": columns["row"], "start": starts, "clips": clips}


def tuples(samples, collate):
    """A batch as the others give it."""
    return collate([(sample["row"], sample["start"], sample["clips"]) for sample in samples])


def batches(given):
    """Row, start and sum of each row of the batches."""
    from torch.utils.data import default_collate

    tracks = load_from_disk(given.data / NAME).with_transform(Cut(given))
    draws = RandomSampler(tracks, replacement=True, num_samples=1 << 24)
    loader = DataLoader(
        tracks,
        batch_size=given.batch_size,
        sampler=draws,
        num_workers=given.workers,
        collate_fn=partial(tuples, collate=default_collate),
    )
    yield from loaded(loader)
