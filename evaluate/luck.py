"""Luck of training heads, addressed: a seed, a purpose and a step name every draw.

So configurations of one batch size share their luck, a head trained alone has the same as in a
grid, the device does not matter, and an interrupted training needs no generator's state.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

PURPOSES = ("first weights", "layers", "batch", "input noise", "hidden noise")

LEVELS = 1 << 16
"""Steps in which a dropout rate is resolved."""


class Luck:
    """Draws of one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def uniform(self, purpose: str, number: int, shape: tuple[int, ...]) -> Tensor:
        """Numbers in -1 … 1, float64."""
        return torch.from_numpy(self._numbers(purpose, number).uniform(-1, 1, shape))

    def normal(self, purpose: str, number: int, shape: tuple[int, ...]) -> Tensor:
        """Numbers of a standard normal distribution, float64."""
        return torch.from_numpy(self._numbers(purpose, number).standard_normal(shape))

    def batch(self, step: int, num_samples: int, size: int) -> Tensor | None:
        """Which samples [size] a step sees, drawn without replacement; None is all of them."""
        if size >= num_samples:
            return None
        chosen = self._numbers("batch", step).choice(num_samples, size, replace=False)
        return torch.from_numpy(chosen)

    def noise(self, purpose: str, step: int, shape: tuple[int, ...]) -> Tensor:
        """Levels, int16, of which the lowest `rate` are dropped (`threshold`)."""
        levels = self._numbers(purpose, step).integers(LEVELS, size=shape, dtype=np.uint16)
        return torch.from_numpy(levels.view(np.int16))

    def _numbers(self, purpose: str, number: int) -> np.random.Generator:
        address = [self.seed, PURPOSES.index(purpose), number]
        return np.random.Generator(np.random.SFC64(np.random.SeedSequence(address)))


def threshold(rate: float) -> int:
    """The lowest level of noise that is kept under a dropout rate of [0, 1)."""
    if not 0 <= rate < 1:
        raise ValueError(f"A dropout rate is at least 0 and below 1, got {rate}.")
    return min(round(rate * LEVELS), LEVELS - 1) - LEVELS // 2
