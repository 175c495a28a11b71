"""add_labels: a table and an archive → label sets, and a line about each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ingest.card import write_card
from ingest.labels import event_target
from ingest.labels.events import STARTS, Row, guess_kind, long_rows, named
from ingest.labels.groups import VERSION_COLUMNS, Level, group_levels
from ingest.labels.kinds import PIECES, NoLabels, Target, infer_kind, read_target, why_no_labels
from ingest.labels.label_set import facts_of, label_table, line, strata_of
from ingest.labels.split import Split, choose_split, given_split
from ingest.labels.table import Joined, join, join_many, match, read_table
from shards.errors import InputError
from shards.files import sha256_file, shown
from shards.index import Index
from shards.labels import write_labels
from shards.place import Place
from shards.targets import EVENTS

ASKED = ("kind", "split_by", "split_column", "group_column", "separator", "event", "seed")
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
    event: str = ""
    seed: int = 0
    dry_run: bool = False


@dataclass(frozen=True)
class Told:
    """What became of a column: for people a line, for programs the same as values."""

    line: str
    facts: dict[str, Any]


@dataclass(frozen=True)
class Table:
    """A joined table: its file, the columns with a part to play, and the groups of its tracks.

    Where it has a row an event, `events` is what it holds, and their rows of each track.
    """

    file: Place
    joined: Joined
    split_column: str
    version_column: str
    levels: dict[str, Level]
    events: tuple[str, list[list[Row]]] | None


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
                where = f"Column {shown(column)!r}" if column else shown(file.name)
                raise InputError(f"{where} gives no labels: {reason}.") from None
            text = f"no labels from {shown(column)}: {reason}"
            yield Told(text, {"column": column, "no_labels": str(reason)})
    if not options.dry_run:
        write_card(shards_dir, index.manifest)


def make_again(index: Index, file: Place, info: dict[str, Any]) -> pa.Table:
    """The table of a label set made again from the file it came from, as it was asked for."""
    options = Options(name=info["name"], column=info["source"]["column"], **info["asked"])
    labels, _ = _make(index, _open(index, file, options), options.column, options)
    return labels


def _open(index: Index, file: Place, options: Options) -> Table:
    columns = read_table(file, separator=options.separator)
    for flag, column in (
        ("--column", options.column),
        ("--split-column", options.split_column),
        ("--group-column", options.group_column),
    ):
        if column and column not in columns:
            names = ", ".join(map(shown, columns))
            raise InputError(f"{flag}: no column {shown(column)!r}; there are {names}.")
    joined, events = _join(index, columns, options)
    split_column = options.split_column
    if not split_column and not options.split_by and "split" in joined.columns:
        split_column = "split"
    for column in filter(None, (split_column, options.group_column)):
        if column not in joined.columns:
            raise InputError(f"Column {shown(column)!r} differs between the rows of one track.")
    versions = (name for name in VERSION_COLUMNS if name in joined.columns)
    version_column = options.group_column or next(versions, "")
    levels = group_levels(index, joined, *filter(None, [version_column]))
    return Table(file, joined, split_column, version_column, levels, events)


def _join(
    index: Index, columns: dict[str, list[str]], options: Options
) -> tuple[Joined, tuple[str, list[list[Row]]] | None]:
    """A row a track; or, with a column of starts and the kind to go with it, a row an event.

    Where no track has a second row, the column that is asked for may name files of events instead.
    """
    kind = options.kind
    if not named(STARTS, columns) or (kind and kind not in EVENTS):
        return join(columns, index), None
    rows = [row for row in match(columns, index)[1] if row >= 0]
    repeat = len(set(rows)) < len(rows)
    kind = kind or (guess_kind(columns) if repeat else "")
    if not kind or (options.column and not repeat):
        return join(columns, index), None
    if options.all_columns:
        raise InputError("A table with a row an event makes one label set: leave out --all.")
    joined, numbers = join_many(columns, index)
    return joined, (kind, [long_rows(columns, own, options.column) for own in numbers])


def _columns(table: Table, options: Options) -> list[str]:
    """Columns to make labels of: the one asked for, every one, or the only one there is."""
    if table.events:
        return [options.column]
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
    if options.all_columns and column.lower() in PIECES:
        del parts[table.version_column]  # which makes a label set too, if every one is asked for
    if column in parts:
        return parts[column]
    cells = table.joined.columns[column]
    kind = options.kind or infer_kind(column, cells, separator=options.separator)
    if kind in EVENTS:
        asked = options.kind or options.all_columns
        return "" if asked and column.endswith("_file") else "it may name files of events"
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
    name = options.name or _name(column or info["kind"])
    if not options.dry_run:
        write_labels(index.path, name, labels, info)
    return Told(line(name, info), {"name": name, **info})


def _name(column: str) -> str:
    """A column's name as that of a label set; a column of files is named after what they hold."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", column).strip("_.-")
    return (plain.removesuffix("_file") or plain)[:64]


def _make(
    index: Index, table: Table, column: str, options: Options
) -> tuple[pa.Table, dict[str, Any]]:
    """One label set: its table, and what is to be known of it."""
    target, source = _target(index, table, column, options)
    split = _split(index, table, column, target, options)
    keys = index.column("key")
    own = [str(keys[table.joined.rows[place]]) for place in target.places]
    labels, classes = label_table(own, target, split)
    info = {
        **facts_of(labels, classes, target, split, options.seed),
        "source": {"file": table.file.name, "sha256": sha256_file(table.file), **source},
        "asked": {name: getattr(options, name) for name in ASKED},
        "unmatched": table.joined.unmatched,
    }
    return labels, info


def _target(
    index: Index, table: Table, column: str, options: Options
) -> tuple[Target, dict[str, Any]]:
    """Labels of the tracks, and where they came from."""
    joined, which = table.joined, options.event
    if table.events:
        kind, rows = table.events
        target = event_target.of_rows(kind, table.file, rows, joined, index, which)
        return target, {"column": column}
    cells = joined.columns[column]
    kind = options.kind or infer_kind(column, cells, separator=options.separator)
    if kind not in EVENTS:
        return read_target(cells, kind=kind, separator=options.separator), {"column": column}
    target, sha256 = event_target.of_files(kind, table.file, column, joined, index, which)
    return target, {"column": column, "files_sha256": sha256}


def _split(index: Index, table: Table, column: str, target: Target, options: Options) -> Split:
    """The split of the labelled tracks; versions of one piece never part."""
    levels = table.levels
    if target.kind == "group" and column != table.version_column:
        levels = group_levels(index, table.joined, *filter(None, [column, table.version_column]))
    levels = {name: level.of(target.places) for name, level in levels.items()}
    strata = strata_of(target)
    if table.split_column:
        cells = table.joined.columns[table.split_column]
        return given_split(
            strata, levels["track"].groups, [cells[place] for place in target.places]
        )
    return choose_split(strata, levels, by=options.split_by, seed=options.seed)
