"""Rows with times → the events of a track: beats, which are instants, and segments.

A table has a row an event, or a column that names a file a track. Such a file has a first line of
column names, or else one to three columns: start; start and value; start, end and value. Tabs,
commas, semicolons or spaces part them. Times are seconds. Segments without an end last until the
next begins. A column `kind` (or type, or event) says what a row is, where rows of a file differ.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ingest.labels.kinds import NoLabels, is_number
from shards.files import shown
from shards.place import Place, size_of

STARTS = (
    *("start_s", "start", "start_time", "onset_s", "onset", "beat_time_s", "beat_time"),
    *("time_s", "time", "times", "begin_s", "begin", "timestamp"),
)
ENDS = ("end_s", "end", "end_time", "offset_s", "offset", "stop")
VALUES = ("value", "label", "section", "chord", "segment", "beat_position", "beat_number", "beat")
WHICH = ("kind", "type", "event")
"""Column names, the first that a table has is meant."""

MAX_BYTES = 1 << 24
BEATS = ("beat", "beats", "downbeat", "downbeats")
PAST_END, EMPTY = "events past the end of their track", "segments without a length"


@dataclass(frozen=True)
class Row:
    """An event as it stands in a file, and where, such as "line 3"."""

    where: str
    start: str
    end: str
    value: str
    which: str


def named(wanted: Sequence[str], columns: Iterable[str]) -> str:
    """The first of the wanted names that is a column, as the table spells it, or ""."""
    spelled = {column.strip().lower(): column for column in columns}
    return next((spelled[name] for name in wanted if name in spelled), "")


def guess_kind(columns: Iterable[str]) -> str:
    """Kind of a table with many rows a track, "" where it could be mistaken."""
    names = list(columns)
    if named(ENDS, names) and named(VALUES, names):
        return "segments"
    beats = ("beat_time_s", "beat_time", "beat_position", "beat_number", "beat")
    return "beats" if named(beats, names) else ""


def long_rows(columns: dict[str, list[str]], numbers: list[int], value: str) -> list[Row]:
    """Events of one track in a table, whose rows have these numbers, counted from 0."""
    names = [named(wanted, columns) for wanted in (STARTS, ENDS)]
    names += [value or named(VALUES, columns), named(WHICH, columns)]
    return [
        Row(f"row {n + 1}", *(columns[name][n] if name else "" for name in names)) for n in numbers
    ]


def file_rows(file: Place) -> list[Row]:
    """Events of one track in a file of its own."""
    if size_of(file) > MAX_BYTES:
        raise NoLabels(f"{shown(file)} has more than {MAX_BYTES >> 20} MiB")
    lines = _lines(file)
    if not lines:
        return []
    if is_number(lines[0][1][0]):
        width = max(len(cells) for _, cells in lines)
        at = {1: [0, -1, -1, -1], 2: [0, -1, 1, -1]}.get(width, [0, 1, 2, -1])
    else:
        names = lines.pop(0)[1]
        found = [named(wanted, names) for wanted in (STARTS, ENDS, VALUES, WHICH)]
        at = [names.index(name) if name else -1 for name in found]
        if at[0] < 0:
            told = ", ".join(map(shown, names))
            raise NoLabels(f"{shown(file)}: no column of starts such as start_s or time in {told}")
    return [
        Row(f"line {line}", *(cells[i] if 0 <= i < len(cells) else "" for i in at))
        for line, cells in lines
    ]


def _lines(file: Place) -> list[tuple[int, list[str]]]:
    """Numbers and cells of the lines that are neither empty nor a comment."""
    lines = file.read_bytes().decode("utf-8-sig", "replace").splitlines()
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    delimiter = next((mark for mark in "\t,;" if mark in first), "")
    if not delimiter:
        found = [(number, line.split(None, 2)) for number, line in enumerate(lines, 1)]
    else:
        reader = csv.reader(lines, delimiter=delimiter)
        try:
            found = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
        except csv.Error as error:
            raise NoLabels(f"{shown(file)}, line {reader.line_num}: {error}") from None
    return [(n, cells) for n, cells in found if any(cells) and not cells[0].startswith("#")]


def events_of(
    kind: str, rows: list[Row], *, file: str, which: str, duration_s: float
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Events of one track by their start, and how many are left out for which reason.

    Args:
        kind: beats or segments.
        rows: As they stand in the file.
        file: That they stand in, for errors.
        which: Rows meant where a column says what they are.
        duration_s: Of the track.
    """
    events = [_event(kind, row, file) for row in _meant(kind, rows, file, which)]
    events.sort(key=lambda event: float(event["start_s"]))
    left_out: Counter[str] = Counter()
    if kind == "beats":
        for one, other in pairwise(events):
            if one["start_s"] == other["start_s"]:
                raise NoLabels(f"{shown(file)}: two beats at {one['start_s']} s")
    ends = [*(event["start_s"] for event in events[1:]), duration_s]
    kept = []
    for event, next_s in zip(events, ends, strict=False):  # of no events there is an end as well
        end_s = next_s if event["end_s"] is None else event["end_s"]
        end_s = event["start_s"] if kind == "beats" else min(end_s, duration_s)
        if event["start_s"] >= duration_s:
            left_out[PAST_END] += 1
        elif kind == "segments" and end_s <= event["start_s"]:
            left_out[EMPTY] += 1
        else:
            kept.append({**event, "end_s": end_s})
    return kept, left_out


def _meant(kind: str, rows: list[Row], file: str, which: str) -> list[Row]:
    """The rows asked for; of several sorts beats are found, segments must be named."""
    sorts = sorted({row.which for row in rows})
    wanted = (which,) if which else BEATS
    if which or (kind == "beats" and any(sort.lower() in BEATS for sort in sorts)):
        return [row for row in rows if row.which.lower() in {name.lower() for name in wanted}]
    if len(sorts) > 1:
        raise NoLabels(f"{shown(file)} holds {', '.join(map(shown, sorts))}: say which by --event")
    return rows


def _event(kind: str, row: Row, file: str) -> dict[str, Any]:
    """A row with its times as numbers; an end that is not given is None."""
    where = f"{shown(file)}, {row.where}"
    start_s = _seconds(row.start, where)
    if kind == "beats":
        return {"start_s": start_s, "end_s": start_s, "value": _place_in_bar(row.value, where)}
    end_s = _seconds(row.end, where) if row.end else None
    if end_s is not None and end_s < start_s:
        raise NoLabels(f"{where}: it ends at {end_s} s, before it starts at {start_s} s")
    if not row.value:
        raise NoLabels(f"{where}: a segment wants a value such as 'chorus' or 'A:min'")
    return {"start_s": start_s, "end_s": end_s, "value": row.value}


def _seconds(text: str, where: str) -> float:
    if not is_number(text) or float(text) < 0:
        raise NoLabels(f"{where}: want a time in seconds from 0 on, got {text[:40]!r}")
    return float(text)


def _place_in_bar(text: str, where: str) -> str:
    """A whole number from 1 on as text, "" where nobody counted."""
    if not text:
        return ""
    if not is_number(text) or float(text) < 1 or not float(text).is_integer():
        raise NoLabels(f"{where}: want the beat's place in its bar, 1, 2, …, got {text[:40]!r}")
    return str(int(float(text)))
