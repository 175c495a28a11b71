"""A label set as a table for people; what the one reader of labels keeps closed stays closed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from shards.index import Index
from shards.labels import KINDS, SPLITS, Labels


def label_table(index: Index, rows: np.ndarray, name: str) -> pa.Table:
    """Row, key, split, group, target of the labelled tracks among `rows`; test targets are null."""
    labels = Labels.open(index, name)
    parts = [_of_split(labels, split) for split in SPLITS]
    found = {
        column: [value for part in parts for value in part[column]]
        for column in ("row", "split", "group", "target")
    }
    key = index.column("key")[np.array(found["row"], np.int64)]
    table = pa.table(
        {
            "row": pa.array(found["row"], pa.int64()),
            "key": pa.array(key, pa.string()),
            "split": pa.array(found["split"], pa.string()),
            "group": pa.array(found["group"], pa.string()),
            "target": pa.array(found["target"], KINDS[labels.kind]),
        }
    )
    return table.filter(pa.array(np.isin(found["row"], rows))).sort_by("row")


def _of_split(labels: Labels, split: str) -> dict[str, list[Any]]:
    """Columns of one split."""
    rows = labels.rows(split).tolist()
    closed = split == "test"
    return {
        "row": rows,
        "split": [split] * len(rows),
        "group": labels.groups(split).tolist(),
        "target": [None] * len(rows) if closed else _named(labels, labels.targets(split)),
    }


def _named(labels: Labels, targets: np.ndarray) -> list[Any]:
    """Targets as people write them: names of classes, lists of tags, numbers."""
    if labels.kind == "number":
        return list(targets.tolist())
    classes = np.array(labels.classes, object)
    if labels.kind == "class":
        return list(classes[targets])
    return [classes[tags > 0].tolist() for tags in targets]
