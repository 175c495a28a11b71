"""One of K classes."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from evaluate.tasks.task import Task


class Classes(Task):
    """A class a track: cross-entropy, accuracy."""

    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)

    def __init__(self, targets: np.ndarray, num_classes: int) -> None:
        super().__init__(targets, num_classes)
        self._share = np.bincount(targets, minlength=num_classes) / len(targets)

    @property
    def curvature(self) -> float:
        """Of the cross-entropy (Böhning, 1992)."""
        return 0.5

    @staticmethod
    def objection(train: np.ndarray, valid: np.ndarray) -> str:
        """Two classes at least."""
        found = len(np.unique(train))
        return "" if found > 1 else f"want at least 2 classes in train, got {found}"

    def encode(self, targets: np.ndarray, dtype: torch.dtype) -> Tensor:
        """Class numbers [n]."""
        return torch.from_numpy(targets.astype(np.int64))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy [C] of logits [C, n, K]."""
        wanted = targets.expand(len(outputs), -1)
        return F.cross_entropy(outputs.movedim(-1, 1), wanted, reduction="none").mean(dim=1)

    def probabilities(self, outputs: Tensor, *, dim: int) -> Tensor:
        """Softmax over the classes."""
        return outputs.softmax(dim=dim)

    def votes(self, outputs: Tensor, *, dim: int) -> Tensor:
        """One for the class of the largest logit."""
        first = outputs.argmax(dim=dim, keepdim=True)
        return torch.zeros_like(outputs).scatter_(dim, first, 1.0)

    def constant(self, num_tracks: int) -> np.ndarray:
        """The share of each class in train, so that the largest is always answered."""
        return np.tile(self._share, (num_tracks, 1))
