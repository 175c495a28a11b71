"""What happens to a build at its k-th file operation: it dies, gets an error, waits, is recorded.

Audit hooks see every open, rename, unlink, mkdir and chmod before it happens; fsync and the writes
of files opened by name are wrapped. Only what lies in the watched folders counts, so that the k-th
event is the same one in every run with one worker. Linux or not, no privilege is needed.
"""

import builtins
import errno
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

OPERATIONS = {
    "open": "open",
    "os.rename": "rename",
    "os.remove": "unlink",
    "os.mkdir": "mkdir",
    "os.chmod": "chmod",
    "os.truncate": "truncate",
}
NOT_POSSIBLE = 77
"""Exit code of a trial that this machine does not permit."""

NAMELESS = ("write", "fsync", "chmod")
"""Operations on open files: their errors bear no file name."""

ERRORS = ("ENOSPC", "EIO", "EACCES")


@dataclass(frozen=True)
class Fault:
    """At event number `at` (from 1; 0 for none): kill, kill-all, hold, or an error's name."""

    at: int = 0
    act: str = ""
    no_unnamed_files: bool = False
    """Refuse O_TMPFILE, as network file systems do."""

    edit_at: str = ""
    """Change sources before the first event whose operation and path begin so."""

    edits: tuple[tuple[str, str], ...] = ()
    """(unlink | append | rewrite, path); no path: what was opened last in the first folder."""


class Wire:
    """Counts the events of this process below some folders and strikes at one of them."""

    def __init__(self, fault: Fault, *, folders: list[Path], journal: Path) -> None:
        self._fault = fault
        self._folders = tuple(os.fsencode(folder) for folder in folders)
        self._journal = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._go = journal.parent / "go"
        self._pid = os.getpid()
        self._builtin_open = builtins.open
        self._count = 0
        self._lock = threading.Lock()
        self._source = ""
        self._own = threading.local()  # events that watching itself makes are none
        self.witness: Callable[[str, int | None], None] | None = None

    def install(self) -> None:
        """From now on every event of this process is counted; there is no way back."""
        fsync = os.fsync

        def counted_fsync(fd: int) -> None:
            self.event("fsync", named(fd), fd=fd)
            fsync(fd)

        os.fsync = counted_fsync
        builtins.open = self._open
        sys.addaudithook(self._audit)

    def _audit(self, name: str, args: tuple) -> None:
        if name not in OPERATIONS or os.getpid() != self._pid:
            return
        if name == "os.chmod" and isinstance(args[0], int):
            self.event("chmod", named(args[0]))
        elif isinstance(args[0], str | bytes | os.PathLike):
            path = os.path.abspath(os.fsencode(args[0]))
            if path.startswith(self._folders):
                # Decoders' logs are unnamed too, elsewhere and before there is anything to decode.
                unnamed = name == "open" and is_unnamed(args[2]) and path.endswith(b"/data")
                self.event("open unnamed" if unnamed else OPERATIONS[name], os.fsdecode(path))

    def _open(self, file, mode="r", *args, **kwargs):
        """As the builtin, but writes of new files below the watched folders are counted."""
        watched = isinstance(file, os.PathLike) and os.fsencode(file).startswith(self._folders)
        if watched and mode == "w+b":
            return io.BufferedRandom(CountedFile(self, file))
        return self._builtin_open(file, mode, *args, **kwargs)

    def event(self, operation: str, path: str, fd: int | None = None) -> None:
        """One more event, before it happens."""
        if getattr(self._own, "busy", False):
            return
        with self._lock:
            self._own.busy = True
            try:
                self._strike(operation, path, fd)
            finally:
                self._own.busy = False

    def _strike(self, operation: str, path: str, fd: int | None) -> None:
        self._count += 1
        os.write(self._journal, f"{operation} {path!r}\n".encode())
        if self.witness:
            self.witness(operation, fd)
        if self._fault.edit_at and f"{operation} {path}".startswith(self._fault.edit_at):
            for how, target in self._fault.edits:
                edit(how, target or self._source)
            self._fault = replace(self._fault, edit_at="")
        if self._count == self._fault.at:
            self._act(operation, path)
        if operation == "open unnamed":
            if self._fault.no_unnamed_files:
                raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        elif operation == "open" and os.fsencode(path).startswith(self._folders[0]):
            self._source = path

    def _act(self, operation: str, path: str) -> None:
        act = self._fault.act
        if act.startswith("kill"):
            die(with_children=act == "kill-all")
        elif act == "hold":
            while not self._go.exists():
                time.sleep(0.005)
        else:
            number = getattr(errno, act)
            named = [] if operation in NAMELESS else [path]
            raise OSError(number, os.strerror(number), *named)


class CountedFile(io.FileIO):
    """A file whose every write is an event."""

    def __init__(self, wire: Wire, path: Path) -> None:
        super().__init__(path, "w+")
        self._wire, self._path = wire, os.fspath(path)

    def write(self, data) -> int:
        self._wire.event("write", self._path)
        return super().write(data)


def named(fd: int) -> str:
    """Path of an open file where the system tells it."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return f"inode {os.fstat(fd).st_ino}"


def is_unnamed(flags: int) -> bool:
    """Whether a file without a name is wanted; O_TMPFILE has several bits."""
    unnamed = getattr(os, "O_TMPFILE", 0)
    return bool(unnamed) and flags & unnamed == unnamed


def die(*, with_children: bool) -> None:
    """End at once, as the machine's out-of-memory killer does it."""
    if with_children:
        for child in children(os.getpid()):
            os.kill(child, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # another thread gets the signal first


def children(pid: int) -> list[int]:
    """Process numbers of a process's children."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def edit(how: str, path: str) -> None:
    """Change a source behind the build's back."""
    if how == "unlink":
        os.unlink(path)
        return
    with open(path, "r+b" if how == "rewrite" else "ab") as file:
        file.write(b"RIFF" if how == "rewrite" else bytes(2))
    os.utime(path, ns=(1, 10**18))
