"""What verify finds: a file, what is wrong with it, what that means, and what to type."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from ingest.catalog import TABLES
from ingest.ledger import MISSING, Ledger
from ingest.shard import RECEIPTS
from shards.errors import InputError
from shards.files import shown, typed
from shards.labels import label_paths
from shards.names import DATA, LABELS, MANIFEST, SEEK
from shards.place import Place
from shards.sealed import read_sealed

WHOLE = "every track in it is whole"
DAMAGED = "tracks damaged"


@dataclass(frozen=True)
class Fault:
    """A file that is not what it should be.

    Args:
        file: Its name below the archive.
        why: What is wrong with it.
        means: What that does to those who use the archive.
        remedy: What to type.
    """

    file: str
    why: str
    means: str
    remedy: str

    def __str__(self) -> str:
        return f"{shown(self.file)} {shown(self.why)}: {self.means}; {self.remedy}"


@dataclass(frozen=True)
class Report:
    """What was looked at and what was found.

    Args:
        missing: Files that are not there.
        damaged: Files that are not what was written, or that nobody wrote.
        unfinished: Whether a build was interrupted here; running it again ends it.
        files: Looked at, of them `read` to the end.
    """

    missing: list[Fault] = field(default_factory=list)
    damaged: list[Fault] = field(default_factory=list)
    unfinished: bool = False
    files: int = 0
    read: int = 0
    decoded_tracks: int = 0

    @property
    def faults(self) -> list[Fault]:
        """All there are."""
        return self.missing + self.damaged


def fault_of(out: Place, name: str, why: str, ledger: Ledger) -> Fault:
    """The fault of a file that has something wrong with it."""
    entry = ledger.entries.get(name)
    folder = name.split("/")[0]
    remedy = f"run `ingest repair {typed(out)} AUDIO_DIR`"
    if ledger.foreign and folder != LABELS:
        remedy = "get the tar again or run `ingest index` again"
    elif folder == LABELS:
        remedy += _labels_remedy(out, Path(name).stem)
    elif entry is None and name not in ledger.broken:
        remedy = "move it out of the archive"
    return Fault(name, why, _means(name, why, entry.tracks if entry else 0), remedy)


def _labels_remedy(out: Place, name: str) -> str:
    """What repairs labels: the table they came from."""
    try:
        file = read_sealed(label_paths(out, name)[1])["source"]["file"]
    except (InputError, OSError, KeyError):
        file = "TABLE"
    return f" --labels {shlex.quote(shown(file))}"


def _means(name: str, why: str, tracks: int) -> str:
    """What a fault does to those who use the archive."""
    folder, stem = name.split("/")[0], Path(name).stem
    if name == MANIFEST or re.fullmatch(rf"{Path(TABLES['index']).stem}(-\d+)?", stem):
        return "the archive does not open"
    if folder == DATA or Path(name).suffix == ".tar":
        if why == MISSING or " bytes, want" in why:
            return f"the archive does not open, {tracks} tracks are at risk"
        if WHOLE in why:
            return "other readers may stop in it"
        return "these cannot be read" if DAMAGED in why else f"{tracks} tracks are at risk"
    if folder == SEEK:
        return f"windows of {tracks} tracks cannot be read by range"
    if folder == LABELS:
        return f"labels {shown(stem)} cannot be read"
    if folder == RECEIPTS or stem.startswith("plan"):
        return "everything reads, but the archive cannot grow"
    return "everything reads, but this list is wrong"
