"""Which tracks a plan may use: conditions on columns of the index and on splits of label sets.

    duration_s >= 30
    licence in CC0, "CC BY 4.0"
    truncated == false
    near_duplicate_of == ""
    split(genre) == train           tracks of that split of the label set `genre`
    split(genre) not in test, none  none: tracks that the label set does not hold
    share(genre, 0) <= 0.1          a tenth of the training tracks of `genre`, draw 0 of many

A condition is parsed, never evaluated as code. Targets of labels cannot be asked for: a plan may
depend on who belongs to which split, never on what is true of the tracks in it.
"""

from __future__ import annotations

import csv
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shards.errors import InputError
from shards.files import shown
from shards.index import Index
from shards.labels import SPLITS, Labels
from shards.schema import INDEX_SCHEMA
from shards.share import drawn

PLACES = ("row", "shard", "offset", "size", "seek")
"""Columns that say where a track lies, not what it is: another packing has others."""

FIELDS = [name for name in INDEX_SCHEMA.names if name not in PLACES]
UNLABELLED = "none"

_ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NEGATED = ("!=", "not in")
_LISTS = ("in", "not in")
_CONDITION = re.compile(
    r"\s*(?:split\(\s*(?P<labels>[^(),\s]+)\s*\)|(?P<column>\w+)"
    r"|share\(\s*(?P<drawn>[^(),\s]+)\s*(?:,\s*(?P<draw>[0-9]{1,9})\s*)?\))\s*"
    r"(?P<op>==|!=|<=|>=|<|>|\bnot\s+in\b|\bin\b)\s*(?P<values>[^=<>!\s].*?)\s*",
    re.ASCII,
)


@dataclass(frozen=True)
class Condition:
    """One condition: a column, the split of a label set, or a draw of its train, and values.

    Args:
        draw: Of the label set's training tracks, None where none are drawn.
    """

    text: str
    column: str
    labels: str
    op: str
    values: tuple[str, ...]
    draw: int | None = None


def parse(text: str) -> Condition:
    """The condition that a line of the command means."""
    match = _CONDITION.fullmatch(text)
    if not match:
        raise _wrong(text, 'want a comparison such as "duration_s >= 30" or "licence in CC0,CC-BY"')
    op = " ".join(match["op"].split())
    values = tuple(next(csv.reader([match["values"]], skipinitialspace=True)))
    values = tuple(value.strip() for value in values)
    if len(values) > 1 and op not in _LISTS:
        raise _wrong(text, f"{op} takes one value, a list wants `in`; quote a value with commas")
    if match["drawn"]:
        return _share(text, match["drawn"], int(match["draw"] or 0), op, values)
    column, labels = match["column"] or "", match["labels"] or ""
    if labels and (op in _ORDER or not {*values} <= {*SPLITS, UNLABELLED}):
        raise _wrong(text, f"a split is compared by == != in not in with {(*SPLITS, UNLABELLED)}")
    if column and column not in FIELDS:
        near = get_close_matches(column, FIELDS, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(FIELDS)}"
        raise _wrong(text, f"no column {shown(column)!r}{hint}")
    condition = Condition(text.strip(), column, labels, op, values)
    if column:
        _typed(condition)
    return condition


def _share(text: str, labels: str, draw: int, op: str, values: tuple[str, ...]) -> Condition:
    """A share of the training tracks."""
    try:
        share = float(values[0])
    except ValueError:
        share = 0.0
    if op != "<=" or not 0 < share <= 1:
        raise _wrong(text, "a share of train is asked for by <= and a number in (0, 1]")
    return Condition(text.strip(), "", labels, op, values, draw)


def holds(condition: Condition, index: Index) -> np.ndarray:
    """Whether each track of an archive meets a condition, bool [N]."""
    if condition.draw is not None:
        rows = Labels.open(index, condition.labels).rows("train")
        some = drawn(len(rows), float(condition.values[0]), seed=condition.draw)
        return np.isin(np.arange(len(index)), rows[some])
    if condition.labels:
        met = _of_splits(condition, index)
    elif condition.op in _ORDER:
        (value,) = _typed(condition)
        return np.asarray(_ORDER[condition.op](_numbers(index, condition.column), value))
    elif isinstance(_typed(condition)[0], str):
        wanted = pa.array(_typed(condition), pa.string())
        met = pc.is_in(index.arrow(condition.column), value_set=wanted).to_numpy()
    else:
        met = np.isin(_numbers(index, condition.column), _typed(condition))
    return np.asarray(~met if condition.op in _NEGATED else met)


def labels_of(conditions: Sequence[Condition], index: Index) -> dict[str, str]:
    """Label sets that conditions name → SHA-256 of their tables."""
    names = sorted({c.labels for c in conditions if c.labels})
    return {name: str(Labels.open(index, name).info["sha256"]) for name in names}


def _of_splits(condition: Condition, index: Index) -> np.ndarray:
    """Whether each track is in one of the splits."""
    labels = Labels.open(index, condition.labels)
    split = np.full(len(index), UNLABELLED, "<U5")
    for name in SPLITS:
        split[labels.rows(name)] = name
    return np.isin(split, condition.values)


def _numbers(index: Index, column: str) -> np.ndarray:
    return np.asarray(index.arrow(column).to_numpy())


def _typed(condition: Condition) -> list[Any]:
    """The values as the column's type."""
    kind = INDEX_SCHEMA.field(condition.column).type
    if pa.types.is_string(kind):
        if condition.op in _ORDER:
            raise _wrong(condition.text, f"{condition.column} is text: it is equal or it is not")
        return list(condition.values)
    if pa.types.is_boolean(kind):
        known = {"true": True, "false": False}
        if condition.op in _ORDER or not {*condition.values} <= {*known}:
            raise _wrong(condition.text, f"{condition.column} == true or == false")
        return [known[value] for value in condition.values]
    try:
        return [float(value) for value in condition.values]
    except ValueError:
        raise _wrong(condition.text, f"{condition.column} is compared with numbers") from None


def _wrong(text: str, why: str) -> InputError:
    return InputError(f"--where {shown(text)!r}: {why}.")
