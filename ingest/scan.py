"""Every file below a folder: audio found by content, everything that looks wrong listed.

Names are bytes throughout: a file's name need not be text. What is printed or stored for people
goes through `shown`; what identifies a track is the hash of its raw relative path.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ingest.sniff import AUDIO_EXTENSIONS, INSTALL, READABLE, is_installed, kind_of
from shards.errors import LACKING, InputError
from shards.files import shown

_READ_ONLY = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Source:
    """A file to decode: raw relative path, and what it was when it was planned."""

    raw: bytes
    size: int
    mtime_ns: int
    kind: str

    @property
    def key(self) -> str:
        """Name of the track everywhere."""
        return track_key(self.raw)


@dataclass
class Rejected:
    """An input that is not packed, and why."""

    path: str
    stage: str
    code: str
    message: str
    key: str = ""


@dataclass
class Scan:
    """What a folder holds."""

    sources: list[Source] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    others: int = 0
    """Files that neither claim to be audio nor are."""


def track_key(raw: bytes) -> str:
    """First 32 hexadecimal digits of the SHA-256 of a raw relative path."""
    return hashlib.sha256(raw).hexdigest()[:32]


def shown_path(raw: bytes) -> str:
    """A raw path as text that is safe to print."""
    return shown(raw.decode("utf-8", "surrogateescape"))


def scan(
    folder: Path, *, without: Path | None = None, known: Mapping[bytes, Source] | None = None
) -> Scan:
    """All audio below `folder`, sorted by key; `without` (the output) is passed over.

    Files that are still as they are `known` to be are not opened again.
    """
    if not folder.is_dir():
        raise InputError(f"{shown(folder)} is not a folder. Want one that holds audio files.")
    found = Scan()
    root = os.fsencode(folder)
    skipped = os.path.realpath(os.fsencode(without)) if without else None
    for relative, entry in _walk(root, skipped, found):
        _look_at(relative, entry, found, known or {})
    found.sources.sort(key=lambda source: source.key)
    found.rejected.sort(key=lambda rejected: rejected.path)
    return found


def _walk(
    root: bytes, skipped: bytes | None, found: Scan
) -> Iterator[tuple[bytes, os.DirEntry[bytes]]]:
    """Relative path and entry of every file; hidden folders and links to folders stay outside."""
    folders = [b""]
    while folders:
        below = folders.pop()
        try:
            with os.scandir(os.path.join(root, below)) as listing:
                entries = list(listing)
        except OSError as error:
            found.rejected.append(_unreadable(below, error))
            continue
        for entry in entries:
            relative = os.path.join(below, entry.name)
            if not entry.is_dir(follow_symlinks=False):
                yield relative, entry
            elif not entry.name.startswith(b".") and os.path.realpath(entry.path) != skipped:
                folders.append(relative)


def _look_at(
    relative: bytes, entry: os.DirEntry[bytes], found: Scan, known: Mapping[bytes, Source]
) -> None:
    """Put one file where it belongs."""
    extension = os.path.splitext(entry.name)[1].lower().decode("latin-1")
    claims = extension in AUDIO_EXTENSIONS
    if entry.name.startswith(b"."):
        found.others += 1
        return
    try:
        status = entry.stat(follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            _count_irregular(relative, entry, claims, found)
            return
        before = known.get(relative)
        if before and (before.size, before.mtime_ns) == (status.st_size, status.st_mtime_ns):
            found.sources.append(before)
            return
        kind = _kind(entry.path, status.st_size, extension)
    except OSError as error:
        if error.errno in LACKING:
            raise
        found.rejected.append(_unreadable(relative, error))
        return
    source = Source(relative, status.st_size, status.st_mtime_ns, kind)
    sort_out(source, claims=claims, found=found)


def sort_out(source: Source, *, claims: bool, found: Scan) -> None:
    """Put a file whose kind is known where it belongs; `claims` says that its name is audio's."""
    if source.kind in READABLE or (source.kind and claims and is_installed()):
        found.sources.append(source)
    elif claims:
        found.rejected.append(_not_packed(source))
    else:
        found.others += 1


def _kind(path: bytes, size: int, extension: str) -> str:
    with open(os.open(path, _READ_ONLY), "rb", buffering=0) as file:
        return kind_of(lambda count: os.pread(file.fileno(), count, 0), size, extension)


def _count_irregular(relative: bytes, entry: os.DirEntry[bytes], claims: bool, found: Scan) -> None:
    """Links that claim to be audio are reported: they can lead anywhere, so none is followed."""
    if not claims:
        found.others += 1
        return
    what = "a symbolic link" if entry.is_symlink() else "no regular file"
    message = f"is {what} and was not followed; copy the file itself below the folder"
    found.rejected.append(rejected(relative, "not_a_file", message))


def _not_packed(source: Source) -> Rejected:
    """Why a file that claims to be audio is left out."""
    if source.size == 0:
        code, message = "empty", "has no bytes"
    elif source.kind:
        code, message = "unsupported", f"holds {source.kind}, which {INSTALL} lets us read"
    else:
        code, message = "not_audio", "is named like audio, but its content is not audio"
    return rejected(source.raw, code, message)


def _unreadable(relative: bytes, error: OSError) -> Rejected:
    """A file or folder that may not be opened."""
    return rejected(relative, "unreadable", error.strerror or str(error))


def rejected(relative: bytes, code: str, message: str) -> Rejected:
    """A file that is not even tried."""
    return Rejected(shown_path(relative), "scan", code, message, track_key(relative))
