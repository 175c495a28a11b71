"""The bytes of a payload in its tar, wherever that lies: mapped, or asked of the store."""

from __future__ import annotations

import io
import mmap
import os
import threading
from collections import OrderedDict
from pathlib import Path

from shards.place import Place, Remote
from shards.source import SOURCES

MAX_OPEN_SHARDS = 256


class MappedShards:
    """Shards mapped into memory, the least recently used closed first; safe for threads."""

    def __init__(self, limit: int = MAX_OPEN_SHARDS) -> None:
        self.limit = limit
        self._maps: OrderedDict[Path, mmap.mmap] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path) -> mmap.mmap:
        """The shard's bytes; a mapping in use elsewhere stays alive until its user is done."""
        with self._lock:
            if path in self._maps:
                self._maps.move_to_end(path)
                return self._maps[path]
            fd = os.open(path, os.O_RDONLY)
            try:
                self._maps[path] = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
            finally:
                os.close(fd)
            while len(self._maps) > self.limit:
                self._maps.popitem(last=False)  # closed by its last reference
            return self._maps[path]


_SHARDS = MappedShards()


def payload_of(shard: Place, offset: int, size: int) -> memoryview:
    """Bytes of a shard, fewer past its end; in a store it is one request."""
    if isinstance(shard, Remote):
        return memoryview(SOURCES.get(shard).range(offset, size))
    return memoryview(_SHARDS.get(shard))[offset : offset + size]


class Member(io.RawIOBase):
    """A payload as a file: libsndfile seeks and reads in it without a copy."""

    def __init__(self, payload: memoryview) -> None:
        super().__init__()
        self._bytes = payload
        self._at = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Place in the member."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place inside the member."""
        base = (0, self._at, len(self._bytes))[whence]
        self._at = min(max(base + offset, 0), len(self._bytes))
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Copy what is left, at most the buffer's size."""
        part = self._bytes[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)

    def close(self) -> None:
        """Let go of the shard."""
        self._bytes.release()
        super().close()
