"""Index: one row a track, facts of the audio only; opened through the manifest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shards.cache import Cache
from shards.errors import InputError
from shards.files import read_parquet, shown, typed
from shards.place import Place, listed, place, size_of
from shards.remote import stored
from shards.schema import FORMAT, INDEX_SCHEMA, MANIFEST, STRAIGHT
from shards.sealed import read_sealed


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


class Index:
    """An archive's tracks, and where their bytes lie."""

    def __init__(
        self, path: Place, manifest: dict[str, Any], table: pa.Table, cache: Cache | None = None
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.table = table
        self.cache = cache
        self.shards = [stored(path / s["name"], s, cache) for s in manifest["shards"]]
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
        file = beside_shards(path, manifest, manifest["generations"][-1]["index"], cache)
        try:
            table = read_parquet(file)
        except InputError as error:
            raise InputError(f"{error} {to_repair(path)}") from error
        if table.schema != INDEX_SCHEMA:
            raise InputError(
                f"{shown(file)} does not have the columns of format {FORMAT}. "
                "Pack the audio again with `ingest build-shards`."
            )
        index = cls(path, manifest, table, cache)
        if index.manifest["fingerprint"] != fingerprint(table):
            raise InputError(
                f"{shown(file)} does not belong to {MANIFEST}: the fingerprints differ. "
                + to_repair(path)
            )
        return index

    def file(self, name: str) -> Place:
        """A file of the archive that lies beside the shards."""
        return beside_shards(self.path, self.manifest, name, self.cache)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, row: int) -> Track:
        if not 0 <= row < len(self):
            raise IndexError(f"Row {row} of an index of {len(self)} tracks.")
        wanted = {
            f: self.column(f)[row] for f in Track.__annotations__ if f not in ("shard", "row")
        }
        plain = {name: x.item() if isinstance(x, np.generic) else x for name, x in wanted.items()}
        return Track(row=row, shard=self.shards[self.column("shard")[row]], **plain)

    def column(self, name: str) -> np.ndarray:
        """A column as a numpy array, converted once."""
        if name not in self._columns:
            self._columns[name] = self.table.column(name).to_numpy()
        return self._columns[name]

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


def beside_shards(path: Place, manifest: dict[str, Any], name: str, cache: Cache | None) -> Place:
    """A file of an archive, with what the manifest knows of it."""
    facts = manifest["files"].get(name)
    return stored(path / name, facts, cache) if facts else path / name


def sandboxed(table: pa.Table) -> np.ndarray:
    """Whether each track's codec is not one of those that are read where they lie; bool [N]."""
    straight = pc.is_in(table.column("codec"), value_set=pa.array(STRAIGHT))
    return np.asarray(~straight.to_numpy())


def read_manifest(path: Place) -> dict[str, Any]:
    """The commit point of an archive; a folder without one is unfinished or no archive at all."""
    if not path.is_dir():
        raise InputError(f"{shown(path)} is not a folder. Want one made by `ingest build-shards`.")
    if not (path / MANIFEST).exists():
        raise InputError(
            f"{shown(path)} has no {MANIFEST}: no archive, or one whose packing has not ended. "
            f"Run `ingest build-shards AUDIO_DIR --out {typed(path)}` (again)."
        )
    manifest = read_sealed(path / MANIFEST, remedy=to_repair(path))
    if not isinstance(manifest.get("format"), int):
        raise InputError(f"{shown(path / MANIFEST)} is not a manifest of wholetone.")
    if manifest["format"] > FORMAT:
        raise InputError(
            f"{shown(path)} has format {manifest['format']}, this version reads {FORMAT}: update."
        )
    return manifest


def check_shards(path: Place, manifest: dict[str, Any]) -> None:
    """Refuse an archive of which a shard is missing or has another size; all are listed.

    One that `ingest index` made of tars that were there before names them wherever they lie.
    """
    wrong, there = [], listed(path)
    for shard in manifest["shards"]:
        name = shard["name"]
        if not manifest.get("foreign") and not _is_below(name):
            raise InputError(f"{shown(path / MANIFEST)} names a shard outside: {shown(name)}.")
        file = there / name
        size = size_of(file) if file.is_file() else None
        if size != shard["bytes"]:
            found = "is missing" if size is None else f"has {size} bytes"
            wrong.append(f"{shown(name)} {found}, want {shard['bytes']}")
    if wrong:
        raise InputError(f"{shown(path)} is damaged: {'; '.join(wrong)}. {to_repair(path)}")


def to_repair(path: Place) -> str:
    """What to type when a file of an archive is damaged."""
    return f"Run `ingest repair {typed(path)} AUDIO_DIR`."


def _is_below(name: str) -> bool:
    return not Path(name).is_absolute() and ".." not in Path(name).parts


def fingerprint(table: pa.Table) -> str:
    """SHA-256 over the keys, rates, lengths and samples' hashes of all tracks in their order."""
    digest = hashlib.sha256()
    for name in ("key", "sample_rate", "frames", "pcm_sha256"):
        column = table.column(name)
        if pa.types.is_string(column.type):
            values = "\n".join(column.to_pylist()).encode()
        else:
            values = column.to_numpy().astype("<i8").tobytes()
        digest.update(f"{name} {len(values)}\n".encode() + values)
    return digest.hexdigest()
