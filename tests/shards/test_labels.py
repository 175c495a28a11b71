"""Labels: one reader, typed targets, and test targets for a written selection only."""

import json

import numpy as np
import pyarrow as pa
import pytest

from shards.errors import InputError
from shards.index import Index
from shards.label_table import label_table
from shards.labels import Labels, label_names, label_schema, write_labels
from shards.targets import KEYS

SPLITS = ["train"] * 6 + ["valid"] * 3 + ["test"] * 3


def info(kind, classes=()):
    return {"format": 1, "kind": kind, "classes": list(classes), "metric": "x"}


@pytest.fixture
def labelled(archive, tmp_path):
    """An archive with one label set of each kind, its rows in no order."""
    import shutil

    shutil.copytree(archive, tmp_path / "copy")
    index = Index.open(tmp_path / "copy")
    order = np.random.default_rng(0).permutation(len(index))
    keys, groups = index.column("key")[order], [f"g{i}" for i in order]
    targets = {
        "class": [("low", "high")[i % 2] for i in order],
        "tags": [["a"] if i % 3 else ["a", "b"] for i in order],
        "number": [float(i) for i in order],
    }
    for kind, values in targets.items():
        columns = {"key": keys, "target": values, "group": groups, "split": SPLITS}
        classes = {"class": ["high", "low"], "tags": ["a", "b"], "number": []}[kind]
        write_labels(
            tmp_path / "copy",
            kind,
            pa.table(columns, schema=label_schema(kind)),
            info(kind, classes),
        )
    return index


def selection(labels, path, **changes):
    chosen = {"label": labels.name, "label_sha256": labels.info["sha256"], "chosen": {"l2": 1}}
    path.write_text(json.dumps(chosen | changes))
    return path


def test_targets_come_typed_and_in_the_order_of_rows(labelled):
    assert label_names(labelled.path) == ["class", "number", "tags"]
    number = Labels.open(labelled, "number")
    for split in ("train", "valid"):
        rows = number.rows(split)
        assert (np.diff(rows) > 0).all()
        np.testing.assert_array_equal(number.targets(split), rows)
        by_class = Labels.open(labelled, "class")
        np.testing.assert_array_equal(by_class.targets(split), 1 - rows % 2)  # "high" is class 0
        by_tag = Labels.open(labelled, "tags").targets(split)
        np.testing.assert_array_equal(by_tag, np.stack([rows >= 0, rows % 3 == 0], 1))
        assert by_class.groups(split).tolist() == [f"g{r}" for r in rows]


def test_test_targets_stay_shut_without_a_selection(labelled, tmp_path):
    labels = Labels.open(labelled, "number")
    with pytest.raises(InputError, match="written selection"):
        labels.targets("test")
    with pytest.raises(InputError, match="choose first"):
        labels.test_targets(tmp_path / "none.json")
    for lie in ({"label": "class"}, {"label_sha256": "0"}, {"chosen": {}}):
        with pytest.raises(InputError, match="chooses nothing"):
            labels.test_targets(selection(labels, tmp_path / "lie.json", **lie))


def test_test_targets_open_for_a_selection_and_name_it(labelled, tmp_path):
    import hashlib

    labels = Labels.open(labelled, "number")
    path = selection(labels, tmp_path / "selection.json")
    values, digest = labels.test_targets(path)
    np.testing.assert_array_equal(values, labels.rows("test"))
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_changed_label_file_is_refused(labelled):
    path = labelled.path / "labels" / "number.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="damaged"):
        Labels.open(labelled, "number")


def test_labels_must_be_named_and_typed(labelled):
    table = pa.table({"key": ["a"]})
    with pytest.raises(InputError, match="columns"):
        write_labels(labelled.path, "x", table, info("class"))
    good = pa.table(
        {"key": ["a"], "target": ["b"], "group": ["c"], "split": ["exam"]},
        schema=label_schema("class"),
    )
    with pytest.raises(InputError, match="exam"):
        write_labels(labelled.path, "x", good, info("class"))
    with pytest.raises(InputError, match="cannot name"):
        write_labels(labelled.path, "../x", good, info("class"))
    with pytest.raises(InputError, match="No labels 'nope'"):
        Labels.open(labelled, "nope")


# Keys, pieces and events


BEATS = [[], ["1", "2", "3"], ["", ""]]


def event(start_s, end_s, value):
    return {"start_s": start_s, "end_s": end_s, "value": value}


@pytest.fixture
def timed(labelled):
    """Label sets of keys, pieces, beats and segments; what a row holds follows from its number."""
    rows = np.random.default_rng(1).permutation(len(labelled))
    sections = [[event(0.0, 1.0, "verse")], [event(0.0, 0.4, "rare"), event(0.4, 1.0, "verse")]]
    sets = {
        "key": (lambda i: KEYS[i], [f"g{i}" for i in rows], KEYS),
        "group": (lambda i: f"piece {i // 2}", [f"g{i // 2}" for i in rows], ()),
        "beats": (
            lambda i: [event(n / 2, n / 2, bar) for n, bar in enumerate(BEATS[i % 3])],
            [f"g{i}" for i in rows],
            (),
        ),
        "segments": (lambda i: sections[i % 2], [f"g{i}" for i in rows], ["verse"]),
    }
    for kind, (cell, groups, classes) in sets.items():
        splits = [("train", "valid", "train", "test", "valid", "train")[i // 2] for i in rows]
        columns = [labelled.column("key")[rows], [cell(i) for i in rows], groups, splits]
        table = pa.table(columns, schema=label_schema(kind))
        write_labels(labelled.path, kind, table, info(kind, classes))
    return labelled


def test_keys_and_pieces_come_as_numbers(timed):
    keys, pieces = Labels.open(timed, "key"), Labels.open(timed, "group")
    for split in ("train", "valid"):
        np.testing.assert_array_equal(keys.targets(split), keys.rows(split))
        rows = pieces.rows(split)
        assert [pieces.names[t] for t in pieces.targets(split)] == [f"piece {r // 2}" for r in rows]
    assert (KEYS[0], KEYS[11], KEYS[12], KEYS[23]) == ("C major", "B major", "C minor", "B minor")
    assert pieces.classes == []


def test_events_come_as_arrays_a_track(timed):
    beats, sections = Labels.open(timed, "beats"), Labels.open(timed, "segments")
    for row, events in zip(beats.rows("train"), beats.targets("train"), strict=True):
        np.testing.assert_array_equal(events.start_s, np.arange(len(BEATS[row % 3])) / 2)
        np.testing.assert_array_equal(events.end_s, events.start_s)
        assert events.value.tolist() == [[], [1, 2, 3], [0, 0]][row % 3]
    for row, events in zip(sections.rows("valid"), sections.targets("valid"), strict=True):
        assert len(events) == 1, "a segment of a class that is left out is none"
        assert (events.start_s[0], events.end_s[0], events.value[0]) == (0.4 * (row % 2), 1.0, 0)
    with pytest.raises(InputError, match="written selection"):
        beats.targets("test")


@pytest.mark.parametrize("kind", ["key", "group", "beats", "segments"])
def test_folds_of_every_kind_hold_each_track_out_once_and_part_no_group(timed, kind):
    labels = Labels.open(timed, kind)
    folds = labels.folds(3)
    held_out = np.concatenate([fold.rows("test") for fold in folds])
    assert sorted(held_out) == list(range(len(timed)))
    for fold in folds:
        groups = [set(fold.groups(split)) for split in ("train", "valid", "test")]
        assert sum(map(len, groups)) == len(set.union(*groups))


@pytest.mark.parametrize("kind", ["key", "group", "beats", "segments"])
def test_people_see_names_and_times_but_none_of_test(timed, kind):
    rows = np.arange(len(timed))
    found = label_table(timed, rows, kind).to_pylist()
    assert [one["row"] for one in found] == rows.tolist()
    assert [one["target"] is None for one in found] == [row // 2 == 3 for row in rows]
    seen = found[1]["target"]
    first = [event(0.0, 0.0, "1"), event(0.5, 0.5, "2"), event(1.0, 1.0, "3")]
    wanted = {"key": "Db major", "group": "piece 0", "beats": first}
    assert seen == wanted.get(kind, [event(0.4, 1.0, "verse")])


def test_keys_that_are_none_and_parted_pieces_are_refused(timed):
    key = list(timed.column("key")[:2])
    table = pa.table([key, ["H dur"] * 2, ["g"] * 2, ["train"] * 2], schema=label_schema("key"))
    with pytest.raises(InputError, match="H dur"):
        write_labels(timed.path, "x", table, info("key", KEYS))
    for groups, splits in ((["g", "g"], ["train", "test"]), (["a", "b"], ["test", "test"])):
        table = pa.table([key, ["one"] * 2, groups, splits], schema=label_schema("group"))
        with pytest.raises(InputError, match="versions of a piece want one"):
            write_labels(timed.path, "x", table, info("group"))
