"""Targets as arrays: what the cells of a label table mean, for each kind of label.

    class     int64 [n]       number of the class
    tags      float32 [n, K]  1 where the track bears the tag
    number    float64 [n]     the number
    key       int64 [n]       number of the musical key in KEYS
    group     int64 [n]       number of the piece; tracks of one number are versions of it
    beats     object [n]      Events: instants, value = place in the bar from 1, 0 if unknown
    segments  object [n]      Events: intervals, value = number of the class

Numbers of classes, keys and pieces are positions in `Labels.names`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

TONICS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
KEYS = tuple(f"{tonic} {mode}" for mode in ("major", "minor") for tonic in TONICS)
"""The 24 classes of `key`: majors from C up to B, then minors; sharps are written as flats."""

EVENT_CELLS = pa.list_(
    pa.struct([("start_s", pa.float64()), ("end_s", pa.float64()), ("value", pa.string())])
)
"""A cell of a track with events: all of them, by their start."""

EVENTS = ("beats", "segments")
"""Kinds whose target is a list of events."""


@dataclass(frozen=True, eq=False)
class Events:
    """What happens in a track, by its start.

    Args:
        start_s: Seconds from the track's beginning, float64 [m], ascending.
        end_s: The same [m]; of beats, which are instants, equal to the start.
        value: int64 [m]: of beats the place in the bar from 1, 0 if unknown; of segments the class.
    """

    start_s: np.ndarray
    end_s: np.ndarray
    value: np.ndarray

    def __len__(self) -> int:
        return len(self.start_s)


def targets_of(kind: str, cells: list[Any], names: Sequence[str]) -> np.ndarray:
    """Targets of cells [n]; `names` are the classes, tags, keys or pieces that have numbers."""
    if kind == "number":
        return np.array(cells, np.float64)
    number_of = {name: number for number, name in enumerate(names)}
    if kind in EVENTS:
        return _objects([_events(cell, number_of, beats=kind == "beats") for cell in cells])
    if kind != "tags":
        return np.array([number_of[cell] for cell in cells], np.int64)
    tags = np.zeros((len(cells), len(names)), np.float32)
    for i, own in enumerate(cells):
        tags[i, [number_of[name] for name in own if name in number_of]] = 1
    return tags


def _events(cell: list[dict[str, Any]], number_of: dict[str, int], *, beats: bool) -> Events:
    """Events of a cell; segments of a class without a number are left out."""
    kept = cell if beats else [event for event in cell if event["value"] in number_of]
    times = np.array([(event["start_s"], event["end_s"]) for event in kept], np.float64)
    values = [
        int(event["value"] or 0) if beats else number_of[event["value"]]  # 0: nobody counted
        for event in kept
    ]
    start_s, end_s = times.reshape(-1, 2).T
    return Events(start_s, end_s, np.array(values, np.int64))


def _objects(values: list[Events]) -> np.ndarray:
    """An array that holds objects, and does not look into them."""
    array = np.empty(len(values), object)
    for i, value in enumerate(values):
        array[i] = value
    return array


def cells_of(kind: str, targets: np.ndarray, names: Sequence[str]) -> list[Any]:
    """Targets as people write them: names, lists of tags, numbers, lists of events."""
    if kind == "number":
        return list(targets.tolist())
    if kind in EVENTS:
        return [_cell(events, names, beats=kind == "beats") for events in targets]
    named = np.array(names, object)
    if kind == "tags":
        return [named[tags > 0].tolist() for tags in targets]
    return list(named[targets])


def _cell(events: Events, names: Sequence[str], *, beats: bool) -> list[dict[str, Any]]:
    columns = (events.start_s.tolist(), events.end_s.tolist(), events.value.tolist())
    return [
        {
            "start_s": start_s,
            "end_s": end_s,
            "value": (str(value) if value else "") if beats else names[value],
        }
        for start_s, end_s, value in zip(*columns, strict=True)
    ]


def spread_by(kind: str, targets: np.ndarray, num_names: int) -> np.ndarray:
    """Value [n] of each track such that tracks alike in their targets stand together when sorted.

    Tags and segments: how common the rarest of the track's is. Pieces: how many versions there are,
    the most first. Beats: the median time between two, in seconds.
    """
    if kind == "group":
        return np.asarray(-np.bincount(targets)[targets], np.float64)
    if kind == "beats":
        return np.array([np.median(np.diff(e.start_s)) if len(e) > 1 else np.inf for e in targets])
    if kind == "segments":
        borne = np.zeros((len(targets), num_names))
        for i, events in enumerate(targets):
            borne[i, events.value] = 1
        targets, kind = borne, "tags"
    if kind == "tags":
        commonness = np.where(targets > 0, targets.sum(axis=0), np.inf)
        return np.asarray(commonness.min(axis=1, initial=np.inf))
    return np.asarray(targets, np.float64)
