"""BYOL on two clips of a track (Meseguer-Brocal et al., 2024, sec. 2.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from shards.batch import Batch
from train.ema import ema_, frozen_copy
from train.encoders.encoder import Encoder
from train.heads import End, mlp
from train.methods.method import Method, Projections
from train.schedule import cosine


class BYOL(Method):
    """Bootstrap your own latent (Grill et al., 2020, arXiv:2006.07733).

    The student predicts the teacher's projection of the other clip. The teacher is an average of
    past students, so no pair has to be pushed apart. Two clips of a track stand for the original's
    two augmentations of an image. Widths after the released code of Meseguer-Brocal et al.; the
    teacher normalises with the statistics of its own batch, and its running statistics are
    averaged like its weights, as there.

    Args:
        encoder: What is kept when training ends.
        projector: Widths after the embedding.
        projector_end: What follows its last layer: linear (code), norm-relu (text), norm.
        predictor_hidden: Hidden width of the predictor, whose output has the projection's width.
        momentum: EMA coefficient of the teacher at the first step; rises to 1 along a cosine.
    """

    view = "pair"
    couples = False

    def __init__(
        self,
        encoder: Encoder,
        *,
        projector: Sequence[int] = (1024, 1024, 2048),
        projector_end: End = "linear",
        predictor_hidden: int = 256,
        momentum: float = 0.996,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = mlp([encoder.dim, *projector], end=projector_end)
        self.predictor = mlp([projector[-1], predictor_hidden, projector[-1]])
        self.teacher_encoder = frozen_copy(self.encoder)
        self.teacher_projector = frozen_copy(self.projector)
        self.momentum = momentum

    def embed(self, batch: Batch) -> Projections:
        """Predictions and teacher's projections [B, 2, D] of both clips."""
        features, frames = self.encoder.frontend(batch.clips.flatten(0, 1)), batch.frames.flatten()
        prediction = self.predictor(self.projector(self.encoder(features, frames)))
        with torch.no_grad():
            target = self.teacher_projector(self.teacher_encoder(features, frames))
        return {
            "prediction": torch.unflatten(prediction, 0, (-1, 2)),
            "target": torch.unflatten(target, 0, (-1, 2)),
        }

    def loss(self, projections: Projections) -> dict[str, Tensor]:
        """Each clip's prediction against the teacher's view of the other, both ways."""
        distance = regression_loss(projections["prediction"], projections["target"].flip(1))
        counted = distance[projections["valid"]]
        return {"byol": torch.stack([counted.sum(), counted.new_tensor(counted.numel())])}

    def after_step(self, gathered: Projections, progress: float) -> None:
        """Let the teacher follow the student."""
        momentum = cosine(self.momentum, 1.0, progress)
        ema_(self.teacher_encoder, self.encoder, momentum)
        ema_(self.teacher_projector, self.projector, momentum)


def regression_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared distance of the two unit vectors, 2 - 2 cos (eq. 2), [..., D] → [...]."""
    return 2 - 2 * F.cosine_similarity(prediction, target, dim=-1)
