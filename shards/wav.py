"""The one form of WAV that ingest packs: 44 bytes, then the samples."""

from __future__ import annotations

import struct
from functools import lru_cache

HEADER_BYTES = 44


@lru_cache
def header(rate_hz: int, frames: int) -> bytes:
    """RIFF header of mono 16-bit samples (Multimedia Programming Interface 1.0, chapter 2)."""
    size = 2 * frames
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate_hz, 2 * rate_hz, 2, 16)
    riff = struct.pack("<4sI4s", b"RIFF", HEADER_BYTES - 8 + size, b"WAVE")
    return riff + form + struct.pack("<4sI", b"data", size)
