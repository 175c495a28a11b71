"""int16 samples → the bytes that lie in a shard, and where each of their seconds begins."""

from __future__ import annotations

import os
from array import array
from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np
import soundfile

FLAC_LEVEL = 0.0
"""Of 0 to 1: level 0 decodes 10 % faster than libsndfile's default and is 2 to 8 % larger."""

FORMS: dict[str, dict[str, Any]] = {
    "flac": {"format": "FLAC", "subtype": "PCM_16", "compression_level": FLAC_LEVEL},
    "wav": {"format": "WAV", "subtype": "PCM_16"},
}
COPY = "copy"
"""The codec of a payload that is the source's own bytes."""

MAX_BYTES = (1 << 32) - 1
"""Of a payload: RIFF and the seek tables count in 32 bits."""

BUFFER_BYTES = 1 << 20

_FRAME_SYNC = b"\xff\xf8"
"""Of a FLAC frame in a stream whose blocks all have one size (RFC 9639, 9.1)."""

_BLOCK_SIZE_AT = 8
"""Of the block size in STREAMINFO, 16 bits (RFC 9639, 8.2)."""


class TooLarge(Exception):
    """A payload of more than `MAX_BYTES`."""


class Sink:
    """The file that takes the payload.

    It remembers what went wrong, which libsndfile would swallow, and where each FLAC frame begins:
    libFLAC hands over every frame in one write.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._at = self._end = 0
        self._pending: list[bytes] = []  # a frame is a KiB: a system call each would cost more
        self._flush_at = BUFFER_BYTES
        self._frames = array("Q")
        self.error: OSError | TooLarge | None = None

    def write(self, data: bytes) -> int:
        """Bytes taken: always all, for soundfile would stop at less without saying why.

        It is called for every frame, 14 times a second of audio, so it does little.
        """
        size = len(data)
        at = self._at
        self._at = after = at + size
        if at == self._end:  # what is written over (STREAMINFO) is no frame
            self._end = after
            if data.startswith(_FRAME_SYNC):
                self._frames.append(at)
        elif after > self._end:
            self._end = after
        self._pending.append(data)
        if after >= self._flush_at:
            self.flush()
        return size

    def flush(self) -> None:
        """Write what has been taken."""
        data = memoryview(b"".join(self._pending))
        self._pending.clear()
        self._flush_at = self._at + BUFFER_BYTES
        if self._end > MAX_BYTES:
            self.error = self.error or TooLarge()
        try:
            while data and not self.error:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            self.error = error

    def read(self, size: int) -> bytes:
        """For libsndfile, which asks for it."""
        self.flush()
        data = os.read(self._fd, size)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """New position."""
        self.flush()
        self._at = os.lseek(self._fd, offset, whence)
        return self._at

    def tell(self) -> int:
        """Position."""
        return self._at

    def seek_table(self, frames: int, sample_rate: int) -> list[int]:
        """Offset of the last FLAC frame that begins at or before each second, one a second begun.

        The payload is closed and holds `frames` samples; in a WAV every offset can be computed, so
        there is no table.
        """
        if os.pread(self._fd, 4, 0) != b"fLaC":
            return []
        block = int.from_bytes(os.pread(self._fd, 2, _BLOCK_SIZE_AT), "big")
        assert len(self._frames) == -(-frames // block), "libFLAC did not write frame by frame"
        return [self._frames[first // block] for first in range(0, frames, sample_rate)]


def write(blocks: Iterable[np.ndarray], sink: Sink, *, codec: str, sample_rate: int) -> None:
    """Encode blocks of mono int16 samples [n]; raises what went wrong in the sink.

    As a copy they are only looked at: whoever has the source copies its bytes.
    """
    if codec == COPY:
        deque(blocks, maxlen=0)
        return
    form = {"samplerate": sample_rate, "channels": 1, **FORMS[codec]}
    with soundfile.SoundFile(sink, "w", **form) as payload:
        for samples in blocks:
            payload.write(samples)
            if sink.error:
                break
    _end(sink)


def write_samples(blocks: Iterable[np.ndarray], sink: Sink) -> int:
    """Write blocks of int16 samples [n] as they are, little-endian; how many there were."""
    frames = 0
    for samples in blocks:
        sink.write(samples.astype("<i2", copy=False).tobytes())
        frames += len(samples)
        if sink.error:
            break
    _end(sink)
    return frames


def _end(sink: Sink) -> None:
    sink.flush()
    if sink.error:
        raise sink.error
