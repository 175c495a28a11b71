"""One clip anywhere in a track."""

from dataclasses import dataclass

import numpy as np

from shards.batch import Batch
from shards.draw import draw, integers
from shards.errors import InputError
from shards.views.view import grid_frames, to_float


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A clip that starts at any sample, or on a grid, and ends inside the track.

    Args:
        clip_s: Length of a clip in seconds.
        grid_ms: Starts fall on multiples of this, for labels a frame; any sample if None.
    """

    clip_s: float = 4.0
    grid_ms: float | None = None

    num_views = 1

    def __post_init__(self) -> None:
        if self.clip_s <= 0:
            raise InputError(f"Want clip_s > 0, got {self.clip_s}.")

    def clip_frames(self, sample_rate: int) -> int:
        """Samples of a clip."""
        return round(self.clip_s * sample_rate)

    def min_frames(self, sample_rate: int) -> int:
        """A clip."""
        return self.clip_frames(sample_rate)

    def draw(
        self, seed: int, position: np.ndarray, frames: np.ndarray, sample_rate: int
    ) -> np.ndarray:
        """Start of the clip, [n, 1] int64."""
        step = 1 if self.grid_ms is None else grid_frames(self.grid_ms, sample_rate)
        room = (frames - self.clip_frames(sample_rate)) // step
        start: np.ndarray = integers(draw(seed, "clip", position), 0, room) * step
        return start[:, None]

    def apply(self, batch: Batch) -> Batch:
        """Clips as float32."""
        return to_float(batch)
