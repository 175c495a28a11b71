"""The stream: exact samples, any backend, any world size, any start, the same batches."""

import shutil

import numpy as np
import pytest

from shards.errors import InputError
from shards.index import Index
from shards.plan import TrainPlan, WindowPlan
from shards.reader import read_track
from shards.stream import stream
from shards.views.pair import AnchorPositive


@pytest.fixture(scope="module")
def plan(index):
    return TrainPlan(index, AnchorPositive(clip_s=2, min_gap_s=3), seed=5)


def take(batches, count):
    got = [next(batches).copy() for _ in range(count)]
    batches.close()
    return got


def columns(batches):
    names = ("clips", "position", "row", "start", "frames", "seed", "valid")
    return {n: np.concatenate([getattr(b, n) for b in batches]) for n in names}


def assert_equal(ours, theirs):
    for name, column in columns(ours).items():
        np.testing.assert_array_equal(column, columns(theirs)[name], err_msg=name)


def test_clips_are_the_samples_of_the_track(index, plan):
    for batch in take(stream(plan, batch_size=4), 3):
        for i, row in enumerate(batch.row):
            track = read_track(index, int(row))
            for v, start in enumerate(batch.start[i]):
                np.testing.assert_array_equal(batch.clips[i, v], track[start : start + 32_000])
        assert batch.valid.all()
        assert batch.clips.dtype == np.int16


def test_any_number_of_workers_gives_the_same_batches(plan):
    one, four = (take(stream(plan, batch_size=4, num_workers=n), 5) for n in (1, 4))
    assert_equal(one, four)


def test_a_stream_may_start_anywhere(plan):
    whole = take(stream(plan, batch_size=4), 6)
    rest = take(stream(plan, batch_size=4, start=12), 3)
    assert_equal(whole[3:], rest)


@pytest.mark.parametrize("world_size", [2, 4])
def test_any_world_size_gives_the_same_global_batches(plan, world_size):
    whole = take(stream(plan, batch_size=8), 3)
    parts = [
        take(stream(plan, batch_size=8, rank=r, world_size=world_size), 3)
        for r in range(world_size)
    ]
    for step, batch in enumerate(whole):
        assert_equal([batch], [part[step] for part in parts])


def test_a_finite_plan_is_padded_and_marked(index):
    plan = WindowPlan(index, np.arange(len(index)), clip_frames=64_000)
    for world_size in (1, 3):
        parts = [
            [b.copy() for b in stream(plan, batch_size=6, rank=r, world_size=world_size)]
            for r in range(world_size)
        ]
        assert len({len(part) for part in parts}) == 1  # equally many steps
        valid = np.concatenate([b.position[b.valid] for part in parts for b in part])
        assert sorted(valid) == list(range(plan.stop))


def test_windows_past_the_end_are_silent(index):
    plan = WindowPlan(index, np.arange(len(index)), clip_frames=48_000)
    for batch in stream(plan, batch_size=5):
        for clip, frames in zip(batch.clips[:, 0], batch.frames[:, 0], strict=True):
            assert not clip[frames:].any()


def test_a_batch_must_divide_among_the_processes(plan):
    with pytest.raises(InputError, match="does not divide"):
        stream(plan, batch_size=5, world_size=2)
    with pytest.raises(InputError, match="backend"):
        stream(plan, batch_size=4, backend="magic")


def test_a_damaged_track_is_replaced_and_moves_nobody(index, archive, tmp_path):
    shutil.copytree(archive, tmp_path / "copy")
    victim = index[4]
    with open(tmp_path / "copy" / victim.shard.relative_to(archive), "r+b") as shard:
        shard.seek(victim.offset)
        shard.write(b"\0" * victim.size)
    hurt = TrainPlan(Index.open(tmp_path / "copy"), AnchorPositive(clip_s=2), seed=5)
    whole = TrainPlan(index, AnchorPositive(clip_s=2), seed=5)
    ours, theirs = (columns(take(stream(p, batch_size=6), 6)) for p in (hurt, whole))
    others = theirs["row"] != 4
    assert 0 < others.sum() < len(others)
    for name in ("row", "start", "clips", "position"):
        np.testing.assert_array_equal(ours[name][others], theirs[name][others])
    assert ours["valid"].all()
    assert (ours["row"] != 4).all()
