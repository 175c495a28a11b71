"""The manifest of an archive, its commit point, and whether the shards that it names are there."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from shards.cache import Cache
from shards.errors import InputError
from shards.files import shown, typed
from shards.names import MANIFEST
from shards.place import Place, Remote, listed, size_of
from shards.remote import stored
from shards.schema import FORMAT
from shards.sealed import read_sealed


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


def beside_shards(path: Place, manifest: dict[str, Any], name: str, cache: Cache | None) -> Place:
    """A file of an archive, with what the manifest knows of it."""
    facts = manifest.get("files", {}).get(name)
    return stored(path / name, facts, cache) if facts else path / name


def check_shards(path: Place, manifest: dict[str, Any]) -> None:
    """Refuse an archive of which a shard is missing or has another size; all are listed.

    One that `ingest index` made of tars that were there before names them wherever they lie.
    """
    if not manifest.get("foreign"):
        outside = [s["name"] for s in manifest["shards"] if not _is_below(s["name"])]
        if outside:
            raise InputError(
                f"{shown(path / MANIFEST)} names a shard outside: {shown(outside[0])}."
            )
    wrong = []
    sizes = _sizes(path, [shard["name"] for shard in manifest["shards"]])
    for shard, size in zip(manifest["shards"], sizes, strict=True):
        if size != shard["bytes"]:
            found = "is missing" if size is None else f"has {size} bytes"
            wrong.append(f"{shown(shard['name'])} {found}, want {shard['bytes']}")
    if wrong:
        raise InputError(f"{shown(path)} is damaged: {'; '.join(wrong)}. {to_repair(path)}")


STATS_A_TASK = 256


def _sizes(path: Place, names: list[str]) -> list[int | None]:
    """Bytes of each file, None for one that is missing; a store is asked for lists, not files."""
    if isinstance(path, Remote):
        there = listed(path)
        return [_size(there / name) for name in names]
    parts = [names[at : at + STATS_A_TASK] for at in range(0, len(names), STATS_A_TASK)]
    with ThreadPoolExecutor(16, "stat") as threads:  # for folders across a network
        sizes = threads.map(lambda part: [_size_below(str(path), name) for name in part], parts)
        return [size for part in sizes for size in part]


def _size(file: Place) -> int | None:
    try:
        return size_of(file)
    except OSError:
        return None


def _size_below(folder: str, name: str) -> int | None:
    """Without a Path: there may be a hundred thousand of them."""
    try:
        found = os.stat(os.path.join(folder, name))
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def to_repair(path: Place) -> str:
    """What to type when a file of an archive is damaged."""
    return f"Run `ingest repair {typed(path)} AUDIO_DIR`."


def _is_below(name: str) -> bool:
    return not name.startswith("/") and ".." not in name.split("/")
