"""Whole clips, their parts, the parts of these, and so on: one span is read for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from shards.batch import Batch
from shards.draw import Ints, draw, integers
from shards.errors import InputError
from shards.views.view import to_float

if TYPE_CHECKING:
    from torch import Tensor

SHORT_S, LONG_S = 59_049 / 22_050, 473_088 / 22_050
"""Of a whole clip. MART states no length: the short one is that of its first author's earlier code,
59 049 samples at 22.05 kHz; parts on the fourth level of the long one are as long as the short one.
"""


@dataclass(frozen=True, kw_only=True)
class HierarchicalCrops:
    """Whole clips cut into M parts each, and these again, on N levels (MART, sec. 2.1).

    A stream reads whole clips only; `apply` cuts them on the device, see `Batch.parts`. The paper's
    parts divide a clip evenly. Drawn ones have the same length and lie anywhere in theirs, so that
    two may overlap. Whole clips of a track lie anywhere in it, and may overlap too.

    Args:
        num_levels: N, with that of the whole clip.
        num_parts: M of each clip but those of the last level.
        num_views: Whole clips a track: two views of it, or one.
        clip_s: Length of a whole clip in seconds: `SHORT_S` (2.68), or `LONG_S` (21.46).
        placed: Where parts begin: evenly as in the paper, or drawn from the seed of each clip.
    """

    num_levels: int = 4
    num_parts: int = 2
    num_views: int = 2
    clip_s: float = SHORT_S
    placed: Literal["evenly", "drawn"] = "evenly"

    def __post_init__(self) -> None:
        counts = self.num_levels, self.num_parts - 1, self.num_views, self.clip_s > 0
        if min(counts) < 1 or self.placed not in ("evenly", "drawn"):
            raise InputError(
                "Want levels and views from 1 on, 2 or more parts, a clip that lasts and parts "
                f"placed evenly or drawn, got {self.num_levels}, {self.num_views}, "
                f"{self.num_parts}, {self.clip_s:g} s and {self.placed!r}."
            )

    def clip_frames(self, sample_rate: int) -> int:
        """Samples of a whole clip."""
        frames = round(self.clip_s * sample_rate)
        if frames < self.num_parts ** (self.num_levels - 1):
            raise InputError(
                f"{self.num_levels} levels of {self.num_parts} parts want more than the {frames} "
                "samples of a clip: take fewer levels or a longer clip (--view.clip-s)."
            )
        return frames

    def min_frames(self, sample_rate: int) -> int:
        """A whole clip: none is ever padded."""
        return self.clip_frames(sample_rate)

    def draw(
        self, seed: int, position: np.ndarray, frames: np.ndarray, sample_rate: int
    ) -> np.ndarray:
        """Starts of the whole clips, [n, V] int64."""
        room = frames - self.clip_frames(sample_rate)
        bits = draw(seed, "whole", position[:, None], np.arange(self.num_views))
        return np.asarray(integers(bits, 0, room[:, None]))

    def apply(self, batch: Batch) -> Batch:
        """Whole clips as float32, and their parts."""
        batch = to_float(batch)
        parts = (_cut(batch.clips, start, size) for start, size in self._places(batch))
        return replace(batch, parts=tuple(parts))

    def _places(self, batch: Batch) -> Iterator[tuple[Tensor, int]]:
        """Level by level: first samples of parts in their whole clip, [B, V, M^n], and length."""
        import torch

        size = batch.clips.shape[-1]
        start = torch.zeros_like(batch.seed)[..., None]
        for level in range(1, self.num_levels):
            number = torch.arange(self.num_parts**level, device=start.device)
            whole, size = size, batch.clips.shape[-1] // self.num_parts**level
            start = start.repeat_interleave(self.num_parts, dim=-1)
            start = start + self._inside(batch.seed[..., None], level, number, size, whole - size)
            yield start, size

    def _inside(self, seed: Ints, level: int, number: Ints, size: int, room: int) -> Any:
        """First samples of parts in the clip that each is a part of."""
        if self.placed == "evenly":
            return number % self.num_parts * size
        return integers(draw(level, "part", seed, number), 0, room)


def _cut(clips: Tensor, start: Tensor, size: int) -> Tensor:
    """Parts [B, V, P, size] of clips [B, V, T] from samples [B, V, P] on."""
    import torch

    b, v = (torch.arange(n, device=start.device) for n in start.shape[:2])
    return clips.unfold(-1, size, 1)[b[:, None, None], v[:, None], start]
