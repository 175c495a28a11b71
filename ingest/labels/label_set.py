"""A typed column and its split → the rows of a label set, and what is to be known of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa

from ingest.labels.kinds import Target
from ingest.labels.split import Split, Strata
from shards.files import shown
from shards.labels import METRICS, SPLITS, label_schema
from shards.schema import FORMAT
from shards.targets import EVENTS, KEYS

EXAMPLES = 4
NUM_BINS = 5
"""Quantiles of a number that are spread evenly over the splits."""


def strata_of(target: Target) -> Strata:
    """What is to be spread evenly over the splits, by kind.

    Classes, tags, keys and classes of segments; fifths of numbers and of tempi; whether a piece has
    a second version.
    """
    values = target.values
    if target.kind in ("class", "key"):
        return Strata([[str(value)] for value in values], target.kind)
    if target.kind == "tags":
        return Strata([list(map(str, value)) for value in values], target.kind)
    if target.kind == "segments":
        return Strata([sorted({e["value"] for e in value}) for value in values], target.kind)
    if target.kind == "group":
        versions = Counter(values)
        return Strata([["alone" if versions[v] == 1 else "with others"] for v in values], "group")
    numbers = [_period_s(value) for value in values] if target.kind == "beats" else values
    return Strata(_bins(np.array(numbers, np.float64)), target.kind)


def _period_s(beats: list[dict[str, Any]]) -> float:
    """Median time between two beats, 0 for a single one."""
    starts_s = [beat["start_s"] for beat in beats]
    return float(np.median(np.diff(starts_s))) if len(beats) > 1 else 0.0


def _bins(values: np.ndarray) -> list[list[str]]:
    """Fifths of numbers."""
    edges = np.quantile(values, np.arange(1, NUM_BINS) / NUM_BINS)
    return [[str(number)] for number in np.searchsorted(edges, values, side="right")]


def label_table(keys: list[str], target: Target, split: Split) -> tuple[pa.Table, list[str]]:
    """Rows of the tracks that kept a label, by their keys [n], and the classes."""
    classes: set[str] = set()
    rows: list[dict[str, Any]] = []
    for key, value, group, part in zip(
        keys, target.values, split.groups, split.splits, strict=True
    ):
        if not part:
            continue
        if target.kind == "tags":
            value = [tag for tag in value if tag not in split.dropped]
            classes.update(value)
        elif target.kind == "segments":
            value = [event for event in value if event["value"] not in split.dropped]
            classes.update(event["value"] for event in value)
            if not value:
                continue
        elif target.kind == "class":
            classes.add(value)
        rows.append({"key": key, "target": value, "group": group, "split": part})
    names = list(KEYS) if target.kind == "key" else sorted(classes)
    return pa.Table.from_pylist(rows, label_schema(target.kind)), names


def facts_of(
    labels: pa.Table, classes: list[str], target: Target, split: Split, seed: int
) -> dict[str, Any]:
    """What is to be known of a label set, but for where it came from."""
    splits = Counter(labels["split"].to_pylist())
    return {
        "format": FORMAT,
        "kind": target.kind,
        "classes": classes,
        "holds": _holds(target.kind, labels["target"].to_pylist()),
        "metric": METRICS[target.kind],
        "window_s": None,
        "aggregation": "mean",
        "split": {
            "by": split.by,
            "given": split.by == "given",
            "seed": seed,
            "groups": len(set(labels["group"].to_pylist())),
            "note": split.note,
        },
        "counts": {name: splits[name] for name in SPLITS},
        "dropped": split.dropped,
        "left_out": target.left_out,
    }


def _holds(kind: str, values: list[Any]) -> str:
    """What tracks and classes do not tell of the pieces or events, "" of other kinds."""
    if kind in EVENTS:
        return f"{sum(map(len, values))} {kind}"
    if kind == "group":
        versions = Counter(values)
        shared = sum(count > 1 for count in versions.values())
        return f"{len(versions)} pieces, {shared} with more than one version"
    return ""


def line(name: str, info: dict[str, Any]) -> str:
    """One label set in a line."""
    parts = [f"labels {name}: {info['kind']}"]
    if info["classes"]:
        parts.append(f"{len(info['classes'])} classes")
    if info["holds"]:
        parts.append(info["holds"])
    parts.append(", ".join(f"{split} {n}" for split, n in info["counts"].items()))
    how = "as given" if info["split"]["given"] else f"by {info['split']['by']}"
    note = f" ({info['split']['note']})" if info["split"]["note"] else ""
    parts.append(f"split {how}{note}")
    if info["dropped"]:
        dropped = [f"{shown(name)} ({why})" for name, why in info["dropped"].items()]
        parts.append(f"dropped {_few(dropped)}")
    if info["left_out"]:
        left_out = [f"{count} ({why})" for why, count in info["left_out"].items()]
        parts.append(f"left out {_few(left_out)}")
    return "; ".join(parts)


def _few(texts: list[str]) -> str:
    more = f" and {len(texts) - EXAMPLES} more" if len(texts) > EXAMPLES else ""
    return ", ".join(texts[:EXAMPLES]) + more
