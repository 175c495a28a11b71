"""Every object below a folder of an object store, sorted out as `scan` sorts files."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ingest.scan import Scan, Source, rejected, sort_out
from ingest.sniff import AUDIO_EXTENSIONS, kind_of
from shards.errors import InputError
from shards.files import shown
from shards.place import REQUESTS, Place, Remote, read_range


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
        return kind_of(
            lambda count: read_range(file, 0, min(each.size, count)), each.size, each.extension
        )
    except OSError as error:
        return error


def _sort_out(each: Object, kind: str | OSError, found: Scan) -> None:
    """Put one object where it belongs."""
    if isinstance(kind, OSError):
        found.rejected.append(rejected(each.raw, "unreadable", shown(kind)))
    else:
        source = Source(each.raw, each.size, each.mtime_ns, kind)
        sort_out(source, claims=each.extension in AUDIO_EXTENSIONS, found=found)
