"""One build in a folder at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from shards.errors import InputError
from shards.files import shown
from shards.place import Place, Remote

LOCK = ".lock"


class Locked(InputError):
    """Someone else is at work in the folder; the command ends with 75, "try again later"."""


@contextmanager
def locked(folder: Place) -> Iterator[None]:
    """Hold the folder's lock; the kernel lets go of it however we end.

    An object store has no locks. Two builds there write the same bytes, only both do all the work.
    """
    if isinstance(folder, Remote):
        yield
        return
    with open(folder / LOCK, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(f"Another ingest is at work in {shown(folder)}: wait for it.") from None
        yield
