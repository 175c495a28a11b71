"""add_labels: a table and an archive → label sets, and a line about each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ingest.card import write_card
from ingest.labels.groups import VERSION_COLUMNS, Level, group_levels
from ingest.labels.kinds import NoLabels, Target, infer_kind, read_target, why_no_labels
from ingest.labels.split import Split, Strata, choose_split, given_split
from ingest.labels.table import Joined, join, read_table
from shards.errors import InputError
from shards.files import sha256_file, shown
from shards.index import Index
from shards.labels import METRICS, SPLITS, label_schema, write_labels
from shards.place import Place
from shards.schema import FORMAT

EXAMPLES = 4
NUM_BINS = 5
"""Quantiles of a number that are spread evenly over the splits."""


ASKED = ("kind", "split_by", "split_column", "group_column", "separator", "seed")
"""Options that decide a label set, kept so that it can be made again."""


@dataclass(frozen=True)
class Options:
    """What may be said about labels; "" leaves it to the rules."""

    name: str = ""
    column: str = ""
    all_columns: bool = False
    kind: str = ""
    split_by: str = ""
    split_column: str = ""
    group_column: str = ""
    separator: str = ";"
    seed: int = 0
    dry_run: bool = False


@dataclass(frozen=True)
class Told:
    """What became of a column: for people a line, for programs the same as values."""

    line: str
    facts: dict[str, Any]


@dataclass(frozen=True)
class Table:
    """A joined table: its file, the columns with a part to play, and the groups of its tracks."""

    file: Place
    joined: Joined
    split_column: str
    version_column: str
    levels: dict[str, Level]


def add_labels(shards_dir: Place, file: Place, options: Options | None = None) -> Iterator[str]:
    """Write the label sets and yield what to tell of each."""
    for told in tell_labels(shards_dir, file, options or Options()):
        yield told.line


def tell_labels(shards_dir: Place, file: Place, options: Options) -> Iterator[Told]:
    """The same, for programs too."""
    index = Index.open(shards_dir)
    if len(index) == 0:
        raise InputError(f"{shown(shards_dir)} holds no tracks.")
    table = _open(index, file, options)
    tracks, by, unmatched = len(table.joined.rows), table.joined.by, table.joined.unmatched
    yield Told(
        f"{tracks} of {len(index)} tracks found by column {by!r}; "
        f"{unmatched} rows of {shown(file.name)} name no track",
        {"tracks": tracks, "by": by, "unmatched": unmatched},
    )
    for column in _columns(table, options):
        try:
            yield _add(index, table, column, options)
        except NoLabels as reason:
            if not options.all_columns:
                raise InputError(f"Column {shown(column)!r} gives no labels: {reason}.") from None
            line = f"no labels from {shown(column)}: {reason}"
            yield Told(line, {"column": column, "no_labels": str(reason)})
    if not options.dry_run:
        write_card(shards_dir, index.manifest)


def make_again(index: Index, file: Place, info: dict[str, Any]) -> pa.Table:
    """The table of a label set made again from the file it came from, as it was asked for."""
    options = Options(name=info["name"], column=info["source"]["column"], **info["asked"])
    labels, _ = _make(index, _open(index, file, options), options.column, options)
    return labels


def _open(index: Index, file: Place, options: Options) -> Table:
    joined = join(read_table(file, separator=options.separator), index)
    for flag, column in (
        ("--column", options.column),
        ("--split-column", options.split_column),
        ("--group-column", options.group_column),
    ):
        if column and column not in joined.columns:
            names = ", ".join(map(shown, joined.columns))
            raise InputError(f"{flag}: no column {shown(column)!r}; there are {names}.")
    split_column = options.split_column
    if not split_column and not options.split_by and "split" in joined.columns:
        split_column = "split"
    versions = (name for name in VERSION_COLUMNS if name in joined.columns)
    version_column = options.group_column or next(versions, "")
    levels = group_levels(index, joined, version_column)
    return Table(file, joined, split_column, version_column, levels)


def _columns(table: Table, options: Options) -> list[str]:
    """Columns to make labels of: the one asked for, every one, or the only one there is."""
    if options.all_columns:
        if options.name or options.column:
            raise InputError("--all names each label set after its column: leave out the others.")
        return [name for name in table.joined.columns if name != table.joined.by]
    for column in (options.column, options.name):
        if column in table.joined.columns:
            return [column]
    usable = [name for name in table.joined.columns if not _reason(table, name, options)]
    if len(usable) != 1:
        raise InputError(
            f"Which column? Give --column or --all; {', '.join(map(shown, usable)) or 'none'} "
            f"of {shown(table.file.name)} could be labels."
        )
    return usable


def _reason(table: Table, column: str, options: Options) -> str:
    """Why a column that nobody named is no label set, "" if it is one."""
    parts = {
        table.joined.by: "it names the tracks",
        table.split_column: "it is the split",
        table.version_column: "it says which tracks are versions of one piece",
    }
    if column in parts:
        return parts[column]
    cells = table.joined.columns[column]
    kind = options.kind or infer_kind(column, cells, separator=options.separator)
    try:
        read_target(cells, kind=kind, separator=options.separator)
    except NoLabels as reason:
        return str(reason)
    return why_no_labels(column, cells, kind)


def _add(index: Index, table: Table, column: str, options: Options) -> Told:
    """Write one label set."""
    if options.all_columns and (reason := _reason(table, column, options)):
        raise NoLabels(reason)
    labels, info = _make(index, table, column, options)
    name = options.name or re.sub(r"[^A-Za-z0-9_.-]+", "_", column).strip("_.-")[:64]
    if not options.dry_run:
        write_labels(index.path, name, labels, info)
    return Told(_line(name, info), {"name": name, **info})


def _make(
    index: Index, table: Table, column: str, options: Options
) -> tuple[pa.Table, dict[str, Any]]:
    """One label set: its table, and what is to be known of it."""
    cells = table.joined.columns[column]
    kind = options.kind or infer_kind(column, cells, separator=options.separator)
    target = read_target(cells, kind=kind, separator=options.separator)
    split = _split(table, target, options)
    labels, classes = _label_table(index, table, target, split)
    splits = Counter(labels["split"].to_pylist())
    info = {
        "format": FORMAT,
        "kind": target.kind,
        "classes": classes,
        "metric": METRICS[target.kind],
        "window_s": None,
        "aggregation": "mean",
        "source": {"file": table.file.name, "sha256": sha256_file(table.file), "column": column},
        "asked": {name: getattr(options, name) for name in ASKED},
        "split": {
            "by": split.by,
            "given": split.by == "given",
            "seed": options.seed,
            "groups": len(set(labels["group"].to_pylist())),
            "note": split.note,
        },
        "counts": {name: splits[name] for name in SPLITS},
        "dropped": split.dropped,
        "unmatched": table.joined.unmatched,
    }
    return labels, info


def _split(table: Table, target: Target, options: Options) -> Split:
    """The split of the labelled tracks."""
    levels = {name: level.of(target.places) for name, level in table.levels.items()}
    strata = Strata(_strata(target), target.kind)
    if table.split_column:
        cells = table.joined.columns[table.split_column]
        return given_split(
            strata, levels["track"].groups, [cells[place] for place in target.places]
        )
    return choose_split(strata, levels, by=options.split_by, seed=options.seed)


def _strata(target: Target) -> list[list[str]]:
    """What is to be spread evenly: the classes, the tags, or fifths of the numbers."""
    if target.kind == "class":
        return [[str(value)] for value in target.values]
    if target.kind == "tags":
        return [list(map(str, value)) for value in target.values if isinstance(value, list)]
    values = np.array(target.values, np.float64)
    edges = np.quantile(values, np.arange(1, NUM_BINS) / NUM_BINS)
    return [[str(number)] for number in np.searchsorted(edges, values, side="right")]


def _label_table(
    index: Index, table: Table, target: Target, split: Split
) -> tuple[pa.Table, list[str]]:
    """Rows of the tracks that kept a label, by key, and the classes."""
    keys = index.column("key")
    classes: set[str] = set()
    rows: list[dict[str, Any]] = []
    for place, value, group, part in zip(
        target.places, target.values, split.groups, split.splits, strict=True
    ):
        if not part:
            continue
        if isinstance(value, list):
            value = [tag for tag in value if tag not in split.dropped]
            classes.update(value)
        elif target.kind == "class":
            classes.add(str(value))
        key = str(keys[table.joined.rows[place]])
        rows.append({"key": key, "target": value, "group": group, "split": part})
    return pa.Table.from_pylist(rows, label_schema(target.kind)), sorted(classes)


def _line(name: str, info: dict[str, Any]) -> str:
    """One label set in a line."""
    parts = [f"labels {name}: {info['kind']}"]
    if info["classes"]:
        parts.append(f"{len(info['classes'])} classes")
    parts.append(", ".join(f"{split} {n}" for split, n in info["counts"].items()))
    how = "as given" if info["split"]["given"] else f"by {info['split']['by']}"
    note = f" ({info['split']['note']})" if info["split"]["note"] else ""
    parts.append(f"split {how}{note}")
    if info["dropped"]:
        dropped = [f"{shown(name)} ({why})" for name, why in info["dropped"].items()]
        more = f" and {len(dropped) - EXAMPLES} more" if len(dropped) > EXAMPLES else ""
        parts.append(f"dropped {', '.join(dropped[:EXAMPLES])}{more}")
    return "; ".join(parts)
