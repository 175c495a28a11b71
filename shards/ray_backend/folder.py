"""Where a Ray that we start keeps its logs, sockets and store: a private folder that leaves."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from shards.errors import InputError

PREFIX = "wholetone-ray-"
MAX_SOCKET_PATH = 107  # sockaddr_un of Linux, less its final zero
LOCK = ".lock"
INNER = "r"
SOCKET_NAME = f"/{INNER}/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store"


class PrivateFolder:
    """A folder only its owner may open; removed when closed, or by a later run if that was killed.

    Ray opens its own to everybody (mode 0777), so that it gets one inside, `inner`.

    Args:
        parent: Where to make it; `RAY_TMPDIR` or the system's folder for temporary files if None.
    """

    def __init__(self, parent: str | None = None) -> None:
        given = parent or os.environ.get("RAY_TMPDIR")
        home = Path(given or tempfile.gettempdir()).resolve()
        longest = len(f"{home}/{PREFIX}12345678{SOCKET_NAME}")
        if longest > MAX_SOCKET_PATH:
            raise InputError(
                f"Ray's sockets below {home} would have paths of {longest} characters, "
                f"{MAX_SOCKET_PATH} are possible. Set RAY_TMPDIR to a shorter folder."
            )
        remove_abandoned(home)
        new = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=home))  # mode 0700
        self._lock = os.open(new / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = new.rename(home / new.name.removeprefix("."))  # locked before it is seen
        self.inner = self.path / INNER
        self.inner.mkdir()

    def close(self) -> None:
        """Remove it."""
        _remove(self.path)
        os.close(self._lock)


def remove_abandoned(home: Path) -> None:
    """Remove the folders of ours whose owners were killed: nobody holds their locks."""
    for folder in home.glob(f"{PREFIX}*"):
        try:
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:  # another user's, or one that is being made
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(folder)
        except OSError:  # in use
            continue
        finally:
            os.close(lock)


def _remove(folder: Path) -> None:
    """Remove all, or what is possible while a dying Ray still writes: then the lock stays."""
    shutil.rmtree(folder / INNER, ignore_errors=True)
    if not (folder / INNER).exists():
        shutil.rmtree(folder, ignore_errors=True)


def store_folder(store_bytes: int, private: Path, shared: Path = Path("/dev/shm")) -> Path:
    """Where the object store's file lies: in shared memory, or, if that is small, on the disk.

    Clips do not pass through the store on their own node, so that a slow one costs nothing.
    """
    if not shared.is_dir():
        return private
    stat = os.statvfs(shared)
    return shared if stat.f_bavail * stat.f_frsize > 2 * store_bytes else private
