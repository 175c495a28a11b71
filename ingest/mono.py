"""Any number of channels at any rate → one channel at the archive's rate, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import soxr

from ingest.rejection import Rejection
from shards.samples import mix

BLOCK_VALUES = 1 << 19
"""Samples that are decoded, or come out of the resampler, at a time."""

FULL_SCALE = 1 - 2.0**-15
"""What counts as clipped: the largest sample of 16 bits and all beyond it."""

LOUDEST = 2.0**64
"""Beyond it filters could overflow; no recording comes near."""


class Sound(Protocol):
    """An open file: what its header says, and samples until there are no more."""

    samplerate: int
    channels: int

    def next_block(self, frames: int) -> np.ndarray:
        """About `frames` samples of every channel, float32 [n, channels]; n = 0 at the end."""


class Mono:
    """The mean of all channels of a sound, resampled by soxr (HQ); counts what it takes in."""

    def __init__(self, sound: Sound, *, rate_hz: int, max_seconds: float) -> None:
        self._sound = sound
        self._rate_hz = rate_hz
        self._max_seconds = max_seconds
        self._clipped = 0
        self.frames = 0
        """Decoded samples a channel, at the source's rate."""

    @property
    def clipped_ratio(self) -> float:
        """Share of the decoded samples, of all channels, at or beyond full scale.

        Counted before mixing, resampling and rounding, each of which would hide it.
        """
        return self._clipped / max(1, self.frames * self._sound.channels)

    def blocks(self) -> Iterator[np.ndarray]:
        """All of it, float32 [n]."""
        source_hz = self._sound.samplerate
        if source_hz == self._rate_hz:
            yield from self._mixed()
            return
        stream = soxr.ResampleStream(source_hz, self._rate_hz, 1, dtype="float32", quality="HQ")
        for block in self._mixed():
            yield stream.resample_chunk(block, last=False)
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)

    def _mixed(self) -> Iterator[np.ndarray]:
        """Blocks at the source's rate, float32 [n], until the decoder has no more."""
        sound = self._sound
        growth = max(1.0, self._rate_hz / sound.samplerate)
        size = max(1, int(BLOCK_VALUES / max(sound.channels, growth)))
        while len(block := sound.next_block(size)):
            self.frames += len(block)
            if self.frames > self._max_seconds * sound.samplerate:
                message = f"lasts more than {self._max_seconds:g} s"
                raise Rejection("limit", "too_long", message)
            self._look_at(block)
            yield mix(block)

    def _look_at(self, block: np.ndarray) -> None:
        loudest = max(float(block.max()), -float(block.min()))
        if not loudest <= LOUDEST:  # NaN is not
            raise Rejection("decode", "not_finite", "holds samples that are no finite numbers")
        if loudest >= FULL_SCALE:
            self._clipped += int(np.count_nonzero(np.abs(block) >= FULL_SCALE))
