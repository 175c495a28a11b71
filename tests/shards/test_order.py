"""Orders: every track once a pass, whatever the shards look like; windows keep to their shards."""

import numpy as np
import pytest

from shards.order import RandomOrder, WindowedOrder, window_shards_for

RAGGED = np.repeat([0, 2, 3, 7, 8, 9, 11], [5, 1, 40, 13, 13, 2, 6])  # 1, 4, 5, 6, 10 are empty
# As archives of several builds are, and in the type in which a selection holds them.
MIXED = np.random.default_rng(0).permutation(RAGGED).astype(np.uint8)


def orders(shard, seed=0, number=0):
    yield RandomOrder(len(shard), seed=seed, number=number)
    for window in (1, 2, 3, 7, 100):
        yield WindowedOrder(shard, window_shards=window, seed=seed, number=number)


@pytest.mark.parametrize("shard", [RAGGED, MIXED, np.zeros(1, int), np.arange(9)], ids=len)
def test_every_pass_visits_every_track_once_and_in_another_order(shard):
    for order in orders(shard):
        passes = order.place(np.arange(4 * len(shard))).reshape(4, -1)
        for visited in passes:
            assert sorted(visited) == list(range(len(shard)))
        if len(shard) > 4:
            assert len({tuple(visited) for visited in passes}) == 4


def test_a_place_depends_on_its_visit_alone():
    for order in orders(MIXED):
        together = order.place(np.arange(1000, 1200))
        backwards = order.place(np.arange(1199, 999, -1))
        assert together.tolist() == backwards[::-1].tolist()
        assert [int(order.place(np.array([v]))[0]) for v in (1000, 1117)] == [
            together[0],
            together[117],
        ]


def test_archives_of_a_mixture_and_seeds_have_orders_of_their_own():
    for one, other, seeded in zip(
        orders(MIXED), orders(MIXED, number=1), orders(MIXED, seed=1), strict=True
    ):
        visits = np.arange(len(MIXED))
        assert one.place(visits).tolist() != other.place(visits).tolist()
        assert one.place(visits).tolist() != seeded.place(visits).tolist()


@pytest.mark.parametrize("shard", [RAGGED, MIXED], ids=["one build", "several builds"])
@pytest.mark.parametrize("window", [1, 2, 3])
def test_a_window_ends_before_the_next_begins(shard, window):
    """The naive reading: cut the shards of a pass into groups of W, empty each before the next."""
    order = WindowedOrder(shard, window_shards=window, seed=4)
    visited = shard[order.place(np.arange(len(shard)))]
    in_order = list(dict.fromkeys(visited.tolist()))
    runs = []
    for one in visited.tolist():
        if not runs or one not in runs[-1]:
            open_window = runs and len(runs[-1]) < window
            runs[-1].add(one) if open_window else runs.append({one})
    assert sum(map(len, runs)) == len(in_order) == 7  # no shard is come back to
    assert all(len(run) == window for run in runs[:-1])


def test_tracks_of_a_window_are_mixed_and_shards_are_not_in_their_old_order():
    shard = np.repeat(np.arange(64), 100)
    order = WindowedOrder(shard, window_shards=8, seed=1)
    first = shard[order.place(np.arange(800))]
    assert len(set(first[:100])) == 8  # a batch sees all shards of its window
    assert abs(np.corrcoef(np.arange(800), order.place(np.arange(800)))[0, 1]) < 0.2
    assert sorted(set(first)) != list(range(8))


def test_neighbours_meet_anew_in_every_pass():
    """Which shards share a window changes from pass to pass, or some tracks would never meet."""
    shard = np.repeat(np.arange(32), 10)
    order = WindowedOrder(shard, window_shards=4, seed=1)
    windows = [
        frozenset(shard[order.place(np.arange(q * 320 + w * 40, q * 320 + w * 40 + 40))])
        for q in range(3)
        for w in range(8)
    ]
    assert len(set(windows)) > 20


def test_two_windows_fit_the_cache():
    assert window_shards_for([100] * 50, 1000) == 5
    assert window_shards_for([100, 300], 1000) == 2
    assert window_shards_for([100], 1) == 1
    assert window_shards_for([], 10) >= 1
