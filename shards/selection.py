"""Selection: the tracks a plan may use, of one archive or of several, and where their bytes lie.

Only the narrow columns that a plan and its readers need. Small selections live in memory; large
ones are written once a node and mapped by all its processes, so that many ranks cost as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from shards.index import Index
from shards.names import SEEK
from shards.place import Place

Rows = dict[str, Any]  # name → array [n, …]

READ = ("frames", "shard", "offset", "size", "seek")
"""Columns that are an index's own."""

COLUMNS = ("row", *READ, "how")
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
        indexes: Of the archives.
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
    indexes: tuple[Index, ...] = ()

    @classmethod
    def of(cls, index: Index, rows: np.ndarray) -> Selection:
        """These rows of an archive, in this order."""
        columns = {name: index.column(name)[rows] for name in READ}
        columns |= {"row": rows, "how": index.how[rows]}
        origin = Origin(index.path, index.fingerprint, 0, 0, len(rows))
        return cls(columns, (origin,), indexes=(index,), **files_of([index]))

    def __len__(self) -> int:
        return len(self.columns["row"])

    @cached_property
    def duration_s(self) -> float:
        """Of all tracks together."""
        return sum(int(block.sum(dtype=np.int64)) for block in blocks(self.frames)) / (
            self.sample_rate
        )

    @property
    def frames(self) -> np.ndarray:
        """Samples of each track, [N]."""
        return self.columns["frames"]

    def key(self, row: int) -> str:
        """Key of a track, by its row over all archives."""
        both = zip(self.origins, self.indexes, strict=True)
        origin, index = [pair for pair in both if pair[0].first_row <= row][-1]
        return index[row - origin.first_row].key

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


def files_of(indexes: Sequence[Index]) -> dict[str, Any]:
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
    return index.file(name) if name in index.manifest.get("files", {}) else None


def blocks(column: np.ndarray) -> Iterator[np.ndarray]:
    """A column in parts, so that a mapped one is never in memory as a whole."""
    for at in range(0, len(column), BLOCK):
        yield column[at : at + BLOCK]
