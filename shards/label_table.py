"""A label set as a table for people; what the one reader of labels keeps closed stays closed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from shards.index import Index
from shards.labels import KINDS, SPLITS, Labels
from shards.targets import cells_of


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
        "target": [None] * len(rows) if closed else _cells(labels, split),
    }


def _cells(labels: Labels, split: str) -> list[Any]:
    """Targets of a split as people write them."""
    return cells_of(labels.kind, labels.targets(split), labels.names)
