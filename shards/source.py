"""Where a shard's bytes come from: a file of this machine, or an object in a store.

Imports neither pyarrow nor the index: workers start with this and little else.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from shards.place import Place

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

    def doubt(self, offset: int, size: int) -> None:
        """What came was not what it should be: no copy of it is to be given out again."""
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

    def doubt(self, offset: int, size: int) -> None:
        """Nothing: there is no copy."""

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        if hasattr(self, "_fd"):
            close(self._fd)  # bound above: when Python ends, `os` may be gone before the last file


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
    if isinstance(shard, Path):
        return LocalFile(shard)
    from shards.remote import RemoteFile, Stored  # hashlib, threads, the cache: not for local ones

    assert isinstance(shard, Stored), f"{shard} is no file that an archive knows"
    return RemoteFile(shard)


SOURCES = Sources()
"""Of this process."""
