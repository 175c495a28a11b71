"""Scaler: features at zero mean and unit deviation, fitted once and then fixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Scaler:
    """Zero mean and unit deviation a feature, by the tracks it was fitted on."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray) -> Scaler:
        """The scaler of features [n, …]; a constant feature is only centred."""
        wide = features.astype(np.float64)
        std = wide.std(axis=0)
        constant = std <= 1e-7 * np.abs(wide).max(axis=0, initial=0.0)
        return cls(wide.mean(axis=0), np.where(constant, 1.0, std))

    def __call__(self, features: np.ndarray) -> Tensor:
        """Features [n, …], scaled, float32."""
        return torch.from_numpy(((features - self.mean) / self.std).astype(np.float32))
