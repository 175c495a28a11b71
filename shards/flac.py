"""Windows of FLAC decoded straight into the caller's memory, by frames and without a search.

A range of frames (see `seek`) is put behind a STREAMINFO in a file in memory that libsndfile reads
itself: no callback into Python, no seeking, and the samples land where they are wanted. This is
soundfile's own library through the functions that soundfile calls; its class costs 7 % more.
"""

from __future__ import annotations

import os
import tempfile
import threading
from typing import Any

import numpy as np
import soundfile

from shards.seek import block_size, frame_number, stream_header

_ffi, _snd = soundfile._ffi, soundfile._snd
_READ = 0x10  # SFM_READ


class _Bench(threading.local):
    """A thread's file in memory, and where it puts samples that nobody wants."""

    def __init__(self) -> None:
        self.fd = _file_in_memory()
        self.unwanted = np.zeros(1 << 16, np.int16)
        self.info: Any = _ffi.new("SF_INFO*")

    def __del__(self) -> None:
        os.close(self.fd)


def _file_in_memory() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("flac")
    with tempfile.TemporaryFile(buffering=0) as file:
        return os.dup(file.fileno())


_bench = _Bench()


def decode_into(out: np.ndarray, data: bytes | memoryview, rate_hz: int, start: int) -> None:
    """Fill `out` [n] with the samples from `start` on of a track of mono 16-bit FLAC frames.

    Args:
        out: int16, contiguous.
        data: From the begin of a frame at or before `start` to behind the window.
        rate_hz: Of the track.
        start: First sample.

    Raises ValueError for bytes that are no such frames or are damaged.
    """
    data = memoryview(data)
    skip, at = frame_of(data, start)
    header = stream_header(rate_hz, 0)
    os.pwritev(_bench.fd, [header, data[at:]], 0)
    os.ftruncate(_bench.fd, len(header) + len(data) - at)
    os.lseek(_bench.fd, 0, os.SEEK_SET)
    sound = _snd.sf_open_fd(_bench.fd, _READ, _bench.info, 0)
    if not sound:
        raise ValueError("libsndfile does not take this for FLAC.")
    try:
        for begin in range(0, skip, len(_bench.unwanted)):
            _read(sound, _bench.unwanted[: skip - begin])
        _read(sound, out)
    finally:
        _snd.sf_close(sound)


def _read(sound: Any, out: np.ndarray) -> None:
    """Fill `out` with what comes next."""
    if not len(out):
        return
    got = _snd.sf_readf_short(sound, _ffi.cast("short*", out.ctypes.data), len(out))
    if got != len(out) or _snd.sf_error(sound):
        raise ValueError(f"{got} samples instead of {len(out)}: a frame is damaged.")


def frame_of(data: memoryview, start: int) -> tuple[int, int]:
    """How many samples before `start` a frame begins, and where in `data`: the last such frame.

    All frames but a track's last begin with the same four bytes, followed by their number: the one
    wanted is found by its bytes. Where it is not (it is the last), the first of `data` has to do.
    """
    number, _ = frame_number(data)
    block = block_size(data)
    skip = start - number * block
    if skip < 0:
        raise ValueError(f"The frames begin {-skip} samples behind sample {start}.")
    wanted = start // block
    if wanted == number:
        return skip, 0
    reach = 3 * skip + (1 << 12)  # a sample takes two bytes at most, and a frame its header
    at = bytes(data[:reach]).find(bytes(data[:4]) + coded(wanted))
    return (start - wanted * block, at) if at > 0 else (skip, 0)


def coded(number: int) -> bytes:
    """A number coded as UTF-8 codes characters (RFC 9639, 9.1.5)."""
    if number < 0x80:
        return bytes([number])
    more = 1 if number < 0x800 else 2
    while number >> (6 * more + 6 - more):
        more += 1
    lead = 0xFF << (7 - more) & 0xFF | number >> 6 * more
    return bytes([lead, *(0x80 | number >> 6 * k & 0x3F for k in reversed(range(more)))])
