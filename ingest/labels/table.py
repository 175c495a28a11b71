"""A CSV or Parquet file as columns of text, and which of its rows is which track."""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from shards.errors import InputError
from shards.files import read_parquet, shown
from shards.index import Index
from shards.place import Place

JOIN_NAMES = frozenset(
    [
        *("path", "file", "filename", "file_name", "filepath", "file_path", "audio", "audio_path"),
        *("wav", "source", "track", "track_id", "key", "id", "name"),
    ]
)
"""Columns that are tried first; any other is tried when none of these names a track."""


@dataclass(frozen=True)
class Joined:
    """Rows of a table by index row."""

    columns: dict[str, list[str]]  # name → a cell for each labelled track
    rows: list[int]  # index row of each labelled track, ascending
    by: str  # column that was joined
    unmatched: int  # table rows that name no track


def read_table(file: Place, *, separator: str) -> dict[str, list[str]]:
    """Columns of a CSV, TSV or Parquet file; an empty cell, null or NaN is ""."""
    if not file.is_file():
        raise InputError(f"{shown(file)} does not exist. Want a CSV or Parquet file.")
    if file.suffix.lower() in (".parquet", ".pq"):
        table = read_parquet(file)
        return {
            str(name): [_text(value, separator) for value in column.to_pylist()]
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
    if file.suffix.lower() in (".csv", ".tsv", ".txt"):
        return _read_csv(file, "\t" if file.suffix.lower() == ".tsv" else ",")
    raise InputError(f"{shown(file)} is neither .csv, .tsv nor .parquet.")


def _read_csv(file: Place, delimiter: str) -> dict[str, list[str]]:
    data = io.BytesIO(file.read_bytes())
    with io.TextIOWrapper(data, "utf-8-sig", "surrogateescape", newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter)
        try:
            header = next(reader, [])
            if len(set(header)) != len(header) or not header:
                raise InputError(f"{shown(file)}: want a first line of different column names.")
            columns: dict[str, list[str]] = {name.strip(): [] for name in header}
            for cells in filter(None, reader):
                if len(cells) > len(header):
                    raise InputError(
                        f"{shown(file)}, line {reader.line_num}: {len(cells)} cells for "
                        f"{len(header)} columns. Put quotes around cells that hold a comma."
                    )
                cells += [""] * (len(header) - len(cells))
                for column, cell in zip(columns.values(), cells, strict=True):
                    column.append(cell.strip())
        except csv.Error as error:
            raise InputError(f"{shown(file)}, line {reader.line_num}: {error}.") from error
    return columns


def _text(value: Any, separator: str) -> str:
    """A Parquet value as a cell."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list):
        return separator.join(_text(item, separator) for item in value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def join(columns: dict[str, list[str]], index: Index) -> Joined:
    """Match rows to tracks; a track in two rows that differ is an error."""
    by, rows = match(columns, index)
    place: dict[int, int] = {}
    for number, row in enumerate(rows):
        if row < 0:
            continue
        first = place.setdefault(row, number)
        for name, column in columns.items():
            if name != by and column[first] != column[number]:
                raise InputError(
                    f"Rows {first + 1} and {number + 1} name one track, "
                    f"{shown(columns[by][first])}, and differ in {shown(name)!r}. "
                    "Want one row a track, or for events --kind beats or segments."
                )
    tracks = sorted(place)
    cells = {name: [column[place[row]] for row in tracks] for name, column in columns.items()}
    return Joined(cells, tracks, by, unmatched=sum(row < 0 for row in rows))


def join_many(columns: dict[str, list[str]], index: Index) -> tuple[Joined, list[list[int]]]:
    """The columns that have one value a track, and the numbers of each track's rows."""
    by, rows = match(columns, index)
    numbers: dict[int, list[int]] = {}
    for number, row in enumerate(rows):
        if row >= 0:
            numbers.setdefault(row, []).append(number)
    tracks = sorted(numbers)
    cells = {
        name: [column[numbers[row][0]] for row in tracks]
        for name, column in columns.items()
        if name == by or all(len({column[n] for n in numbers[row]}) == 1 for row in tracks)
    }
    unmatched = sum(row < 0 for row in rows)
    return Joined(cells, tracks, by, unmatched), [numbers[row] for row in tracks]


def match(columns: dict[str, list[str]], index: Index) -> tuple[str, list[int]]:
    """The column that names most tracks by key, path, file name or its stem, and their rows.

    Index rows are one for each row of the table, -1 for one that names no track.
    """
    sources = index.column("source").tolist()
    lookups = (
        (_key, _unique(index.column("key").tolist(), _key)),
        (_path, _unique(sources, _path)),
        (_name, _unique(sources, _name)),
        (_stem, _unique(sources, _stem)),
    )
    likely = [name for name in columns if name.lower() in JOIN_NAMES]
    for names in (likely, [name for name in columns if name not in likely]):
        best: tuple[int, str, list[int]] = (0, "", [])
        for form, lookup in lookups:
            for name in names:
                rows = [lookup.get(form(cell), -1) if cell else -1 for cell in columns[name]]
                num_tracks = len(set(rows) - {-1})
                if num_tracks > best[0]:
                    best = (num_tracks, name, rows)
        if best[0]:
            return best[1], best[2]
    raise InputError(
        f"No column names tracks of {shown(index.path)}. Want one with paths such as "
        f"{sources[0]!r}, file names or keys; columns are {', '.join(map(shown, columns))}."
    )


def _unique(values: list[str], form: Callable[[str], str]) -> dict[str, int]:
    """Form of a value → its row, for forms that occur once."""
    found: dict[str, int] = {}
    for row, value in enumerate(values):
        key = form(value)
        found[key] = -1 if key in found else row
    return found


def _key(text: str) -> str:
    return text if re.fullmatch("[0-9a-f]{32}", text) else ""


def _path(text: str) -> str:
    """A path as the index shows it: slashes, no leading ./, one form of each accented letter."""
    plain = PurePosixPath(text.replace("\\", "/")).as_posix() if "\\x" not in text else text
    return unicodedata.normalize("NFC", shown(plain) if plain.isprintable() is False else plain)


def _name(text: str) -> str:
    return PurePosixPath(_path(text)).name


def _stem(text: str) -> str:
    return PurePosixPath(_path(text)).stem
