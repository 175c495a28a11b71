"""The plan of many tracks: passes, windows, crops and mixtures against a naive list, and pinned."""

import hashlib
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from shards.errors import InputError
from shards.plan import TrainPlan
from shards.select import select
from shards.stream import Steps
from shards.views.pair import AnchorPositive
from tests.shards.silent import silent_archive

VIEW = AnchorPositive()
GOLDEN = Path(__file__).parents[1] / "golden" / "plan.json"
KINDS = [
    {},
    {"order": "windowed", "window_shards": 2},
    {"crops_per_visit": 2},
    {"crops_per_visit": 4, "order": "windowed", "window_shards": 3},
    {"weights": (3, 1)},
    {"weights": (1, 2), "crops_per_visit": 3, "order": "windowed", "window_shards": 1},
]


@pytest.fixture(scope="module")
def indexes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("silent")
    return [
        silent_archive(folder / "one", 53, shards=7),
        silent_archive(folder / "other", 20, shards=3, name=1),
    ]


@pytest.fixture(scope="module")
def tracks(indexes):
    return select(indexes, VIEW)


def plan_of(tracks, *, batch=8, seed=5, view=VIEW, **kind):
    return TrainPlan(tracks, view, seed=seed, batch_size=batch, **kind)


def naive_rows(plan, steps):
    """Rows of the first steps by walking: pass after pass, visit after visit, crop after crop."""
    weights, origins = plan.weights, plan.selection.origins
    begins = [origin.begin for origin in origins] if weights else [0]

    def tracks_of(archive):
        order, size = plan._orders[archive], plan._orders[archive].size
        for which_pass in itertools.count():
            for i in range(size):
                place = order.place(np.array([which_pass * size + i]))
                yield int(plan.rows[begins[archive] + int(place[0])])

    archives = [tracks_of(archive) for archive in range(len(begins))]
    pattern = itertools.cycle(plan._mixture.pattern.tolist() if weights else [0])
    rows = []
    while len(rows) < steps * plan.batch_size:
        visited = [next(archives[next(pattern)]) for _ in range(plan.batch_size)]
        rows += visited * plan.crops_per_visit
    return rows[: steps * plan.batch_size]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_closed_form_equals_walking(tracks, kind):
    plan = plan_of(tracks, **kind)
    assert plan.take(np.arange(40 * 8))["row"].tolist() == naive_rows(plan, 40)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_any_position_may_be_asked_for_first(tracks, kind):
    together = plan_of(tracks, **kind).located(np.arange(10**12, 10**12 + 400))
    alone = plan_of(tracks, **kind).located(np.array([10**12 + 123]))
    for name, column in together.items():
        np.testing.assert_array_equal(column[123], alone[name][0], err_msg=name)


@pytest.mark.parametrize("kind", KINDS[:2], ids=str)
def test_several_archives_without_weights_are_one_set(tracks, kind):
    plan = plan_of(tracks, **kind)
    rows = plan.take(np.arange(3 * 73))["row"].reshape(3, -1)
    assert all(sorted(visited) == list(range(73)) for visited in rows)


def test_each_archive_of_a_mixture_has_passes_of_its_own(tracks):
    rows = plan_of(tracks, weights=(3, 1)).take(np.arange(4 * 20 * 53))["row"]
    one, other = rows[rows < 53], rows[rows >= 53]
    assert len(one) == 3 * len(other)
    assert all(sorted(visited) == list(range(53)) for visited in one.reshape(-1, 53))
    assert all(sorted(visited) == list(range(53, 73)) for visited in other.reshape(-1, 20))


@pytest.mark.parametrize("crops", [2, 3, 4])
def test_tracks_keep_their_place_for_c_steps_and_their_draws_differ(tracks, crops):
    plan = plan_of(tracks, crops_per_visit=crops)
    taken = plan.take(np.arange(8 * crops * 9))
    rows = taken["row"].reshape(9, crops, 8)
    start = taken["start"].reshape(9, crops, 8, 2)
    assert (rows == rows[:, :1]).all()
    for a, b in itertools.combinations(range(crops), 2):
        assert (start[:, a] != start[:, b]).all()
    # Nine super-steps of eight are 72 visits of 73 tracks: none comes twice.
    assert len(np.unique(rows[:, 0])) == 72


def test_a_batch_repeats_a_track_only_at_the_edge_of_a_pass(indexes):
    """Elsewhere never; there as often as two random draws of its halves meet: ≤ G²/4N."""
    plan = plan_of(indexes[0], batch=16, crops_per_visit=2)
    visits = np.arange(53 * 16).reshape(-1, 16)
    rows = plan.take(np.arange(53 * 16 * 2))["row"].reshape(-1, 2, 16)[:, 0]
    repeated = np.array([16 - len(set(batch)) for batch in rows.tolist()])
    edge = visits[:, 0] // 53 != visits[:, -1] // 53
    assert not repeated[~edge].any()
    assert 0 < repeated[edge].mean() < 16**2 / 4 / 53 * 1.5


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("world_size", [2, 4, 8])
def test_any_world_size_takes_the_same_global_batches(tracks, kind, world_size):
    plan = plan_of(tracks, **kind)
    whole = Steps(plan, 0, None, 8, 0, 1)
    for step in (0, 3, 17):
        want = whole.rows(step)
        parts = [Steps(plan, 0, None, 8, r, world_size).rows(step) for r in range(world_size)]
        for name, column in want.items():
            np.testing.assert_array_equal(column, np.concatenate([p[name] for p in parts]))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_resume_of_a_resume_goes_on_where_the_first_run_would_have(tracks, kind):
    """At the edges of passes (73), of windows, and inside a visit of several crops."""
    position = np.arange(40 * 8)
    whole = plan_of(tracks, **kind).take(position)["start"]
    at = 0
    for stop in (9, 10, 28, 40):
        steps = Steps(plan_of(tracks, **kind), at * 8, None, 8, 0, 1)
        got = np.concatenate([steps.rows(step)["start"] for step in range(stop - at)])
        np.testing.assert_array_equal(got, whole[at * 8 : stop * 8])
        at = stop


def test_fewer_tracks_than_a_batch_and_fewer_shards_than_ranks(tmp_path):
    index = silent_archive(tmp_path / "few", 3, shards=1)
    for kind in ({}, {"order": "windowed"}, {"crops_per_visit": 2}):
        plan = plan_of(index, batch=8, **kind)
        parts = [Steps(plan, 0, None, 8, r, 4).rows(0)["row"] for r in range(4)]
        counts = np.bincount(np.concatenate(parts))
        assert counts.sum() == 8
        assert counts.max() - counts.min() <= 1


def test_a_validation_pass_takes_every_track_once_pads_and_marks(indexes):
    plan = TrainPlan(indexes[0], VIEW, passes=1)
    for world_size in (1, 3):
        parts = [Steps(plan, 0, plan.stop, 12, r, world_size) for r in range(world_size)]
        assert {steps.count for steps in parts} == {5}
        rows = [steps.rows(0, 5) for steps in parts]
        seen = np.concatenate([r["row"][r["valid"]] for r in rows])
        assert sorted(seen) == list(range(53))
        assert sum(len(r["row"]) for r in rows) == 60
        assert all((r["start"] >= 0).all() for r in rows)


def test_substitutes_follow_from_the_position_and_stay_in_the_archive(tracks):
    plan = plan_of(tracks, weights=(3, 1))
    position = np.arange(4000)
    rows = plan.take(position)["row"]
    choices = [plan.substitutes(position, j) for j in (1, 2, 3)]
    for other in choices:
        assert ((other["row"] < 53) == (rows < 53)).all()
        ends = other["start"] + other["frames"]
        assert (ends <= other["track_frames"][:, None]).all()
        assert set(other) == set(plan.located(position[:1]))
        counts = np.bincount(other["row"][other["row"] < 53], minlength=53)
        assert counts.min() > 25  # 57 of each expected
    assert (choices[0]["row"] != choices[1]["row"]).mean() > 0.9
    alone = plan.substitutes(np.array([777]), 2)
    for name, column in alone.items():
        np.testing.assert_array_equal(column[0], choices[1][name][777])


def test_a_description_names_what_changed(tracks, indexes):
    base = plan_of(tracks)
    changes = [
        ({"seed": 6}, {"seed"}),
        ({"order": "windowed"}, {"order", "window_shards", "shards"}),
        ({"crops_per_visit": 2}, {"crops_per_visit", "batch_size"}),
        ({"weights": (2, 2)}, {"weights"}),
        ({"view": AnchorPositive(clip_s=3)}, {"view.clip_s"}),
        ({"passes": 2}, {"passes"}),
        ({"batch": 16}, set()),
        ({"window_shards": 3}, set()),
    ]
    for change, names in changes:
        other = plan_of(tracks, **change).describe()
        assert {name for name in other if other[name] != base.describe()[name]} == names
        assert (plan_of(tracks, **change).fingerprint == base.fingerprint) == (not names)
    one = TrainPlan(select(indexes[:1], VIEW), VIEW, seed=5, batch_size=8).describe()
    differ = {name for name in one if one[name] != base.describe()[name]}
    assert differ == {"archives", "tracks", "selection"}
    assert json.loads(json.dumps(base.describe())) == base.describe()


def test_another_packing_changes_a_windowed_plan_only(tmp_path):
    few, many = (silent_archive(tmp_path / str(n), 40, shards=n) for n in (2, 8))
    assert few.fingerprint == many.fingerprint
    assert plan_of(few).fingerprint == plan_of(many).fingerprint
    windowed = [plan_of(index, order="windowed").describe() for index in (few, many)]
    assert [n for n in windowed[0] if windowed[0][n] != windowed[1][n]] == ["shards"]


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ({"order": "sorted"}, "order"),
        ({"window_shards": 0}, "1 shard or more"),
        ({"crops_per_visit": 0}, "crops"),
        ({"crops_per_visit": 2, "batch": None}, "size of the batch"),
        ({"crops_per_visit": 2, "passes": 1}, "one crop"),
        ({"weights": (1,)}, "Want 2 weights"),
        ({"weights": (1, 1), "passes": 1}, "no end"),
    ],
)
def test_plans_that_cannot_be_are_refused(tracks, kind, says):
    with pytest.raises(InputError, match=says):
        plan_of(tracks, **kind)


def test_an_archive_of_which_nothing_is_left_cannot_be_mixed_in(indexes):
    tracks = select(indexes, VIEW, where=["frames > 960030"])
    with pytest.raises(InputError, match="other can be used: take it out"):
        plan_of(tracks, weights=(1, 1))


def test_pinned_plans_never_change(tracks):
    """Of each kind the rows, starts and seeds at the begin and far away, as a hash."""
    pinned = json.loads(GOLDEN.read_text())
    assert {str(kind): digest(plan_of(tracks, **kind)) for kind in KINDS} == pinned


def digest(plan):
    taken = plan.take(np.append(np.arange(200), 10**12 + np.arange(200)))
    values = [taken[name].astype("<i8").tobytes() for name in ("row", "start", "seed")]
    return hashlib.sha256(b"".join(values)).hexdigest()[:32]
