"""The plan: every track once a pass, clips inside the track, windows that cover it."""

import json
from pathlib import Path

import numpy as np
import pytest

from shards.errors import InputError
from shards.plan import TrainPlan, WindowPlan
from shards.views import VIEWS, view_class
from shards.views.pair import AnchorPositive

GOLDEN = Path(__file__).parents[1] / "golden" / "draws.json"


@pytest.fixture(params=sorted(VIEWS))
def view(request):
    """Every view there is, with its defaults."""
    return view_class(request.param)()


def test_every_pass_visits_every_track_once(index, view):
    plan = TrainPlan(index, view, seed=3)
    rows = plan.take(np.arange(5 * len(plan.rows)))["row"].reshape(5, -1)
    for visited in rows:
        assert sorted(visited) == sorted(plan.rows)
    assert len({tuple(visited) for visited in rows}) == 5


def test_clips_of_every_view_end_inside_the_track(index, view):
    plan = TrainPlan(index, view, seed=3)
    rows = plan.take(np.arange(2000))
    end = rows["start"] + rows["frames"]
    assert rows["start"].min() >= 0
    assert (end <= index.column("frames")[rows["row"]][:, None]).all()
    assert rows["start"].shape == (2000, view.num_views)


def test_a_row_depends_on_its_position_alone(index, view):
    plan = TrainPlan(index, view, seed=3)
    together = plan.take(np.arange(100, 140))
    alone = plan.take(np.array([117]))
    for name, column in together.items():
        np.testing.assert_array_equal(column[17], alone[name][0])


def test_another_seed_is_another_order(index, view):
    a, b = (TrainPlan(index, view, seed=seed) for seed in (0, 1))
    assert a.fingerprint != b.fingerprint
    assert a.take(np.arange(50))["row"].tolist() != b.take(np.arange(50))["row"].tolist()


def test_a_pair_starts_as_far_apart_as_the_paper_says():
    view = AnchorPositive()
    frames = np.full(20_000, 60 * 16_000)
    start = view.draw(0, np.arange(20_000), frames, 16_000)
    gap_s = (start[:, 1] - start[:, 0]) / 16_000
    assert np.abs(gap_s).min() >= 4
    assert np.abs(gap_s).max() <= 16
    assert abs(np.abs(gap_s).mean() - 10) < 0.1
    assert abs((gap_s > 0).mean() - 0.5) < 0.02  # the positive comes before as often as after


def test_a_short_track_gets_the_gaps_that_fit():
    view = AnchorPositive()
    frames = np.full(5000, round(9.5 * 16_000))
    start = view.draw(0, np.arange(5000), frames, 16_000)
    assert (start + 64_000 <= frames[:, None]).all()
    gap_s = np.abs(start[:, 1] - start[:, 0]) / 16_000
    assert gap_s.min() >= 4
    assert gap_s.max() <= 5.5


def test_starts_keep_to_the_grid():
    view = AnchorPositive(grid_ms=20)
    start = view.draw(0, np.arange(1000), np.full(1000, 200_123), 16_000)
    assert (start % 320 == 0).all()
    assert (start + 64_000 <= 200_123).all()
    with pytest.raises(InputError, match="whole"):
        AnchorPositive(grid_ms=0.03).draw(0, np.arange(1), np.array([500_000]), 16_000)


def test_tracks_that_a_view_cannot_use_are_listed_with_the_reason(index):
    view = AnchorPositive(clip_s=10, min_gap_s=10)
    plan = TrainPlan(index, view)
    short = index.column("frames") < 20 * 16_000
    assert 0 < short.sum() < len(index)
    assert plan.rows.tolist() == np.flatnonzero(~short).tolist()
    assert plan.selection.left_out == {"shorter than 320000 samples": short.sum()}


def test_an_archive_without_a_usable_track_says_what_is_missing(index):
    with pytest.raises(InputError, match=r"needs 120\.0 s, the longest has 29\.0 s"):
        TrainPlan(index, AnchorPositive(clip_s=60, min_gap_s=60, max_gap_s=70))


def test_windows_cover_each_track_once(index):
    rows = np.array([3, 0, 7])
    plan = WindowPlan(index, rows, clip_frames=64_000)
    taken = plan.take(np.arange(plan.stop))
    for row in rows:
        mine = taken["row"] == row
        frames = index.column("frames")[row]
        starts = taken["start"][mine, 0]
        assert starts.tolist() == list(range(0, 64_000 * mine.sum(), 64_000))
        missed = frames - starts[-1] - 64_000
        assert missed < 32_000  # at most half a window is left out
        assert taken["frames"][mine, 0].tolist()[-1] == min(64_000, frames - starts[-1])


def test_a_track_shorter_than_a_window_has_one_window(index):
    plan = WindowPlan(index, np.array([2]), clip_frames=10**7)
    assert plan.stop == 1
    taken = plan.take(np.array([0]))
    assert taken["frames"][0, 0] == index.column("frames")[2]


def test_half_a_window_is_kept_and_less_is_not(index):
    frames = int(index.column("frames")[5])
    for clip in (frames // 2 + 1, frames * 2 // 3 + 2):
        plan = WindowPlan(index, np.array([5]), clip_frames=clip)
        assert plan.stop == (2 if frames - clip >= (clip + 1) // 2 else 1)


def test_no_rows_make_an_empty_plan(index):
    assert WindowPlan(index, np.array([], np.int64), clip_frames=1000).stop == 0


def test_pinned_pairs_never_change():
    pinned = json.loads(GOLDEN.read_text())["pair"]
    frames = np.array([300_000, 480_000, 1_000_000])
    start = AnchorPositive().draw(7, np.array([0, 1, 10**12]), frames, 16_000)
    assert start.tolist() == pinned
