"""Payload that is its source's own bytes: how readers will get at it, and the copying.

FLAC and WAV at the archive's rate, whose header tells the length that was measured, are read where
they lie. Everything else goes through the sandboxed decoder at each visit. The codec of the index
says which; see `shards.schema.STRAIGHT`.
"""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass
from typing import IO

from ingest.rejection import Rejection
from shards.schema import RAW, STRAIGHT

WAVE_FORMATS = frozenset({1, 3, 6, 7})
"""PCM, float, A-law, μ-law (mmreg.h): in these libsndfile seeks exactly."""

_EXTENSIBLE = 0xFFFE
"""The format stands at the start of the subformat, 24 bytes into the chunk."""

NAMES = {"m4a or mp4": "m4a", "wavpack": "wv", "matroska": "mka", "musepack": "mpc"}
"""Kinds whose files are named otherwise."""

COPY_BYTES = 8 << 20


@dataclass(frozen=True)
class Claim:
    """What a header says: sample rate, samples a channel (0 if it does not say)."""

    rate_hz: int
    frames: int


def codec_of(head: bytes, kind: str, *, rate_hz: int, frames: int) -> str:
    """Codec of a payload that begins with `head` and was measured.

    Args:
        head: Its first bytes.
        kind: What it is (see `sniff`).
        rate_hz: Of the archive.
        frames: Samples that it decodes to at this rate.
    """
    name, claimed = NAMES.get(kind, kind), claim(head, kind)
    if claimed and claimed.rate_hz == rate_hz and claimed.frames in (0, frames):
        return name
    return RAW + name if name in STRAIGHT else name


def claim(head: bytes, kind: str) -> Claim | None:
    """What a FLAC or WAV claims that windows could be read of; None for everything else."""
    if kind == "flac":
        return _flac(head)
    return _wav(head) if kind == "wav" else None


def _flac(head: bytes) -> Claim | None:
    """STREAMINFO comes first (RFC 9639, 8.2); a stream of unknown length cannot be sought in."""
    if len(head) < 26 or head[4] & 0x7F:
        return None
    packed = int.from_bytes(head[18:26], "big")
    frames = packed & ((1 << 36) - 1)
    return Claim(packed >> 44, frames) if frames else None


def _wav(head: bytes) -> Claim | None:
    """The chunk `fmt ` among those at the start of the file."""
    order = ">" if head[:4] == b"RIFX" else "<"
    at = 12
    while at + 24 <= len(head):
        name, size = struct.unpack_from(f"{order}4sI", head, at)
        if name == b"fmt ":
            form, _channels, rate_hz = struct.unpack_from(f"{order}HHI", head, at + 8)
            if form == _EXTENSIBLE and at + 34 <= len(head):
                (form,) = struct.unpack_from(f"{order}H", head, at + 32)
            return Claim(rate_hz, 0) if form in WAVE_FORMATS else None
        at += 8 + size + size % 2
    return None


def copy(source: int, payload: IO[bytes], *, sha256: str) -> None:
    """Copy the bytes of an open source, which must be those that were measured, or `Rejection`."""
    digest, at = hashlib.sha256(), 0
    while block := _read(source, at):
        digest.update(block)
        payload.write(block)
        at += len(block)
    payload.flush()
    if digest.hexdigest() != sha256:
        raise Rejection("decode", "changed", "changed while it was read")


def _read(source: int, at: int) -> bytes:
    try:
        return os.pread(source, COPY_BYTES, at)
    except OSError as error:
        raise Rejection("decode", "unreadable", error.strerror or str(error)) from error
