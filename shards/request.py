"""One range of one object: asked for, checked, asked for again.

`pyarrow` is told to ask once only: left alone it repeats a request that fails to S3 every 200 ms,
and one to Google's store for a quarter of an hour.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from shards.errors import StoreError
from shards.place import Remote
from shards.text import shown
from shards.traffic import Traffic

if TYPE_CHECKING:
    from pyarrow import NativeFile
    from pyarrow.fs import FileSystem

MAX_OPEN = 4096
"""An open object is a name and a size, but opening it is a request."""

CANARY_BYTES = 16

GCS_S = 10
"""How long pyarrow asks Google's store again by itself, which knows no other measure."""

_FINAL = re.compile(
    r"ACCESS_DENIED|NO_SUCH_(KEY|BUCKET)|RESOURCE_NOT_FOUND|HTTP status 40[134]|PermissionDenied"
)
"""In the words of errors that no patience helps against."""


@dataclass(frozen=True)
class Patience:
    """How often a store is asked, and how long the pauses are: each twice the one before.

    Args:
        attempts: Then it is an error.
        first_s: First pause.
        longest_s: No pause is longer.
    """

    attempts: int = 10
    first_s: float = 0.2
    longest_s: float = 20.0

    def pause(self, number: int) -> None:
        """Sleep half to all of a pause, so that processes that failed together part company."""
        share = 0.5 + secrets.randbelow(1000) / 2000  # never of the plan's draws: they are data
        time.sleep(share * min(self.first_s * 2**number, self.longest_s))


def fetch(
    place: Remote, size: int, begin: int, end: int, *, patience: Patience, traffic: Traffic
) -> memoryview:
    """Bytes `begin` to `end` of an object of `size` bytes; StoreError if they do not come."""
    started, last = time.monotonic(), ""
    for attempt in range(patience.attempts):
        if attempt:
            patience.pause(attempt - 1)
        try:
            file = _opened(place, size, traffic)
            traffic.requests += 1
            data = _ask(file, begin, end)
        except OSError as error:
            traffic.failed += 1
            last = str(error)
            if isinstance(error, FileNotFoundError) or _FINAL.search(last):
                raise _refused(place, last) from error
            continue
        traffic.transferred += end - begin
        return data
    raise StoreError(
        f"{shown(place)}, bytes {begin} to {end}: {patience.attempts} requests failed in "
        f"{time.monotonic() - started:.0f} s, the last with: {shown(last)}. Check the store and "
        "the network, then run the same command again."
    )


def _refused(place: Remote, error: str) -> StoreError:
    return StoreError(
        f"{shown(place)} is not given out ({shown(error)}). Check that the archive is still there "
        "and that the credentials may read it, then run the same command again."
    )


def _ask(file: NativeFile, begin: int, end: int) -> memoryview:
    """Bytes of an open object by one request; OSError if they do not all come.

    An answer that ends early without an error leaves the rest of the memory as it was, and pyarrow
    counts it as read: 16 random bytes at the end tell, for they are still there.
    """
    data = np.empty(end - begin, np.uint8)
    canary = np.frombuffer(secrets.token_bytes(min(CANARY_BYTES, len(data))), np.uint8)
    data[-len(canary) :] = canary
    count = file.get_stream(begin, end - begin).readinto(data)
    if count != len(data) or np.array_equal(data[-len(canary) :], canary):
        raise OSError(f"The answer is shorter than the {end - begin} bytes asked for.")
    return data.data


_OPEN: dict[tuple[int, Remote], Future[NativeFile]] = {}


def _opened(place: Remote, size: int, traffic: Traffic) -> NativeFile:
    """An object for reads anywhere in it; the request that opens it, made once, tells its size."""
    key, mine = (os.getpid(), place), Future[Any]()
    known = _OPEN.setdefault(key, mine)
    if known is mine:
        while len(_OPEN) > MAX_OPEN:
            _OPEN.pop(next(iter(_OPEN)), None)
        try:
            traffic.requests += 1
            mine.set_result(_open(place, size))
        except BaseException as error:
            _OPEN.pop(key, None)
            mine.set_exception(error)
    return known.result()


def _open(place: Remote, size: int) -> NativeFile:
    file = _system(place).open_input_file(place._path)
    if file.size() != size:
        raise StoreError(
            f"{shown(place)} has {file.size()} bytes, want {size}: it has changed since the "
            "archive was opened. Run the same command again."
        )
    return file


_SYSTEMS: dict[tuple[int, str], FileSystem] = {}


def _system(place: Remote) -> FileSystem:
    """The store of an object with little patience of its own; one a process."""
    from pyarrow import fs

    system = place._system
    make, arguments = system.__reduce__()  # as another process would make it
    key = (os.getpid(), str(arguments))
    if key not in _SYSTEMS:
        if isinstance(system, fs.S3FileSystem):
            once = {"retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=1)}
            system = make({**arguments[0], **once})
        elif system.type_name == "gcs" and arguments[0]["retry_time_limit"] is None:
            system = make({**arguments[0], "retry_time_limit": timedelta(seconds=GCS_S)})
        _SYSTEMS[key] = system
    return _SYSTEMS[key]
