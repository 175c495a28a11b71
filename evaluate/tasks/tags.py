"""Any of K tags."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from evaluate.metrics import judged
from evaluate.tasks.task import Task


class Tags(Task):
    """Tags a track: binary cross-entropy, macro ROC-AUC and mAP."""

    metrics: ClassVar[tuple[str, ...]] = ("roc_auc", "average_precision")

    def __init__(self, targets: np.ndarray, num_classes: int) -> None:
        super().__init__(targets, num_classes)
        self._share = targets.mean(axis=0)

    @property
    def curvature(self) -> float:
        """Of the mean of K sigmoid losses."""
        return 0.25 / self.num_outputs

    @staticmethod
    def objection(train: np.ndarray, valid: np.ndarray) -> str:
        """A tag at least that some tracks bear and some do not, in train and in valid."""
        for split, targets in (("train", train), ("valid", valid)):
            if not judged(targets).any():
                return f"no tag has both a positive and a negative track in {split}"
        return ""

    def encode(self, targets: np.ndarray, dtype: torch.dtype) -> Tensor:
        """Zeros and ones [n, K]."""
        return torch.from_numpy(targets).to(dtype)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy [C] of logits [C, n, K], mean over tags and tracks."""
        wanted = targets.expand_as(outputs)
        loss = F.binary_cross_entropy_with_logits(outputs, wanted, reduction="none")
        return loss.mean(dim=(1, 2))

    def probabilities(self, outputs: Tensor, *, dim: int) -> Tensor:
        """Sigmoids."""
        return outputs.sigmoid()

    def votes(self, outputs: Tensor, *, dim: int) -> Tensor:
        """One for each tag of probability above one half."""
        return (outputs > 0).to(outputs)

    def constant(self, num_tracks: int) -> np.ndarray:
        """The share of each tag in train: a tie for every track."""
        return np.tile(self._share, (num_tracks, 1))
