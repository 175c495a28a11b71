"""A resume as another run is refused, and the message says what changed; what may change, may."""

import pytest

from shards.errors import InputError
from shards.select import select
from shards.views.pair import AnchorPositive
from tests.shards.silent import silent_archive
from train import history
from train.checkpoint import State, read_state
from train.config import Run
from train.plan import plan_of

VIEW = AnchorPositive()


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("silent")
    one = silent_archive(folder / "one", 40)
    silent_archive(folder / "grown", 41)
    return {name: str(one.path.parent / name) for name in ("one", "grown")}


def facts(archives, *, view=VIEW, archive="one", **changes):
    kind = {"method": "byol", "index": (archives[archive],), "out": "out", "batch_size": 8}
    run = Run(**{**kind, **changes})
    run.validate()
    settings = {"method": {}, "encoder": {}, "view": {"clip_s": view.clip_s}}
    return history.facts(run, settings, plan_of(run, view))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 1}, "seed was 0, is 1"),
        ({"lr": 0.1}, r"lr was 0\.0003, is 0\.1"),
        ({"order": "windowed"}, "order was random, is windowed"),
        ({"crops_per_visit": 2}, "crops_per_visit was 1, is 2"),
        ({"where": ("frames > 960010",)}, "tracks was 40, is 29"),
        ({"archive": "grown"}, "archives was"),
        ({"view": AnchorPositive(clip_s=3)}, r"view.clip_s was 4\.0, is 3"),
    ],
)
def test_a_changed_setting_is_refused_by_name(archives, change, says):
    with pytest.raises(InputError, match=says):
        history.refuse_changes(facts(archives), facts(archives, **change))


@pytest.mark.parametrize(
    "change",
    [
        {"backend": "inline"},
        {"num_workers": 7},
        {"save_every": 3},
        {"window_shards": 2},
        {"batch_size": 16},
        {"duplicates": True},
        {"where": ("duration_s > 1",)},  # keeps all
    ],
)
def test_what_decides_nothing_may_change(archives, change):
    history.refuse_changes(facts(archives), facts(archives, **change))


def test_another_batch_size_would_part_the_crops_of_a_visit(archives):
    before = facts(archives, crops_per_visit=2)
    with pytest.raises(InputError, match="batch_size was 8, is 16"):
        history.refuse_changes(before, facts(archives, crops_per_visit=2, batch_size=16))


def test_a_window_from_a_cache_is_a_function_of_flag_and_archive(archives):
    run = Run(method="byol", index=(archives["one"],), out="out", order="windowed", window_gib=1e-6)
    assert plan_of(run, VIEW).window_shards == 1073 // 2  # empty shards count as a byte


def test_weights_want_an_archive_each(archives):
    with pytest.raises(InputError, match="want 1, one for each archive"):
        facts(archives, weights=(1.0, 2.0))


def test_a_state_of_another_version_says_so(tmp_path):
    (tmp_path / "state.json").write_text('{"step": 3, "samples_seen": 9, "plan_fingerprint": "x"}')
    with pytest.raises(InputError, match="another version of wholetone"):
        read_state(tmp_path)


def test_a_state_comes_back_as_it_was(tmp_path, archives):
    from shards.files import write_json

    run = Run(method="byol", index=(archives["one"],), out="out")
    plan = plan_of(run, VIEW)
    write_json(tmp_path / "state.json", vars(State(3, 12, plan.describe())))
    assert read_state(tmp_path).plan == plan.describe()


def test_new_labels_change_no_plan(archives, tmp_path):
    import shutil

    import pyarrow as pa

    from shards.index import Index
    from shards.labels import label_schema, write_labels

    copy = tmp_path / "copy"
    shutil.copytree(archives["one"], copy)
    before = plan_of(Run(method="byol", index=(str(copy),), out="out"), VIEW).describe()
    columns = [["0" * 32], ["rock"], ["g"], ["test"]]
    table = pa.table(columns, schema=label_schema("class"))
    write_labels(copy, "genre", table, {"kind": "class", "classes": ["rock"]})
    assert plan_of(Run(method="byol", index=(str(copy),), out="out"), VIEW).describe() == before
    kept = select([Index.open(copy)], VIEW, where=["split(genre) != test"])
    assert kept.left_out == {"not split(genre) != test": 1}
