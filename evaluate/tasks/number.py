"""A real number."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from evaluate.tasks.task import Task


class Number(Task):
    """A number a track, standardised by train: squared error, R² and MAE."""

    metrics: ClassVar[tuple[str, ...]] = ("r2", "mae")

    def __init__(self, targets: np.ndarray, num_classes: int) -> None:
        super().__init__(targets, 1)
        self.mean, self.std = float(targets.mean()), float(targets.std())

    @property
    def curvature(self) -> float:
        """Of the square."""
        return 2.0

    @staticmethod
    def objection(train: np.ndarray, valid: np.ndarray) -> str:
        """Targets that differ, in train and in valid."""
        for split, targets in (("train", train), ("valid", valid)):
            if np.ptp(targets) == 0:
                return f"all targets in {split} are {targets[0]:g}"
        return ""

    def encode(self, targets: np.ndarray, dtype: torch.dtype) -> Tensor:
        """Standardised by the mean and deviation of train, [n]."""
        return torch.from_numpy((targets - self.mean) / self.std).to(dtype)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error [C] of outputs [C, n, 1]."""
        return (outputs[..., 0] - targets).square().mean(dim=1)

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """Numbers [n] in the unit of the target."""
        return np.asarray(outputs[:, 0] * self.std + self.mean, np.float64)

    def constant(self, num_tracks: int) -> np.ndarray:
        """The mean of train."""
        return np.full(num_tracks, self.mean)
