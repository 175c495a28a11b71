"""Selection: the tracks a plan may use, of one archive or of several, and where their bytes lie.

Only the narrow columns that a plan and its readers need. Small selections live in memory; large
ones are written once a node and mapped by all its processes, so that many ranks cost as one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from shards import mapped
from shards.eligible import nothing_left, verdicts
from shards.errors import InputError
from shards.files import json_bytes
from shards.filters import Condition, labels_of, parse
from shards.index import Index
from shards.place import Place
from shards.schema import SEEK
from shards.views.view import View

Rows = dict[str, Any]  # name → array [n, …]

READ = ("frames", "shard", "offset", "size", "seek")
"""Columns that are an index's own."""

COLUMNS = ("row", *READ, "how")
MAPPED_TRACKS = 1 << 20
"""From so many tracks on a selection is written to a file and mapped."""

BLOCK = 1 << 20


@dataclass(frozen=True)
class Origin:
    """An archive of a selection.

    Args:
        path: Where it lies.
        fingerprint: Of its index.
        first_row: What is added to its rows, so that they differ from the others'.
        begin: Place of its first track in the selection.
        end: Place behind its last.
    """

    path: Place
    fingerprint: str
    first_row: int
    begin: int
    end: int


@dataclass(frozen=True)
class Selection:
    """Tracks by place: 0 … N-1, archive by archive, in each by row.

    Args:
        columns: COLUMNS, each [N]: row over all archives, frames, shard over all archives,
            offset, size, seek (the track's first entry in its shard's seek table), how to read.
        origins: The archives.
        shards: Where each shard of all archives lies.
        seek_tables: Where each shard's seek table lies, None without one.
        shard_bytes: Size of each shard.
        sample_rate: Of all tracks, in Hz.
        num_rows: Tracks of all archives, the range of `row`.
        left_out: Reason → how many tracks it kept out.
        sha256: Over the rows: equal hashes, equal tracks at every place.
        layout_sha256: Over the shards of these tracks.
    """

    columns: Mapping[str, np.ndarray]
    origins: tuple[Origin, ...]
    shards: tuple[Place, ...]
    seek_tables: tuple[Place | None, ...]
    shard_bytes: tuple[int, ...]
    sample_rate: int
    num_rows: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    sha256: str = ""
    layout_sha256: str = ""

    @classmethod
    def of(cls, index: Index, rows: np.ndarray) -> Selection:
        """These rows of an archive, in this order."""
        columns = {name: index.column(name)[rows] for name in READ}
        columns |= {"row": rows, "how": index.how[rows]}
        origin = Origin(index.path, index.fingerprint, 0, 0, len(rows))
        return cls(columns, (origin,), **_files([index]))

    def __len__(self) -> int:
        return len(self.columns["row"])

    @cached_property
    def duration_s(self) -> float:
        """Of all tracks together."""
        return sum(int(block.sum(dtype=np.int64)) for block in _blocks(self.frames)) / (
            self.sample_rate
        )

    @property
    def frames(self) -> np.ndarray:
        """Samples of each track, [N]."""
        return self.columns["frames"]

    def row(self, place: np.ndarray) -> np.ndarray:
        """Rows int64 [n] of tracks [n]."""
        return np.asarray(self.columns["row"][place], np.int64)

    def located(self, place: np.ndarray) -> Rows:
        """Where the bytes of tracks [n] lie, and how to read them: all that a reader needs."""
        at = {name: self.columns[name][place] for name in COLUMNS if name != "row"}
        return {
            "shard": at["shard"].astype(np.int32),
            "offset": at["offset"].astype(np.int64),
            "size": at["size"].astype(np.int64),
            "track_frames": at["frames"].astype(np.int64),
            "seek": at["seek"].astype(np.int64),
            "how": at["how"].astype(np.int8),
        }


def select(
    indexes: Sequence[Index],
    view: View,
    *,
    where: Sequence[str] = (),
    duplicates: bool = False,
    map_from: int = MAPPED_TRACKS,
    folder: Path | None = None,
) -> Selection:
    """The tracks that a view can use and that meet all conditions.

    Tracks with the same samples as another of their archive are left out unless `duplicates`.
    Near duplicates (other masters, other codecs) and truncated tracks are kept: a condition on
    `near_duplicate_of` or `truncated` leaves them out.

    Args:
        indexes: Archives of one sample rate.
        view: Says how long a track must be.
        where: Conditions, see `filters`.
        duplicates: Keep exact copies.
        map_from: Tracks of all archives from which on the selection is a mapped file.
        folder: Where such files lie; a private one for temporary files if None.
    """
    conditions = [parse(text) for text in where]
    rates = sorted({index.sample_rate for index in indexes})
    if len(rates) != 1:
        raise InputError(f"Want archives of one sample rate, got {rates} Hz: pack them alike.")
    if sum(map(len, indexes)) < map_from:
        columns: dict[str, np.ndarray] = {}
        facts = _build(indexes, view, conditions, duplicates, columns.__setitem__)
    else:
        name = _name(indexes, view, conditions, duplicates)
        columns, facts = mapped.columns_of(
            folder or mapped.private_folder(),
            name,
            lambda write: _build(indexes, view, conditions, duplicates, write),
        )
    if not facts["ends"][-1]:
        raise InputError(nothing_left(indexes, view, facts["left_out"]))
    return Selection(
        columns,
        tuple(_origins(indexes, facts["ends"])),
        left_out=facts["left_out"],
        sha256=facts["sha256"],
        layout_sha256=facts["layout_sha256"],
        **_files(indexes),
    )


def _build(
    indexes: Sequence[Index],
    view: View,
    conditions: Sequence[Condition],
    duplicates: bool,
    write: mapped.Write,
) -> dict[str, Any]:
    """Write the columns one after another; what else there is to know of the selection."""
    parts: list[dict[str, np.ndarray]] = []
    ends: list[int] = []
    left_out = Counter[str]()
    for index in indexes:
        verdict, reasons = verdicts(index, view, conditions, duplicates=duplicates)
        counts = np.bincount(verdict, minlength=len(reasons))
        left_out.update({r: int(n) for r, n in zip(reasons, counts, strict=True) if r and n})
        kept = np.flatnonzero(verdict == 0)
        ends.append((ends[-1] if ends else 0) + len(kept))
        table = index.read(READ)
        part = {name: table.column(name).to_numpy()[kept] for name in READ}
        parts.append({"row": kept, **part, "how": index.how[kept]})
    sha256 = {}
    for name in COLUMNS:
        added = _added(indexes, name)
        values = [part.pop(name) + more for part, more in zip(parts, added, strict=True)]
        column = narrow(np.concatenate(values))
        write(name, column)
        if name in ("row", "shard"):
            sha256[name] = _sha256(column)
    return {
        "ends": ends,
        "left_out": dict(left_out),
        "sha256": sha256["row"],
        "layout_sha256": sha256["shard"],
    }


def _added(indexes: Sequence[Index], name: str) -> list[int]:
    """What makes rows and shards of several archives differ."""
    sizes = {"row": [len(i) for i in indexes], "shard": [len(i.shards) for i in indexes]}
    if name not in sizes:
        return [0] * len(indexes)
    return [0, *np.cumsum(sizes[name]).tolist()[:-1]]


def narrow(column: np.ndarray) -> np.ndarray:
    """The same integers in the fewest bytes that hold them."""
    return column.astype(np.min_scalar_type(int(column.max(initial=0))))


def _blocks(column: np.ndarray) -> Iterator[np.ndarray]:
    for at in range(0, len(column), BLOCK):
        yield column[at : at + BLOCK]


def _sha256(column: np.ndarray) -> str:
    digest = hashlib.sha256()
    for block in _blocks(column):
        digest.update(block.astype("<i8").tobytes())
    return digest.hexdigest()


def _name(
    indexes: Sequence[Index], view: View, conditions: Sequence[Condition], duplicates: bool
) -> str:
    """What a selection depends on, as a hash: equal names, equal columns."""
    facts = [
        [[index.footer_sha256, index.fingerprint, len(index.shards)] for index in indexes],
        [labels_of(conditions, index) for index in indexes],
        [condition.text for condition in conditions],
        view.min_frames(indexes[0].sample_rate),
        duplicates,
        COLUMNS,
    ]
    return hashlib.sha256(json_bytes(facts)).hexdigest()[:32]


def _origins(indexes: Sequence[Index], ends: list[int]) -> Iterator[Origin]:
    first_rows = _added(indexes, "row")
    for index, row, begin, end in zip(indexes, first_rows, [0, *ends[:-1]], ends, strict=True):
        yield Origin(index.path, index.fingerprint, row, begin, end)


def _files(indexes: Sequence[Index]) -> dict[str, Any]:
    """Where shards and seek tables of archives lie, and what they have in common."""
    shards = [(index, shard["name"]) for index in indexes for shard in index.manifest["shards"]]
    return {
        "shards": tuple(place for index in indexes for place in index.shards),
        "seek_tables": tuple(_seek_table(index, name) for index, name in shards),
        "shard_bytes": tuple(
            int(shard["bytes"]) for index in indexes for shard in index.manifest["shards"]
        ),
        "sample_rate": indexes[0].sample_rate,
        "num_rows": sum(map(len, indexes)),
    }


def _seek_table(index: Index, shard: str) -> Place | None:
    """Of a shard that was packed here as FLAC."""
    name = f"{SEEK}/{shard.rpartition('/')[2].removesuffix('.tar')}.npy"
    return index.path / name if name in index.manifest.get("files", {}) else None
