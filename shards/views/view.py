"""View: its first half draws integers in the plan, its second half acts on the device."""

from dataclasses import replace
from typing import Protocol

import numpy as np

from shards.batch import Batch
from shards.errors import InputError


class View(Protocol):
    """The rule by which clips of a track are drawn, and what is derived from them on the device."""

    num_views: int

    def clip_frames(self, sample_rate: int) -> int:
        """Samples T of every clip; constant in a run."""
        ...

    def min_frames(self, sample_rate: int) -> int:
        """Samples that a track must have; shorter ones are listed and left out of the plan."""
        ...

    def draw(
        self, seed: int, position: np.ndarray, frames: np.ndarray, sample_rate: int
    ) -> np.ndarray:
        """Starts [n, V] int64 of the clips at positions [n] in tracks of frames [n] samples."""
        ...

    def apply(self, batch: Batch) -> Batch:
        """The second half, on the device: float32 clips in [-1, 1), and what they give."""
        ...


def to_float(batch: Batch) -> Batch:
    """The batch with clips as float32 in [-1, 1)."""
    return replace(batch, clips=batch.clips.float() / 32768)


def grid_frames(grid_ms: float, sample_rate: int) -> int:
    """Samples of a grid step; frame labels align only if that is a whole number."""
    frames = grid_ms * sample_rate / 1000
    if frames < 1 or frames != round(frames):
        raise InputError(
            f"A grid of {grid_ms} ms is {frames} samples at {sample_rate} Hz: want whole."
        )
    return round(frames)
