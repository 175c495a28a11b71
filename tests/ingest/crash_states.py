"""What a disk may hold after a power cut: everything that was not yet fsynced may be lost.

The model (Pillai et al., 2014, ALICE): a file's bytes are safe once the file is fsynced, a name in
a folder once the folder is. A rename is atomic, but until the folder is fsynced it may not have
happened, and each changed name is lost or kept on its own. Bytes not yet safe are kept, zeroed,
cut to half, or replaced by what was safe before.
"""

import hashlib
import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path

LOSSES = ("keep", "zero", "half", "old")

Entries = dict[int, dict[str, int]]
"""Folder's inode → name → inode."""

File = tuple[int, bytes]
"""Mode and bytes."""

State = dict[str, File]
"""Relative path → file; folders end with a slash and have no bytes."""


@dataclass
class Disk:
    """Names and bytes by inode."""

    names: Entries = field(default_factory=dict)
    files: dict[int, File] = field(default_factory=dict)


class Recorder:
    """Watches a folder while a build works in it and lists what a crash could leave."""

    def __init__(self, root: Path) -> None:
        self.during: list[State] = []
        self.after: list[State] = []
        self._root = root
        self._seen: set[str] = set()
        self._safe = look(root)

    def __call__(self, operation: str, fd: int | None) -> None:
        """Note what a crash just before this operation can leave."""
        now = look(self._root)
        self._forget(now)
        top = self._root.stat().st_ino
        for state in possible(self._safe, now, top):
            if (name := fingerprint(state)) not in self._seen:
                self._seen.add(name)
                self.during.append(state)
        if operation == "fsync" and fd is not None:
            inode = os.fstat(fd).st_ino
            if inode in now.names:
                self._safe.names[inode] = dict(now.names[inode])
            elif inode in now.files:
                self._safe.files[inode] = now.files[inode]
        if operation == "end":
            self.after = possible(self._safe, now, top)

    def _forget(self, now: Disk) -> None:
        """Drop inodes that no name leads to: their numbers are given to new files."""
        names = [*now.names.values(), *self._safe.names.values()]
        alive = {inode for folder in names for inode in folder.values()}
        alive.add(self._root.stat().st_ino)
        for table in (self._safe.names, self._safe.files):
            for inode in [inode for inode in table if inode not in alive]:
                del table[inode]


def look(root: Path) -> Disk:
    """The folder as a process sees it now."""
    disk = Disk()
    for path, folders, files in os.walk(root):
        here = {}
        for name in [*folders, *files]:
            try:
                status = os.stat(os.path.join(path, name))
                here[name] = status.st_ino
                if name in files:
                    data = Path(path, name).read_bytes()
                    disk.files[status.st_ino] = (status.st_mode & 0o777, data)
            except FileNotFoundError:  # gone since it was listed
                here.pop(name, None)
        disk.names[os.stat(path).st_ino] = here
    return disk


def possible(safe: Disk, now: Disk, top: int) -> list[State]:
    """Every state that a crash can leave, the undisturbed one first."""
    changed = [
        (folder, name)
        for folder, here in now.names.items()
        for name in sorted({*here, *safe.names.get(folder, {})})
        if here.get(name) != safe.names.get(folder, {}).get(name) and name != ".lock"
    ]
    states = []
    for count in range(len(changed) + 1):
        for lost in itertools.combinations(changed, count):
            names = {folder: dict(here) for folder, here in now.names.items()}
            for folder, name in lost:
                before = safe.names.get(folder, {}).get(name)
                names[folder].pop(name, None)
                if before is not None:
                    names[folder][name] = before
            for loss in LOSSES:
                states.append(assemble(names, top, files_after(safe, now, loss)))
    return states


def files_after(safe: Disk, now: Disk, loss: str) -> dict[int, File]:
    """Bytes of every inode when those that are not safe suffer `loss`."""
    files = dict(safe.files)
    for inode, (mode, data) in now.files.items():
        old = safe.files.get(inode, (mode, b""))
        if old != (mode, data):
            half = data[: len(data) // 2]
            lost = {"keep": data, "zero": bytes(len(data)), "half": half, "old": old[1]}[loss]
            files[inode] = (mode, lost)
    return files


def assemble(names: Entries, folder: int, files: dict[int, File], prefix: str = "") -> State:
    """Names and bytes as paths."""
    state: State = {}
    for name, inode in names.get(folder, {}).items():
        if inode in names:
            state[f"{prefix}{name}/"] = (0o755, b"")
            state |= assemble(names, inode, files, f"{prefix}{name}/")
        elif inode in files:
            state[prefix + name] = files[inode]
    return state


def fingerprint(state: State) -> str:
    """Equal for states that differ in nothing but the random part of temporary names."""
    digest = hashlib.sha256()
    for name, (mode, data) in sorted(state.items()):
        plain = name.partition(".tmp-")
        digest.update(f"{plain[0]}{plain[1]} {mode} {len(data)}\n".encode() + data)
    return digest.hexdigest()


def lay_out(state: State, root: Path) -> None:
    """Make a folder hold a state."""
    for name, (mode, data) in sorted(state.items()):
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.write_bytes(data)
            path.chmod(mode)
