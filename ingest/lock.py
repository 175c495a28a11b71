"""One build in a folder at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shards.errors import InputError
from shards.files import shown

LOCK = ".lock"


class Locked(InputError):
    """Someone else is at work in the folder; the command ends with 75, "try again later"."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the kernel lets go of it however we end."""
    with open(folder / LOCK, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(f"Another ingest is at work in {shown(folder)}: wait for it.") from None
        yield
