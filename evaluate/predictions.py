"""What a judge predicted, track by track: kept for comparisons and for a run that goes on.

Outputs are written once the choice is; targets never are: whoever reads predictions opens them
again, through the same door and for the same selection.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from evaluate.results import plain
from evaluate.verdict import Other, Verdict
from shards.errors import InputError
from shards.files import read_parquet, sha256_file, shown
from shards.index import Index
from shards.labels import Labels
from shards.sealed import read_sealed, write_vouched

FOLDER = "predictions"

SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("key", pa.string()),
        ("output", pa.list_(pa.float64())),
    ]
)

_ARRAYS = ("rows", "groups", "outputs", "targets")


def prediction_paths(out: Path, label: str, encoder: str) -> tuple[Path, Path]:
    """Table of predictions below a folder of results, and the file that vouches for it."""
    folder = out / FOLDER
    return folder / f"{label}--{encoder}.parquet", folder / f"{label}--{encoder}.json"


def write_predictions(out: Path, index: Index, verdict: Verdict, asked: dict[str, Any]) -> None:
    """Publish a verdict without its targets; `asked` is what it answers."""
    path, vouches = prediction_paths(out, verdict.label, verdict.encoder)
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = verdict.outputs.reshape(len(verdict.rows), -1)
    columns = {
        "row": pa.array(verdict.rows, pa.int64()),
        "key": pa.array(index.column("key")[verdict.rows], pa.string()),
        "output": pa.array(list(flat.astype(np.float64)), SCHEMA.field("output").type),
    }
    facts = {name: value for name, value in vars(verdict).items() if name not in _ARRAYS}
    facts |= {"dimensions": verdict.outputs.ndim, "asked": asked}
    write_vouched(path, vouches, pa.table(columns, schema=SCHEMA), plain(facts))


def read_predictions(out: Path, labels: Labels, encoder: str, selection: Path) -> Verdict:
    """A verdict as it was given; its test targets open for the selection it was given for."""
    path, vouches = prediction_paths(out, labels.name, encoder)
    remedy = "Run the evaluation again."
    facts = read_sealed(vouches, remedy=remedy)
    if not path.is_file() or sha256_file(path) != facts.pop("sha256"):
        raise InputError(f"{shown(path)} is missing or damaged. {remedy}")
    targets, sha256 = labels.test_targets(selection)
    if sha256 != facts["selection_sha256"]:
        raise InputError(f"{shown(selection)} is not the choice of {shown(path)}. {remedy}")
    table = read_parquet(path)
    rows = table["row"].to_numpy()
    known = np.isin(labels.rows("test"), rows)
    if known.sum() != len(rows):
        raise InputError(f"{shown(path)} has tracks that are not in test. {remedy}")
    outputs = table["output"].combine_chunks().flatten().to_numpy().reshape(len(rows), -1)
    given = {field.name: facts[field.name] for field in fields(Verdict) if field.name in facts}
    given |= {
        "metrics": tuple(facts["metrics"]),
        "valid_score": _number(facts["valid_score"]),
        "constant": _number(facts["constant"]),
        "others": tuple(_other(other) for other in facts["others"]),
    }
    return Verdict(
        **given,
        rows=rows,
        groups=labels.groups("test")[known],
        outputs=outputs[:, 0] if facts["dimensions"] == 1 else outputs,
        targets=targets[known],
    )


def kept_verdict(
    out: Path, labels: Labels, encoder: str, selection: Path, asked: dict[str, Any]
) -> Verdict | None:
    """The verdict of an earlier run that was asked the same; None if there is none that holds."""
    _, vouches = prediction_paths(out, labels.name, encoder)
    try:
        if not vouches.is_file() or read_sealed(vouches).get("asked") != plain(asked):
            return None
        return read_predictions(out, labels, encoder, selection)
    except InputError:
        return None  # damaged or of another choice: judged again


def _other(facts: dict[str, Any]) -> Other:
    scores = {name: _number(value) for name, value in facts["scores"].items()}
    return Other(**{**facts, "valid_score": _number(facts["valid_score"]), "scores": scores})


def _number(value: float | None) -> float:
    """A number that JSON could not hold is null there."""
    return float("nan") if value is None else value
