"""What of somebody else's tars is audio, and the copies of it that decoders get."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ingest.asis import COPY_BYTES, claim
from ingest.members import BadTar, Entry, entries
from ingest.rejection import Rejection
from ingest.scan import Rejected, Source, shown_path, track_key
from ingest.settings import Settings
from ingest.sniff import AUDIO_EXTENSIONS, HEAD_BYTES, INSTALL, READABLE, is_installed, kind_of
from shards.errors import InputError

MAX_BYTES = 2 << 30
"""Of a member."""


@dataclass(frozen=True, slots=True)
class Member(Source):
    """A member of a tar that is to be measured: a source by its tar's name and its own."""

    tar: Path
    offset: int
    rate_hz: int
    """That it claims, in Hz, if it could be read where it lies; else 0."""


@dataclass
class Contents:
    """What a tar holds."""

    members: list[Member] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    others: int = 0
    """Members that do not claim to be audio."""


def best_rate(paths: dict[str, Path]) -> int:
    """Sample rate in Hz that suits most members.

    That is the one of most FLAC and WAV members, which are then read where they lie; the lowest of
    those that are equally common. Where most members must be decoded at each visit anyway, it is
    the one that archives have unless told otherwise.
    """
    rates: Counter[int] = Counter()
    rejected: list[Rejected] = []
    for name, path in paths.items():
        found = look_into(path, name)
        rates.update(member.rate_hz for member in found.members)
        rejected += found.rejected
    if not rates:
        why = "".join(f" {r.path} {r.message}." for r in rejected[:5])
        raise InputError(f"No audio in {len(paths)} tars.{why}")
    if rates.pop(0, 0) > rates.total():
        return Settings().sample_rate
    return min(rates, key=lambda rate: (-rates[rate], rate))


def look_into(path: Path, name: str) -> Contents:
    """Members of a tar to measure, and why the others are not; a bad tar gives none at all.

    Args:
        path: Of the tar.
        name: Of the tar in the archive.
    """
    found = Contents()
    seen: set[bytes] = set()
    with open(path, "rb", buffering=0) as file:
        mtime_ns = os.fstat(file.fileno()).st_mtime_ns
        try:
            for entry in entries(file.fileno()):
                raw = os.fsencode(name) + b"/" + entry.name
                suffix = PurePosixPath(os.fsdecode(entry.name)).suffix.lower()
                if suffix not in AUDIO_EXTENSIONS:
                    found.others += 1
                    continue
                try:
                    _check(entry, seen)
                    kind, rate_hz = _kind_and_rate(file.fileno(), entry, suffix)
                    found.members.append(
                        Member(raw, entry.size, mtime_ns, kind, path, entry.offset, rate_hz)
                    )
                except Rejection as why:
                    found.rejected.append(refuse(raw, entry.offset, why))
                seen.add(entry.name)
        except BadTar as bad:
            untrue = Rejection("scan", bad.code, f"{bad.message}; none of its members is used")
            return Contents(rejected=[refuse(os.fsencode(name), 0, untrue)])
    return found


def _check(entry: Entry, seen: set[bytes]) -> None:
    """`Rejection` if a member is not to be looked into."""
    parts = entry.name.split(b"/")
    if entry.irregular:
        raise Rejection("scan", "not_a_file", f"is {entry.irregular} and was not followed")
    if entry.name.startswith(b"/") or b".." in parts or b"\0" in entry.name:
        raise Rejection("scan", "unsafe_name", "has a name that leads out of the tar")
    if entry.name in seen:
        message = f"has the name of an earlier member (this one lies at byte {entry.offset})"
        raise Rejection("scan", "duplicate_name", message)
    if entry.size > MAX_BYTES:
        message = f"has {entry.size} bytes, at most {MAX_BYTES} are read"
        raise Rejection("limit", "too_large", message)
    if not entry.size:
        raise Rejection("scan", "empty", "has no bytes")


def _kind_and_rate(fd: int, entry: Entry, suffix: str) -> tuple[str, int]:
    """What a member holds, and the rate it claims if it could be read where it lies, else 0."""

    def head(count: int) -> bytes:
        return os.pread(fd, min(count, entry.size), entry.offset)

    kind = kind_of(head, entry.size, suffix)
    if not kind:
        message = "is named like audio, but its content is not audio"
        raise Rejection("scan", "not_audio", message)
    if kind not in READABLE and not is_installed():
        message = f"holds {kind}, which {INSTALL} lets us read"
        raise Rejection("scan", "unsupported", message)
    claimed = claim(head(HEAD_BYTES), kind)
    return kind, claimed.rate_hz if claimed else 0


def refuse(raw: bytes, offset: int, why: Rejection) -> Rejected:
    """A refused member; two of one name are told apart by their place."""
    key = track_key(b"%s@%d" % (raw, offset))
    return Rejected(shown_path(raw), why.stage, why.code, why.message, key)


class MemberInputs:
    """Opens members: each is copied into a file without a name, which the decoder gets.

    Whether a tar is still what it was is asked once, when all of it is measured.
    """

    def __init__(self, scratch_dir: Path) -> None:
        self._scratch_dir = scratch_dir

    def open(self, source: Source) -> int:
        """A copy of the member alone."""
        assert isinstance(source, Member)
        with tempfile.TemporaryFile(dir=self._scratch_dir) as file:
            with open(source.tar, "rb") as tar:
                tar.seek(source.offset)
                left = source.size
                while left and (block := tar.read(min(left, COPY_BYTES))):
                    file.write(block)
                    left -= len(block)
            file.flush()
            return os.dup(file.fileno())

    def is_still(self, source: Source, fd: int) -> bool:
        """Whether the copy is whole."""
        return os.fstat(fd).st_size == source.size
