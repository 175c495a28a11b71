"""Columns that are written once a node and mapped by every process that needs them.

A node's own scratch, made again at will: named by what it depends on and by the boot, for pages
that had not reached the disk when the power went would come back as zeros.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from shards.errors import InputError
from shards.files import shown

Write = Callable[[str, np.ndarray], None]
KEPT = 4
"""Sets of columns kept in a folder; a process that uses an older one keeps its mapping."""

_FACTS = "facts.json"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def columns_of(
    folder: Path, name: str, build: Callable[[Write], dict[str, Any]]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Columns by name, mapped, and the facts that were kept with them.

    Args:
        folder: Where sets of columns lie.
        name: Of the set: equal names, equal columns.
        build: Gives each column to a function, then returns the facts; called by the first
            process to come, while others of the node wait.
    """
    final = folder / f"{name}-{_boot()}"
    with open(folder / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go by the kernel, however its holder ends
        if not final.is_dir():
            _write(final, build)
        os.utime(final)
        columns = {p.stem: np.load(p, mmap_mode="r") for p in final.glob("*.npy")}
        facts: dict[str, Any] = json.loads((final / _FACTS).read_text())
    _prune(folder)
    return {name: np.asarray(column) for name, column in columns.items()}, facts


def private_folder() -> Path:
    """A folder for temporary files that belongs to this user alone."""
    folder = Path(tempfile.gettempdir()) / f"wholetone-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    owner = folder.lstat()
    if owner.st_uid != os.getuid() or owner.st_mode & 0o077 or folder.is_symlink():
        raise InputError(
            f"{shown(folder)} is not private to you: remove it, or set TMPDIR to another folder."
        )
    return folder


def _write(final: Path, build: Callable[[Write], dict[str, Any]]) -> None:
    tmp = final.parent / f".{final.name}"
    shutil.rmtree(tmp, ignore_errors=True)  # of a process that was killed: the lock is ours
    tmp.mkdir()
    try:
        facts = build(lambda name, column: np.save(tmp / f"{name}.npy", column))
        (tmp / _FACTS).write_text(json.dumps(facts))
        os.rename(tmp, final)
    finally:
        shutil.rmtree(tmp, ignore_errors=True)


def _prune(folder: Path) -> None:
    """Remove all but the sets used last."""
    sets = [path for path in folder.glob("[!.]*") if path.is_dir()]
    for old in sorted(sets, key=_last_used, reverse=True)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


def _last_used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another process was quicker
        return 0.0


def _boot() -> str:
    """Changes whenever the machine starts; elsewhere than on Linux nothing is reused."""
    return _BOOT.read_text().strip()[:8] if _BOOT.exists() else f"pid{os.getpid()}"
