"""Files of an archive in an object store: ranges of them, many at a time, by few requests.

What comes back is what was asked for, or an error. A store that fails is asked again after growing
pauses, an answer that is too short is no answer, and a file that has another size than the archive
says is not read.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any, TypeVar

from shards.blocks import Blocks, forget
from shards.cache import Cache
from shards.errors import StoreError
from shards.place import Place, Remote
from shards.request import Patience, fetch
from shards.text import shown
from shards.traffic import TRAFFIC, Traffic

Item = TypeVar("Item")

REQUESTS = 16
"""In flight at a time in a process: each waits some 20 ms or more for its first byte."""

GAP_BYTES = 128 << 10
"""Ranges nearer to each other than this are one request: one more costs about as much."""

MAX_REQUEST_BYTES = 8 << 20

PATIENCE = Patience()

MAX_AHEAD_BYTES = 64 << 20
"""Of a file: what was announced and never asked for must not pile up."""


class Stored(Remote):
    """A file in an object store of which an archive knows the size and the content.

    Args:
        place: Where it lies.
        size: In bytes.
        sha256: Hexadecimal; what the cache knows it by.
        cache: Of this node, None without one.
        patience: With the store.
    """

    def __init__(
        self,
        place: Remote,
        *,
        size: int,
        sha256: str,
        cache: Cache | None = None,
        patience: Patience | None = None,
    ) -> None:
        vars(self).update(vars(place))
        self.size, self.sha256, self.cache = size, sha256, cache
        self.patience = patience or PATIENCE

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Stored):
            return False
        same_file = (str(self), self.size, self.sha256) == (str(other), other.size, other.sha256)
        return same_file and self.cache == other.cache and bool(self._system == other._system)

    def __hash__(self) -> int:
        return hash((str(self), self.sha256))

    def read_bytes(self) -> bytes:
        """The whole file, as the archive knows it; from the cache if it is there."""
        for _ in range(2):
            data = bytes(RemoteFile(self).range(0, self.size))
            if hashlib.sha256(data).hexdigest() == self.sha256:
                return data
            self.forget(0, self.size)
        raise StoreError(
            f"{shown(self)} is not the file that its archive knows: it has changed or is damaged. "
            "Run the same command again, and if that does not help, `ingest repair`."
        )

    def forget(self, begin: int, end: int) -> None:
        """Drop from the cache what it has of a range."""
        if self.cache is not None:
            forget(self.cache, self.sha256, begin, end)

    def load(self, begin: int, end: int) -> memoryview:
        """Bytes `begin` to `end`, at most `MAX_REQUEST_BYTES`, from the cache or by one request."""
        traffic = Traffic()

        def ask(a: int, b: int) -> memoryview:
            return fetch(self, self.size, a, b, patience=self.patience, traffic=traffic)

        try:
            if begin >= end:
                return memoryview(b"")
            if self.cache is None:
                return ask(begin, end)
            return Blocks(self.cache, self.sha256, self.size, ask, traffic).read(begin, end)
        finally:
            TRAFFIC.add(traffic)


def stored(place: Place, facts: Mapping[str, Any], cache: Cache | None) -> Place:
    """A file of an archive with what its manifest knows of it; one of this machine as it is."""
    if not isinstance(place, Remote):
        return place
    return Stored(place, size=facts["bytes"], sha256=facts["sha256"], cache=cache)


class RemoteFile:
    """A stored file as a source of ranges: those announced are on their way at once.

    Args:
        file: What to read.
    """

    def __init__(self, file: Stored) -> None:
        self._file = file
        self._coming: OrderedDict[tuple[int, int], tuple[int, Future[memoryview]]] = OrderedDict()
        self._coming_bytes = 0
        self._lock = threading.Lock()

    def ahead(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Offsets and sizes that will be asked for next, near ones together by one request."""
        spans = sorted({(offset, self._size(offset, size)) for offset, size in ranges})
        with self._lock:
            for part in joined([span for span in spans if span not in self._coming]):
                begin, end = part[0][0], max(offset + size for offset, size in part)
                coming = _pool(os.getpid()).submit(self._file.load, begin, end)
                for span in part:
                    self._coming[span] = (begin, coming)
                    self._coming_bytes += span[1]
            while self._coming_bytes > MAX_AHEAD_BYTES:
                (_, size), _ = self._coming.popitem(last=False)
                self._coming_bytes -= size

    def range(self, offset: int, size: int) -> memoryview:
        """Bytes from an offset on, fewer past the end."""
        size = self._size(offset, size)
        with self._lock:
            begin, coming = self._coming.pop((offset, size), (0, None))
            if coming is not None:
                self._coming_bytes -= size
        TRAFFIC.add(Traffic(wanted=size))
        if coming is not None:
            return coming.result()[offset - begin : offset - begin + size]
        if size <= MAX_REQUEST_BYTES:
            return self._file.load(offset, offset + size)
        return self._in_parts(offset, offset + size)

    def into(self, offset: int, out: memoryview) -> int:
        """The same, written into the caller's memory; how many bytes there were."""
        data = self.range(offset, len(out))
        out[: len(data)] = data
        return len(data)

    def doubt(self, offset: int, size: int) -> None:
        """Let the store be asked for a range again: what came was not what it should be."""
        self._file.forget(offset, offset + size)

    def _in_parts(self, begin: int, end: int) -> memoryview:
        step = MAX_REQUEST_BYTES
        begins = range(begin, end, step)
        ends = [min(at + step, end) for at in begins]
        return memoryview(b"".join(_pool(os.getpid()).map(self._file.load, begins, ends)))

    def _size(self, offset: int, size: int) -> int:
        return max(0, min(size, self._file.size - offset))


def joined(spans: Sequence[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Offsets and sizes in ascending order, grouped by the request that is to bring them."""
    parts: list[list[tuple[int, int]]] = []
    begin = end = 0
    for offset, size in spans:
        if parts and offset <= end + GAP_BYTES and offset + size - begin <= MAX_REQUEST_BYTES:
            parts[-1].append((offset, size))
        else:
            parts.append([(offset, size)])
            begin = end = offset
        end = max(end, offset + size)
    return parts


def together(read: Callable[[Item], object], items: Collection[Item]) -> None:
    """Call `read` with every item, as many at a time as requests may be in flight."""
    if items:
        with ThreadPoolExecutor(min(REQUESTS, len(items))) as pool:
            list(pool.map(read, items))


def meanwhile(work: Callable[[], object]) -> None:
    """Do what nobody waits for, and whose errors will come again where they matter."""
    _pool(os.getpid()).submit(work)


@lru_cache(maxsize=1)
def _pool(pid: int) -> ThreadPoolExecutor:
    """Threads that wait for answers; a forked process needs its own."""
    return ThreadPoolExecutor(REQUESTS, thread_name_prefix=f"fetch-{pid}")
