"""Labels: one reader, typed targets, and test targets for a written selection only."""

import json

import numpy as np
import pyarrow as pa
import pytest

from shards.errors import InputError
from shards.index import Index
from shards.labels import Labels, label_names, label_schema, write_labels

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
