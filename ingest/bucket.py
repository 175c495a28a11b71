"""Every object below a folder of an object store, sorted out as `scan` sorts files."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ingest.scan import Rejected, Scan, Source, not_packed, shown_path, track_key
from ingest.sniff import (
    AUDIO_EXTENSIONS,
    HEAD_BYTES,
    MPEG_EXTENSIONS,
    READABLE,
    SEARCH_BYTES,
    find_mpeg_frame,
    sniff,
)
from shards.errors import InputError
from shards.files import shown
from shards.place import Place, Remote

REQUESTS = 16
"""At a time: a request waits some 20 ms for its first byte."""


@dataclass(frozen=True)
class Object:
    """What a listing says of an object."""

    raw: bytes
    size: int
    mtime_ns: int

    @property
    def extension(self) -> str:
        """Of its name, in small letters."""
        return posixpath.splitext(self.raw)[1].lower().decode("utf-8", "replace")


def scan_bucket(folder: Remote, *, without: Place, known: Mapping[bytes, Source]) -> Scan:
    """All audio below `folder`, sorted by key; `without` (the output) is passed over."""
    found = Scan()
    objects = list(_listing(folder, without, found))
    if not objects and not found.others:
        raise InputError(f"{shown(folder)} holds no objects. Want a folder of audio files.")
    with ThreadPoolExecutor(REQUESTS) as pool:
        kinds = pool.map(lambda each: _kind(folder, each, known), objects)
        for each, kind in zip(objects, kinds, strict=True):
            _sort_out(each, kind, found)
    found.sources.sort(key=lambda source: source.key)
    found.rejected.sort(key=lambda rejected: rejected.path)
    return found


def _listing(folder: Remote, without: Place, found: Scan) -> Iterator[Object]:
    """Objects that may be audio; what is hidden is only counted."""
    for info in folder.walk():
        name = folder.below(info)
        if f"{folder / name}/".startswith(f"{without}/"):
            continue
        if any(part.startswith(".") for part in name.split("/")):
            found.others += 1
        else:
            yield Object(name.encode(), info.size, info.mtime_ns)


def _kind(folder: Remote, each: Object, known: Mapping[bytes, Source]) -> str | OSError:
    """Kind of audio in an object, "" if none, or why it could not be read."""
    before = known.get(each.raw)
    if before and (before.size, before.mtime_ns) == (each.size, each.mtime_ns):
        return before.kind
    try:
        file = folder / each.raw.decode()
        head = file.read_range(0, min(each.size, HEAD_BYTES))
        kind = sniff(head, each.size)
        if not kind and each.extension in MPEG_EXTENSIONS:
            head = file.read_range(0, min(each.size, SEARCH_BYTES))
            kind = "mp3" if find_mpeg_frame(head, each.size) >= 0 else ""
    except OSError as error:
        return error
    return kind


def _sort_out(each: Object, kind: str | OSError, found: Scan) -> None:
    """Put one object where it belongs."""
    if isinstance(kind, OSError):
        key = track_key(each.raw)
        found.rejected.append(
            Rejected(shown_path(each.raw), "scan", "unreadable", shown(kind), key)
        )
    elif kind in READABLE:
        found.sources.append(Source(each.raw, each.size, each.mtime_ns, kind))
    elif each.extension in AUDIO_EXTENSIONS:
        found.rejected.append(not_packed(each.raw, each.size, kind))
    else:
        found.others += 1
