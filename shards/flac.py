"""Windows of FLAC decoded straight into the caller's memory, by frames and without a search.

A range of frames (see `seek`) is read into a file in memory, a STREAMINFO is put before the frame
that is wanted, and libsndfile reads on from there itself: no callback into Python, no seeking, and
the samples land where they are wanted. This is soundfile's own library through the functions that
soundfile calls; its class costs 7 % more.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
from typing import Any

import numpy as np
import soundfile

from shards.seek import block_size, frame_number, stream_header

_ffi, _snd = soundfile._ffi, soundfile._snd
_READ = 0x10  # SFM_READ
_BEFORE = len(stream_header(0, 0))
_BEHIND = bytes(16)
"""No frame begins like this: what lay there before must not be decoded."""


class _Bench(threading.local):
    """A thread's file in memory, and where it puts samples that nobody wants."""

    def __init__(self) -> None:
        self.fd = _file_in_memory()
        self.unwanted = np.zeros(1 << 16, np.int16)
        self.info: Any = _ffi.new("SF_INFO*")
        self.grow(1 << 18)

    def grow(self, size: int) -> None:
        """Make room for so many bytes between what comes before and behind them."""
        self.size = size
        os.ftruncate(self.fd, _BEFORE + size + len(_BEHIND))
        self.memory = mmap.mmap(self.fd, 0)
        self.view = memoryview(self.memory)

    def __del__(self) -> None:
        os.close(self.fd)


def _file_in_memory() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("flac")
    with tempfile.TemporaryFile(buffering=0) as file:
        return os.dup(file.fileno())


_bench = _Bench()


def room(size: int) -> memoryview:
    """Where this thread wants a range of frames, for `decode_room`; valid until the next one."""
    if size > _bench.size:
        _bench.grow(2 * size)
    _bench.view[_BEFORE + size : _BEFORE + size + len(_BEHIND)] = _BEHIND
    return _bench.view[_BEFORE : _BEFORE + size]


def decode_into(out: np.ndarray, data: bytes | memoryview, rate_hz: int, start: int) -> None:
    """Fill `out` from a range of frames that lies elsewhere; see `decode_room`."""
    room(len(data))[:] = data
    decode_room(out, len(data), rate_hz, start)


def decode_room(out: np.ndarray, size: int, rate_hz: int, start: int) -> None:
    """Fill `out` [n] with the samples from `start` on of a track of mono 16-bit FLAC frames.

    Args:
        out: int16, contiguous.
        size: Of the range in `room`: from the begin of a frame at or before `start` to behind the
            window.
        rate_hz: Of the track.
        start: First sample.

    Raises ValueError for bytes that are no such frames or are damaged.
    """
    skip, at = frame_of(_bench.memory, _BEFORE, _BEFORE + size, start)
    _bench.view[at - _BEFORE : at] = stream_header(rate_hz, 0)
    os.lseek(_bench.fd, at - _BEFORE, os.SEEK_SET)
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


def frame_of(memory: mmap.mmap, begin: int, end: int, start: int) -> tuple[int, int]:
    """How many samples before `start` a frame begins, and where in memory: the last such frame.

    All frames but a track's last begin with the same four bytes, followed by their number: the one
    wanted is found by its bytes. If it is the last it is not, and the range's first has to do.
    """
    first = memory[begin : min(begin + 16, end)]
    number, _ = frame_number(first)
    block = block_size(first)
    skip = start - number * block
    if skip < 0:
        raise ValueError(f"The frames begin {-skip} samples behind sample {start}.")
    wanted = start // block
    if wanted == number:
        return skip, begin
    reach = 3 * skip + (1 << 12)  # a sample takes two bytes at most, and a frame its header
    at = memory.find(first[:4] + coded(wanted), begin, min(begin + reach, end))
    return (start - wanted * block, at) if at > 0 else (skip, begin)


def coded(number: int) -> bytes:
    """A number coded as UTF-8 codes characters (RFC 9639, 9.1.5)."""
    if number < 0x80:
        return bytes([number])
    more = 1 if number < 0x800 else 2
    while number >> (6 * more + 6 - more):
        more += 1
    lead = 0xFF << (7 - more) & 0xFF | number >> 6 * more
    return bytes([lead, *(0x80 | number >> 6 * k & 0x3F for k in reversed(range(more)))])
