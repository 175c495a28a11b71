"""A folder on a disk of this node with copies of remote bytes, shared by all processes and runs.

An entry is a file that is whole or absent: it is written under another name, renamed, and ends with
a checksum of its bytes and its name, so nothing that a crash or a failing disk leaves behind is
ever read. Who fills an entry holds a lock on the file it writes: others wait instead of asking the
store for the same bytes, and the kernel frees the lock of a process that was killed. Names begin
with the SHA-256 of the file that the bytes are of: what has changed finds no entry, and generations
of an archive share the shards they have in common.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
import zlib
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shards.errors import InputError
from shards.text import shown

EVICT_TO = 0.9
"""Share of the limit that stays when room is made: one look at all entries pays for many fills."""

TOUCH_S = 60
"""Only an entry unused for so long is marked as used, or every read would write to the disk."""

WINDOWED_BYTES = 4 << 20
"""Fetched at once where the order is windowed: about a track."""

_TRAILER = struct.Struct("<4sIQ")
TRAILER_BYTES = _TRAILER.size


@dataclass(frozen=True)
class Cache:
    """Entries by name, of a limited size together; those unused for longest make room for new ones.

    Args:
        folder: Where they lie, made if need be; any number of processes may use it at once.
        limit_bytes: Of all entries together.
        unit_bytes: What lacks is fetched in aligned pieces of this size: large where the order
            comes back to the neighbourhood soon, 0 for no more than is wanted.
    """

    folder: Path
    limit_bytes: int
    unit_bytes: int = 0

    def __post_init__(self) -> None:
        try:
            for name in ("entries", "filling"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.folder / "used", os.O_RDWR | os.O_CREAT, 0o644))
        except OSError as error:
            raise InputError(
                f"The cache {shown(self.folder)} cannot be written ({error.strerror}). "
                "Want a folder on a disk of this node."
            ) from error

    def read(self, name: str) -> memoryview | None:
        """The bytes of an entry, None without one; a damaged one is removed."""
        path = self._path(name)
        try:
            with open(path, "rb") as file:
                data = memoryview(file.read())
                unused_s = time.time() - os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return None
        body, trailer = data[:-TRAILER_BYTES], data[-TRAILER_BYTES:]
        if trailer != _trailer(name, body):
            path.unlink(missing_ok=True)
            return None
        if unused_s > TOUCH_S:
            with suppress(FileNotFoundError):  # another process has just made room
                os.utime(path)
        return body

    def claim(self, name: str) -> Claim | None:
        """The right to fill an entry; None while another holds it, or has just filled the entry."""
        path = self.folder / "filling" / name.replace("/", "-")
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if _lock(fd, path):
            claim = Claim(self, name, path, fd)
            if not self._path(name).exists():
                return claim
            claim.give_up()
        else:
            os.close(fd)
        return None

    def remove(self, name: str) -> None:
        """Forget an entry."""
        self._path(name).unlink(missing_ok=True)

    def make_room(self, size: int) -> None:
        """Count an entry of `size` bytes, and remove others if all together are too many."""
        with self._counting() as counter:
            known = os.pread(counter, 8, 0)
            used = int.from_bytes(known, "little") + size
            if used > self.limit_bytes or not known:
                used = size + self._evict(int(EVICT_TO * self.limit_bytes) - size)
            os.pwrite(counter, used.to_bytes(8, "little"), 0)

    def _evict(self, keep_bytes: int) -> int:
        """Remove what was unused for longest until so many bytes are left; those that are."""
        self._sweep()
        sizes, used_s = array("Q"), array("d")
        for _, stat in self._entries():
            sizes.append(stat.st_size)
            used_s.append(stat.st_mtime)
        newest_first = np.argsort(used_s)[::-1]
        total = np.cumsum(np.asarray(sizes)[newest_first])
        num_kept = int(np.searchsorted(total, keep_bytes, side="right"))
        if num_kept == len(total):
            return int(total[-1]) if num_kept else 0
        newest_removed_s = used_s[newest_first[num_kept]]
        left = 0
        for entry, stat in self._entries():
            if stat.st_mtime <= newest_removed_s:
                self.remove(entry)
            else:
                left += stat.st_size
        return left

    def _sweep(self) -> None:
        """Remove what fillers left behind that were killed."""
        for path in (self.folder / "filling").iterdir():
            with suppress(FileNotFoundError):
                fd = os.open(path, os.O_RDWR)
                if _lock(fd, path):
                    path.unlink()
                os.close(fd)

    def _entries(self) -> Iterator[tuple[str, os.stat_result]]:
        for folder in os.scandir(self.folder / "entries"):
            for entry in os.scandir(folder):
                with suppress(FileNotFoundError):
                    yield f"{folder.name}/{entry.name}", entry.stat()

    def _path(self, name: str) -> Path:
        return self.folder / "entries" / name

    @contextmanager
    def _counting(self) -> Iterator[int]:
        """The file that counts the bytes of all entries, ours alone."""
        fd = os.open(self.folder / "used", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield fd
        finally:
            os.close(fd)


def node_cache(folder: str, gib: float, *, windowed: bool = False) -> Cache | None:
    """The cache of a command's flags, None without a folder.

    Args:
        folder: On a disk of this node, "" for no cache.
        gib: Its size.
        windowed: The order stays with few shards for a while, so what lies around is fetched too.
    """
    if not folder:
        return None
    if gib <= 0:
        raise InputError(f"Want a cache (--cache-gib) larger than nothing, got {gib:g} GiB.")
    return Cache(Path(folder).resolve(), int(gib * 2**30), WINDOWED_BYTES if windowed else 0)


class Claim:
    """The right to fill an entry, until it is filled or given up."""

    def __init__(self, cache: Cache, name: str, path: Path, fd: int) -> None:
        self._cache, self._name, self._path, self._fd = cache, name, path, fd

    def fill(self, data: bytes | memoryview) -> None:
        """Publish the entry, unless it is larger than the cache."""
        size = len(data) + TRAILER_BYTES
        if size > EVICT_TO * self._cache.limit_bytes:
            return
        self._cache.make_room(size)
        os.ftruncate(self._fd, 0)  # a killed filler may have left some
        for part in (memoryview(data), memoryview(_trailer(self._name, data))):
            at = 0
            while at < len(part):
                at += os.write(self._fd, part[at:])
        entry = self._cache._path(self._name)
        entry.parent.mkdir(exist_ok=True)
        os.replace(self._path, entry)

    def give_up(self) -> None:
        """Let others fill the entry if it still is not there."""
        if _is_named(self._fd, self._path):
            self._path.unlink()
        os.close(self._fd)


def _lock(fd: int, path: Path) -> bool:
    """Whether an open file is now locked by us, and still is the one of that name."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return _is_named(fd, path)


def _is_named(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _trailer(name: str, body: bytes | memoryview) -> bytes:
    return _TRAILER.pack(b"wtc1", zlib.crc32(body, zlib.crc32(name.encode())), len(body))
