"""Where sources are opened: a folder, or a folder of an object store."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from ingest.scan import Source
from shards.place import Place, Remote

_READ_ONLY = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


class Inputs(Protocol):
    """Opens sources, and knows whether one is still what was planned."""

    def open(self, source: Source) -> int:
        """A file descriptor with the source's bytes; OSError if it cannot be read."""

    def is_still(self, source: Source, fd: int) -> bool:
        """Whether the source that was opened has the planned size and time, now."""


def inputs_of(place: Place) -> Folder | Bucket:
    """What opens the sources below a place."""
    return Bucket(place) if isinstance(place, Remote) else Folder(place)


class Folder:
    """Sources below a folder; a link that took a file's place is not followed."""

    def __init__(self, folder: Path) -> None:
        self._root = os.fsencode(folder)

    def open(self, source: Source) -> int:
        """The file itself."""
        return os.open(self._path(source), _READ_ONLY)

    def is_still(self, source: Source, fd: int) -> bool:
        """By what the open file says."""
        status = os.fstat(fd)
        found = (status.st_size, status.st_mtime_ns)
        return stat.S_ISREG(status.st_mode) and found == (source.size, source.mtime_ns)

    def mtime_ns(self, source: Source) -> int:
        """Its time as it is now; OSError if there is none."""
        return os.lstat(self._path(source)).st_mtime_ns

    def _path(self, source: Source) -> bytes:
        return os.path.join(self._root, source.raw)


class Bucket:
    """Objects below a folder of an object store; each is copied to a file without a name."""

    def __init__(self, folder: Remote) -> None:
        self._folder = folder

    def open(self, source: Source) -> int:
        """A local copy."""
        with tempfile.TemporaryFile() as file:
            self._object(source).fetch(cast("BinaryIO", file))
            file.flush()
            return os.dup(file.fileno())

    def is_still(self, source: Source, fd: int) -> bool:
        """By what the store says, and by the length of the copy."""
        info = self._object(source).info()
        same = (info.size, info.mtime_ns) == (source.size, source.mtime_ns)
        return same and os.fstat(fd).st_size == source.size

    def mtime_ns(self, source: Source) -> int:
        """Its time as it is now; OSError if there is none."""
        info = self._object(source).info()
        if not info.is_file:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), info.path)
        return int(info.mtime_ns)

    def _object(self, source: Source) -> Remote:
        return self._folder / source.raw.decode()
