"""A fingerprint's bytes, for who makes them and who compares them.

Little-endian: version uint16, count uint16, hashes uint32 [count] ascending, times uint16 [count]
in frames of 32 ms modulo 65536.
"""

from __future__ import annotations

import numpy as np

VERSION = 1
"""Raised when equal audio gets another fingerprint; only equal versions can be compared."""

SIZE = 160
"""Landmarks kept of a track."""


def encode(hashes: np.ndarray, frames: np.ndarray) -> bytes:
    """A sketch in the layout of this file."""
    head = np.array([VERSION, len(hashes)], "<u2")
    times = (frames & 0xFFFF).astype("<u2")
    return head.tobytes() + hashes.astype("<u4").tobytes() + times.tobytes()
