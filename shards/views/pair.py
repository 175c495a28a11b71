"""Anchor and positive: two clips of a track, a few seconds apart."""

from dataclasses import dataclass

import numpy as np

from shards.batch import Batch
from shards.draw import draw, integers
from shards.errors import InputError
from shards.views.view import grid_frames, to_float


@dataclass(frozen=True, kw_only=True)
class AnchorPositive:
    """Two clips that start a few seconds apart (Meseguer-Brocal et al., 2024, sec. 2.1).

    Draws the gap between the starts, then where the pair lies, then which clip is the anchor, so
    that no draw is ever rejected and both clips end inside the track. The paper's sentence does
    not say whether its 4 to 16 s run from start to start; here they do.

    Args:
        clip_s: Length of a clip in seconds.
        min_gap_s: Least time from start to start.
        max_gap_s: Greatest time from start to start; less where the track is too short for it.
        grid_ms: Starts fall on multiples of this, for labels a frame; any sample if None.
    """

    clip_s: float = 4.0
    min_gap_s: float = 4.0
    max_gap_s: float = 16.0
    grid_ms: float | None = None

    num_views = 2

    def __post_init__(self) -> None:
        if self.clip_s <= 0 or not 0 <= self.min_gap_s <= self.max_gap_s:
            raise InputError(
                "Want clip_s > 0 and 0 ≤ min_gap_s ≤ max_gap_s, got "
                f"{self.clip_s}, {self.min_gap_s}, {self.max_gap_s}."
            )

    def clip_frames(self, sample_rate: int) -> int:
        """Samples of a clip."""
        return round(self.clip_s * sample_rate)

    def min_frames(self, sample_rate: int) -> int:
        """A clip and the least gap."""
        step = self._step(sample_rate)
        return (
            self.clip_frames(sample_rate) + -(-round(self.min_gap_s * sample_rate) // step) * step
        )

    def draw(
        self, seed: int, position: np.ndarray, frames: np.ndarray, sample_rate: int
    ) -> np.ndarray:
        """Starts of anchor and positive, [n, 2] int64."""
        step = self._step(sample_rate)
        room = (frames - self.clip_frames(sample_rate)) // step  # of the later start, in steps
        least = -(-round(self.min_gap_s * sample_rate) // step)
        most = np.minimum(round(self.max_gap_s * sample_rate) // step, room)
        gap = integers(draw(seed, "gap", position), least, most)
        first = integers(draw(seed, "pair", position), 0, room - gap)
        pair = np.stack([first, first + gap], axis=1) * step
        anchor_is_later = draw(seed, "anchor", position) < 0
        return np.where(anchor_is_later[:, None], pair[:, ::-1], pair)

    def apply(self, batch: Batch) -> Batch:
        """Clips as float32."""
        return to_float(batch)

    def _step(self, sample_rate: int) -> int:
        return 1 if self.grid_ms is None else grid_frames(self.grid_ms, sample_rate)
