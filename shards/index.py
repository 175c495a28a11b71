"""Index: one row a track, facts of the audio only; opened through the manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shards.cache import Cache
from shards.columns import ColumnFile, numbers
from shards.errors import InputError
from shards.files import shown
from shards.how import FRAMES, OPENED, SAMPLES, SANDBOXED
from shards.manifest import beside_shards, check_shards, read_manifest, to_repair
from shards.names import MANIFEST
from shards.place import Place, place
from shards.remote import stored
from shards.schema import FORMAT, INDEX_SCHEMA, STRAIGHT


@dataclass(frozen=True)
class Track:
    """One recording: a row of the index."""

    row: int
    key: str
    shard: Place
    offset: int
    size: int
    codec: str
    sample_rate: int
    channels: int
    frames: int
    duration_s: float
    source: str
    title: str
    artist: str
    album: str
    genre: str
    licence: str


_OF_TRACK = tuple(name for name in Track.__annotations__ if name != "row")


class Index:
    """An archive's tracks, and where their bytes lie; a column is read when it is asked for."""

    def __init__(
        self, path: Place, manifest: dict[str, Any], file: ColumnFile, cache: Cache | None = None
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.cache = cache
        self._file = file
        self._columns: dict[str, np.ndarray] = {}

    @classmethod
    def open(cls, path: Place | str, *, cache: Cache | None = None) -> Index:
        """The index of an archive; every shard is there with its exact size, or `InputError`.

        Args:
            path: Folder or URI.
            cache: Of this node, where parts of an archive in an object store are kept.
        """
        path = place(path)
        manifest = read_manifest(path)
        check_shards(path, manifest)
        latest = manifest["generations"][-1]
        known = manifest.get("files", {}).get(latest["index"], {})
        place_of = beside_shards(path, manifest, latest["index"], cache)
        file = ColumnFile(place_of, size=known.get("bytes"), remedy=to_repair(path))
        if file.schema != INDEX_SCHEMA:
            raise InputError(
                f"{shown(path / latest['index'])} does not have the columns of format {FORMAT}. "
                "Pack the audio again with `ingest build-shards`."
            )
        if not _belongs(file, manifest):
            raise InputError(
                f"{shown(path / latest['index'])} does not belong to {MANIFEST}: the fingerprints "
                f"differ. {to_repair(path)}"
            )
        return cls(path, manifest, file, cache)

    def file(self, name: str) -> Place:
        """A file of the archive that lies beside the shards."""
        return beside_shards(self.path, self.manifest, name, self.cache)

    def __len__(self) -> int:
        return self._file.num_rows

    def __getitem__(self, row: int) -> Track:
        if not 0 <= row < len(self):
            raise IndexError(f"Row {row} of an index of {len(self)} tracks.")
        facts: dict[str, Any] = self._file.row(int(row), _OF_TRACK)
        return Track(row=int(row), **{**facts, "shard": self.shards[facts["shard"]]})

    def column(self, name: str) -> np.ndarray:
        """A column as a numpy array, read and converted once."""
        if name not in self._columns:
            column = self.arrow(name)
            is_plain = pa.types.is_primitive(column.type) and not column.null_count
            self._columns[name] = numbers(column) if is_plain else column.to_numpy()
        return self._columns[name]

    def arrow(self, name: str) -> pa.ChunkedArray:
        """A column as Arrow has it, read and not kept: right for the strings of large archives."""
        return self.read([name]).column(name)

    def read(self, names: Sequence[str]) -> pa.Table:
        """Some columns, read together and not kept."""
        if "table" in self.__dict__:
            return self.table.select(list(names))
        return self._file.read(list(names))

    def groups(self, names: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        """Some columns, a hundred thousand rows at a time, with the first row of each part."""
        return self._file.groups(list(names))

    @cached_property
    def how(self) -> np.ndarray:
        """How each track is read, int8 [N] (see `shards.how`)."""
        straight = {"flac": FRAMES, "wav": SAMPLES}
        if self.manifest.get("foreign"):  # tars that were there before have no seek tables
            straight = dict.fromkeys(straight, OPENED)
        found = np.empty(len(self), np.int8)
        for group, (first, behind) in enumerate(pairwise(self._file.first_rows)):
            codec = self._file.only_value(group, "codec")
            if isinstance(codec, str):  # as nearly always: 4 million strings need not be made
                found[first:behind] = straight.get(codec, SANDBOXED)
                continue
            codecs = self._file.read_group(group, ("codec",)).column("codec").to_pylist()
            found[first:behind] = [straight.get(codec, SANDBOXED) for codec in codecs]
        return found

    @cached_property
    def table(self) -> pa.Table:
        """All columns."""
        return self._file.read()

    @cached_property
    def shards(self) -> list[Place]:
        """Where each shard lies."""
        return [stored(self.path / s["name"], s, self.cache) for s in self.manifest["shards"]]

    @property
    def footer_sha256(self) -> str:
        """Of the file: another one if any column of any track is."""
        return self._file.footer_sha256

    @property
    def fingerprint(self) -> str:
        """What the stream's order depends on: equal fingerprints, equal samples at every row."""
        return str(self.manifest["fingerprint"])

    @property
    def sample_rate(self) -> int:
        """Of every track, in Hz."""
        return int(self.manifest["sample_rate"])

    @cached_property
    def sandboxed(self) -> np.ndarray:
        """Whether each track is decoded as a whole, in a sandbox, at each visit; bool [N]."""
        return sandboxed(self.table)

    @cached_property
    def row_of_key(self) -> dict[str, int]:
        """Key → row."""
        return {key: row for row, key in enumerate(self.column("key"))}


def sandboxed(table: pa.Table) -> np.ndarray:
    """Whether each track's codec is not one of those that are read where they lie; bool [N]."""
    straight = pc.is_in(table.column("codec"), value_set=pa.array(STRAIGHT))
    return ~numbers(straight)


def _belongs(file: ColumnFile, manifest: dict[str, Any]) -> bool:
    """Whether an index is the one that the manifest was made with.

    By its footer, which the manifest knows, which states the fingerprint, and of which `ingest
    verify` proves that it states it rightly. The first archives lack that: all tracks are read.
    """
    footer = manifest["generations"][-1].get("index_footer_sha256")
    if footer is None:
        stated = fingerprint(file.read(list(FINGERPRINTED)))
    else:
        stated = str((file.schema.metadata or {}).get(_CARRIED, b""), "ascii", "replace")
    return stated == manifest["fingerprint"] and footer in (None, file.footer_sha256)


def with_fingerprint(table: pa.Table) -> pa.Table:
    """An index that states its own fingerprint."""
    return table.replace_schema_metadata({_CARRIED: fingerprint(table)})


FINGERPRINTED = ("key", "sample_rate", "frames", "pcm_sha256")
_CARRIED = b"fingerprint"
_JOINED = 1 << 16


def fingerprint(table: pa.Table) -> str:
    """SHA-256 over the keys, rates, lengths and samples' hashes of all tracks in their order."""
    digest = hashlib.sha256()
    for name in FINGERPRINTED:
        column = table.column(name)
        if pa.types.is_string(column.type):
            _digest_lines(digest, name, column)
        else:
            values = column.to_numpy().astype("<i8").tobytes()
            digest.update(f"{name} {len(values)}\n".encode() + values)
    return digest.hexdigest()


def _digest_lines(digest: hashlib._Hash, name: str, column: pa.ChunkedArray) -> None:
    """Strings with line feeds between them, a part at a time: there may be millions."""
    size = (pc.sum(pc.binary_length(column)).as_py() or 0) + max(0, len(column) - 1)
    digest.update(f"{name} {size}\n".encode())
    for at in range(0, len(column), _JOINED):
        lines = "\n".join(column.slice(at, _JOINED).to_pylist())
        digest.update(("\n" * (at > 0) + lines).encode())
