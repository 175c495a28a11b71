"""Claims: which process works at which part; the kernel lets go of what a dead process held."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from pathlib import Path

from shards.text import shown

_WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP)

log = logging.getLogger(__name__)


class Claims:
    """Numbers that belong to one process at a time, by locks on the bytes of one file.

    On a file system without locks every claim is granted: parts may then be computed twice, and
    come out the same.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def take(self, number: int) -> bool:
        """Claim a number unless another process has it; whether it is ours."""
        return self._lock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def wait(self, number: int) -> None:
        """Claim a number, and wait for the process that has it."""
        self._lock(number, fcntl.LOCK_EX)

    def release(self, number: int) -> None:
        """Let others have it."""
        self._lock(number, fcntl.LOCK_UN)

    def _lock(self, number: int, how: int) -> bool:
        try:
            fcntl.lockf(self._file, how, 1, number)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            if error.errno not in _WITHOUT_LOCKS:
                raise
            log.warning("%s cannot be locked: work may be done twice", shown(self._path))
        return True

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)
