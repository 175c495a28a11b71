"""Where a shard's bytes come from: a file of this machine, or an object in a store.

Imports neither pyarrow nor the index: workers start with this and little else.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from shards.place import Place, Remote

MAX_OPEN_SHARDS = 256


class Source(Protocol):
    """The bytes of one shard. Errors are `OSError`; whoever asks decides about asking again."""

    def range(self, offset: int, size: int) -> bytes | memoryview:
        """Bytes from an offset on, fewer past the end."""
        ...

    def into(self, offset: int, out: memoryview) -> int:
        """The same, written into the caller's memory; how many bytes there were."""
        ...

    def ahead(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Offsets and sizes that will be asked for next: a hint, which may be ignored."""
        ...


class LocalFile:
    """A shard on a disk, read by position.

    Not mapped: a disk that fails would then end the process, where a read raises an error.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if hasattr(os, "posix_fadvise"):  # windows lie anywhere: reading on would be in vain
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_RANDOM)

    def range(self, offset: int, size: int) -> bytes:
        """Bytes from an offset on, fewer past the end."""
        return os.pread(self._fd, size, offset)

    def into(self, offset: int, out: memoryview) -> int:
        """The same, written into the caller's memory; how many bytes there were."""
        return os.preadv(self._fd, [out], offset)

    def ahead(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Let the disk work on all of them at once."""
        if hasattr(os, "posix_fadvise"):
            for offset, size in ranges:
                os.posix_fadvise(self._fd, offset, size, os.POSIX_FADV_WILLNEED)

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)


class RemoteObject:
    """A shard in an object store: every range is a request."""

    def __init__(self, shard: Remote) -> None:
        self._file = shard.open()

    def range(self, offset: int, size: int) -> bytes:
        """Bytes from an offset on, fewer past the end."""
        return bytes(self._file.read_at(size, offset))

    def into(self, offset: int, out: memoryview) -> int:
        """The same, written into the caller's memory; how many bytes there were."""
        data = self.range(offset, len(out))
        out[: len(data)] = data
        return len(data)

    def ahead(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Nothing."""


class Sources:
    """Open shards, the least recently used closed first; safe for threads."""

    def __init__(self, limit: int = MAX_OPEN_SHARDS) -> None:
        self.limit = limit
        self._open: OrderedDict[Place, Source] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, shard: Place) -> Source:
        """The shard, opened if need be; one in use elsewhere lives until its user is done."""
        with self._lock:
            source = self._open.pop(shard, None) or _open(shard)
            self._open[shard] = source
            while len(self._open) > self.limit:
                self._open.popitem(last=False)
            return source


def _open(shard: Place) -> Source:
    return RemoteObject(shard) if isinstance(shard, Remote) else LocalFile(shard)


SOURCES = Sources()
"""Of this process."""
