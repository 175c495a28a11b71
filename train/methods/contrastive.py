"""Contrastive learning of two clips of a track (Meseguer-Brocal et al., 2024, sec. 2.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from shards.batch import Batch
from train.encoders.encoder import Encoder
from train.heads import End, mlp
from train.losses import nt_xent
from train.methods.method import Method, Projections


class Contrastive(Method):
    """SimCLR without augmentation: two clips of a track, all others of the batch as negatives.

    Loss NT-Xent (Chen et al., 2020, arXiv:2002.05709). Temperature and in-batch negatives after
    the paper's sec. 2.3, widths of the head after its released code.

    Args:
        encoder: What is kept when training ends.
        projector: Widths after the embedding.
        projector_end: What follows its last layer: linear (code), norm-relu (text), norm.
        temperature: τ of the similarities.
    """

    view = "pair"

    def __init__(
        self,
        encoder: Encoder,
        *,
        projector: Sequence[int] = (1024, 1024, 2048),
        projector_end: End = "linear",
        temperature: float = 0.1,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = mlp([encoder.dim, *projector], end=projector_end)
        self.temperature = temperature

    def embed(self, batch: Batch) -> Projections:
        """Projections of both clips, "a" and "b" [B, D]."""
        features = self.encoder.frontend(batch.clips.flatten(0, 1))
        z = self.projector(self.encoder(features, batch.frames.flatten()))
        a, b = torch.unflatten(z, 0, (-1, 2)).unbind(1)
        return {"a": a, "b": b}

    def loss(self, projections: Projections) -> dict[str, Tensor]:
        """NT-Xent of the global batch."""
        return {
            "nt_xent": nt_xent(
                projections["a"],
                projections["b"],
                temperature=self.temperature,
                row=projections["row"],
                valid=projections["valid"],
            )
        }
