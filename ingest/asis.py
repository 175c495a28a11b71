"""Whether a payload can be streamed as it is: FLAC or WAV, and what its header claims of it.

Only what the readers of archives decode themselves can stay where it lies. The claims choose the
archive's rate before anything is decoded; the decoder checks them afterwards.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from ingest.rejection import Rejection
from ingest.sniff import HEAD_BYTES, sniff

WAVE_FORMATS = frozenset({1, 3, 6, 7})
"""PCM, float, A-law, μ-law (mmreg.h)."""

_EXTENSIBLE = 0xFFFE
"""The format stands at the start of the subformat, 24 bytes into the chunk."""

CAN_BE_PACKED = "extract its tar and run `ingest build-shards` on the folder"


@dataclass(frozen=True)
class Claim:
    """What a header says: flac or wav, sample rate, samples a channel (0 if it does not say)."""

    kind: str
    rate_hz: int
    frames: int


def claim(fd: int, offset: int, size: int) -> Claim:
    """What the payload at a place in an open file claims; `Rejection` if it cannot stay there."""
    if not size:
        raise Rejection("scan", "empty", "has no bytes")
    head = os.pread(fd, min(size, HEAD_BYTES), offset)
    kind = sniff(head, size)
    if not kind:
        message = "is named like audio, but its content is not audio"
        raise Rejection("scan", "not_audio", message)
    found = {"flac": _flac, "wav": _wav}.get(kind, lambda _: None)(head)
    if not found:
        message = f"holds {kind}, which is not read where it lies: {CAN_BE_PACKED}"
        raise Rejection("scan", "needs_repacking", message)
    return found


def _flac(head: bytes) -> Claim | None:
    """STREAMINFO comes first (RFC 9639, 8.2); a stream of unknown length cannot be sought in."""
    if len(head) < 26 or head[4] & 0x7F:
        return None
    packed = int.from_bytes(head[18:26], "big")
    frames = packed & ((1 << 36) - 1)
    return Claim("flac", packed >> 44, frames) if frames else None


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
            return Claim("wav", rate_hz, 0) if form in WAVE_FORMATS else None
        at += 8 + size + size % 2
    return None
