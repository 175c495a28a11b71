"""Parts begin where a batch does, hold every window once, and lead nobody to read what is empty."""

import numpy as np
import pytest

from evaluate.parted_plan import PartedPlan
from shards.plan import WindowPlan
from shards.stream import stream

RATE = 8000


@pytest.fixture
def index(archive):
    rng = np.random.default_rng(0)
    lengths = [20_000, 3_000, 25_000, 8_000, 11_000]
    return archive([rng.integers(-9000, 9000, n).astype(np.int16) for n in lengths])


def plan_of(index, **more) -> PartedPlan:
    parts = [np.array([0, 1]), np.array([2]), np.array([3, 4])]
    return PartedPlan(index, parts, clip_frames=RATE, hop_frames=RATE, batch_size=3, **more)


def test_a_part_fills_batches_of_its_own(index):
    plan = plan_of(index)
    assert plan.windows.tolist() == [4, 3, 2]
    assert plan.ends.tolist() == [6, 9, 12]
    rows = plan.take(np.arange(plan.stop))
    assert rows["valid"].tolist() == [True] * 4 + [False] * 2 + [True] * 5 + [False]
    assert rows["row"][rows["valid"]].tolist() == [0, 0, 0, 1, 2, 2, 2, 3, 4]


@pytest.mark.parametrize("by_length", [False, True])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_window_comes_once_and_empty_places_are_not_valid(index, by_length, num_workers):
    plan = plan_of(index, by_length=by_length)
    seen = {}
    with stream(plan, batch_size=3, num_workers=num_workers) as batches:
        for batch in batches:
            lengths = batch.frames[batch.valid, 0]
            assert not by_length or (np.diff(lengths) <= 0).all()
            for i in np.flatnonzero(batch.valid):
                seen[int(batch.row[i]), int(batch.start[i, 0])] = batch.clips[i, 0].copy()
            assert not batch.clips[~batch.valid].any()
        bytes_read = batches.stats().bytes_read
    whole = WindowPlan(index, np.arange(5), clip_frames=RATE)
    with stream(whole, batch_size=9) as batches:
        for batch in batches:
            for i in range(9):
                at = int(batch.row[i]), int(batch.start[i, 0])
                assert np.array_equal(seen.pop(at), batch.clips[i, 0])
        assert bytes_read == batches.stats().bytes_read
    assert not seen
