"""Task: how a probe learns a kind of label and how it is scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor


class Task(ABC):
    """A kind of label, set up on the targets of train alone.

    Args:
        targets: Targets of train [n] or [n, K], as `Labels.targets` gives them.
        num_classes: K, 0 for numbers.
    """

    metrics: ClassVar[tuple[str, ...]]
    """Names in METRICS; the first is primary, higher is better."""

    def __init__(self, targets: np.ndarray, num_classes: int) -> None:
        self.num_outputs = num_classes

    @property
    @abstractmethod
    def curvature(self) -> float:
        """Largest second derivative of a track's loss by its outputs."""

    @staticmethod
    @abstractmethod
    def objection(train: np.ndarray, valid: np.ndarray) -> str:
        """Why these targets can teach nothing, "" if they can."""

    @abstractmethod
    def encode(self, targets: np.ndarray, dtype: torch.dtype) -> Tensor:
        """Targets as the loss wants them, [n] or [n, K]."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean loss [C] of outputs [C, n, K]: one a configuration."""

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs [n, K] as the metrics want them."""
        return outputs

    def probabilities(self, outputs: Tensor, *, dim: int) -> Tensor:
        """Outputs [..., K, ...], K at `dim`, on a scale that can be averaged over windows."""
        raise ValueError("Numbers have no probabilities; windows of a track take 'mean'.")

    def votes(self, outputs: Tensor, *, dim: int) -> Tensor:
        """Ones for what a window answers, else zeros; K at `dim`."""
        raise ValueError("Numbers have no votes; windows of a track take 'mean'.")

    @abstractmethod
    def constant(self, num_tracks: int) -> np.ndarray:
        """What one would answer without listening, as `decode` gives it, from train alone."""
