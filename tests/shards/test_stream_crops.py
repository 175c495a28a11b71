"""Any number of ranks, workers and crops a visit: the global batches of a naive loop."""

import numpy as np
import pytest

from shards.plan import TrainPlan
from shards.reader import read_window
from shards.stream import stream
from shards.views.pair import AnchorPositive

BATCH, STEPS = 8, 6


@pytest.fixture(scope="module", params=[1, 2, 4])
def plan(request, index):
    view = AnchorPositive(clip_s=1, min_gap_s=2)
    return TrainPlan(index, view, seed=1, crops_per_visit=request.param, batch_size=BATCH)


@pytest.fixture(scope="module")
def naive(plan, index):
    """Every clip read on its own, [steps][name]."""
    steps = []
    for step in range(STEPS):
        rows = plan.take(np.arange(step * BATCH, (step + 1) * BATCH))
        clips = [
            [read_window(index, int(row), int(start), plan.clip_frames) for start in starts]
            for row, starts in zip(rows["row"], rows["start"], strict=True)
        ]
        steps.append({**rows, "clips": np.array(clips)})
    return steps


def check(plan, naive, *, world_size, start=0, **settings):
    ranks = [
        stream(plan, batch_size=BATCH, rank=r, world_size=world_size, start=start, **settings)
        for r in range(world_size)
    ]
    for step in range(start // BATCH, STEPS):
        parts = [next(batches) for batches in ranks]
        for name, expected in naive[step].items():
            whole = np.concatenate([getattr(part, name) for part in parts])
            np.testing.assert_array_equal(whole, expected, err_msg=name)
        assert all(part.valid.all() for part in parts)
    for batches in ranks:
        batches.close()


@pytest.mark.parametrize("world_size", [1, 2, 4, 8])
def test_any_number_of_ranks_reads_what_the_loop_reads(plan, naive, world_size):
    check(plan, naive, world_size=world_size)


@pytest.mark.parametrize("num_workers", [1, 3])
def test_any_number_of_workers_reads_what_the_loop_reads(plan, naive, num_workers):
    check(plan, naive, world_size=1, num_workers=num_workers, prefetch=2)


def test_a_resume_inside_a_visit_goes_on_where_it_was(plan, naive):
    for step in (1, 3, 4):
        check(plan, naive, world_size=2, start=step * BATCH)


def test_a_track_is_read_once_for_all_its_crops(plan):
    """Crops of a visit are one task: their tracks are opened and found once."""
    from shards.steps import Steps

    steps = Steps(plan, 0, None, BATCH, 0, 1)
    block, rows = next(steps.blocks())
    assert len(block) == plan.crops_per_visit
    tasks = [rows["row"][part] for part in steps.parts(len(block), 4)]
    assert sorted(np.concatenate(tasks)) == sorted(rows["row"])
    for i, one in enumerate(tasks):
        for other in tasks[i + 1 :]:
            assert not {*one} & {*other}
