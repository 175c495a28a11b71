"""Where archives lie: a folder, or a folder of an object store with the same few words."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shards.errors import InputError
from shards.store import REQUESTS, Fetch, Listed, Remote

__all__ = [
    "REQUESTS",
    "Fetch",
    "Place",
    "Remote",
    "at_once",
    "listed",
    "local",
    "opened",
    "place",
    "read_range",
    "size_of",
    "sizes_below",
]

Place = Path | Remote


def place(text: str | os.PathLike[str] | Remote) -> Place:
    """A folder by its path, or one of an object store by its URI.

    Options of the store follow a question mark, as `pyarrow.fs.FileSystem.from_uri` takes them:
    `s3://bucket/music?endpoint_override=localhost:9000&scheme=http`.
    """
    if isinstance(text, Remote):
        return text
    uri = os.fspath(text)
    if "://" not in uri:
        return Path(uri)
    from pyarrow import ArrowException
    from pyarrow.fs import FileSystem

    try:
        system, path = FileSystem.from_uri(uri)
    except (ArrowException, OSError, ValueError) as error:
        raise InputError(f"{uri}: {error}") from error
    scheme = uri.partition("://")[0]
    if scheme == "file":
        return Path(path)
    return Remote(system, path.rstrip("/"), scheme, uri.partition("?")[2])


def local(text: str, why: str) -> Path:
    """A path on this machine; a URI of an object store is an `InputError` that says why."""
    path = place(text)
    if isinstance(path, Remote):
        raise InputError(f"{path} lies in an object store: {why}.")
    return path


def listed(folder: Place) -> Place:
    """A folder whose names and sizes are known at once: of a store by one listing."""
    return Listed(folder) if isinstance(folder, Remote) else folder


def sizes_below(folder: Place) -> list[int]:
    """Bytes of every file or object below, at any depth."""
    if isinstance(folder, Remote):
        return [int(info.size) for info in folder.walk()]
    return [file.stat().st_size for file in folder.rglob("*") if file.is_file()]


def size_of(file: Place) -> int:
    """Bytes of a file or object; FileNotFoundError if there is none."""
    if isinstance(file, Path):
        return file.stat().st_size
    info = file.info()
    if not info.is_file:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(file))
    return int(info.size)


@contextmanager
def opened(file: Place) -> Iterator[Fetch]:
    """Reads anywhere in a file or object, from any thread; of an object each is a request."""
    if isinstance(file, Path):
        with open(file, "rb", buffering=0) as stream:
            yield lambda offset, size: os.pread(stream.fileno(), size, offset)
        return
    with file.ranges() as fetch:
        yield fetch


def at_once(file: Place, fetch: Fetch, begin: int, size: int) -> Fetch:
    """Reads in a part of an opened file; of an object that part is read now, by one request."""
    if isinstance(file, Path):
        return fetch
    data = fetch(begin, size)
    return lambda offset, count: data[max(0, offset - begin) : max(0, offset - begin + count)]


def read_range(file: Place, offset: int, size: int) -> bytes:
    """Part of a file or object, fewer bytes past its end."""
    with opened(file) as fetch:
        return fetch(offset, size)
