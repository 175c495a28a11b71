"""Fine-tuning: encoder and head learn the labels of a share of train."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shards.batch import Batch
from shards.errors import InputError
from shards.labels import Labels
from shards.share import drawn
from train.encoders.encoder import Encoder
from train.methods.method import Archive, Method, Projections

KINDS = ("class", "key", "tags", "number")
"""Of labels: one target a track."""


class FineTune(Method):
    """Supervised training of a pre-trained encoder (`--init RUN`), or of a new one without it.

    As MART and Meseguer-Brocal et al. (2024) judge with few labels: a head on the pooled embedding
    of a clip, trained with the encoder on 1 %, 10 % or all of the training tracks. Neither paper
    states head, optimiser or schedule: these are ours. Only targets of train are read here; valid
    chooses and test is opened by `evaluate --protocol finetuned`.

    Args:
        encoder: What is fine-tuned.
        labels: Label set of the archive: classes, keys, tags or numbers.
        share: Of its training tracks, drawn once.
        draw: Which draw of that share.
        pool: What makes a vector of a clip, the encoder's default if "".
        hidden: Units of the head's hidden layer, 0 for a linear head.
        dropout: Before each layer of the head.
        learns: "all", or "head" on a frozen encoder.
    """

    view = "clip"
    couples = False

    def __init__(
        self,
        encoder: Encoder,
        *,
        labels: str = "",
        share: float = 1.0,
        draw: int = 0,
        pool: str = "",
        hidden: int = 0,
        dropout: float = 0.0,
        learns: Literal["all", "head"] = "all",
    ) -> None:
        super().__init__()
        if not labels or not 0 < share <= 1:
            raise InputError(
                "Fine-tuning wants --method.labels NAME and a --method.share in (0, 1], got "
                f"{labels!r} and {share}."
            )
        if pool and pool not in encoder.pools:
            raise InputError(f"No pool {pool!r}; the encoder has {sorted(encoder.pools)}.")
        self.encoder = encoder.requires_grad_(learns == "all")
        self.labels, self.learns, self.share, self.drawn = labels, learns, share, draw
        self.pool = pool or next(iter(encoder.pools))
        self.hidden, self.dropout = hidden, dropout
        self.head: nn.Sequential
        self.targets: Tensor
        self.facts: dict[str, Any] = {}

    @classmethod
    def where(cls, settings: dict[str, Any]) -> tuple[str, ...]:
        """The tracks of train that were drawn, and no other."""
        name, draw = settings.get("labels", ""), settings.get("draw", 0)
        return (f"share({name}, {draw}) <= {settings.get('share', 1.0)}",)

    def setup(self, archive: Archive) -> None:
        """Take targets of train by row, and make the head."""
        labels = archive.labels(self.labels)
        if labels.kind not in KINDS:
            raise InputError(
                f"Labels {labels.name!r} are of kind {labels.kind!r}; fine-tuning wants {KINDS}."
            )
        targets = torch.from_numpy(labels.targets("train"))
        outputs = 1 if labels.kind == "number" else len(labels.classes)
        self.facts = {
            "labels": labels.name,
            "label_sha256": labels.info["sha256"],
            "kind": labels.kind,
            "pool": self.pool,
            "tracks": len(drawn(len(targets), self.share, seed=self.drawn)),
            "outputs": outputs,
            "hidden": self.hidden,
            "mean": 0.0,
            "std": 1.0,
        }
        if labels.kind == "number":
            self.facts |= {
                "mean": float(targets.mean()),
                "std": float(targets.std(correction=0)) or 1.0,
            }
            targets = ((targets - self.facts["mean"]) / self.facts["std"]).float()
        by_row = targets.new_zeros((archive.num_rows, *targets.shape[1:]))
        by_row[torch.from_numpy(labels.rows("train"))] = targets
        self.register_buffer("targets", by_row, persistent=False)
        self.head = head(self._width(), outputs, hidden=self.hidden, dropout=self.dropout)

    def _width(self) -> int:
        """Width of the pool's vectors, by a clip of silence."""
        frames = torch.tensor([self.encoder.clip_frames])
        was_training = self.encoder.training
        with torch.no_grad():
            silence = torch.zeros(1, self.encoder.clip_frames)
            width = self.encoder.eval().embed(silence, frames, pool=self.pool).shape[1]
        self.encoder.train(was_training)
        return int(width)

    def train(self, mode: bool = True) -> FineTune:
        """A frozen encoder stays in evaluation mode: its statistics are frozen as well."""
        super().train(mode)
        if self.learns == "head":
            self.encoder.eval()
        return self

    def embed(self, batch: Batch) -> Projections:
        """Outputs [B, V, K] of the head for every clip."""
        features = self.encoder.frontend(batch.clips.flatten(0, 1))
        with torch.set_grad_enabled(self.learns == "all" and torch.is_grad_enabled()):
            encoded = self.encoder.trunk(features, batch.frames.flatten())
            vectors = self.encoder.pools[self.pool](encoded)
        outputs = self.head(vectors)
        return {"outputs": torch.unflatten(outputs, 0, batch.clips.shape[:2])}

    def loss(self, projections: Projections) -> dict[str, Tensor]:
        """Cross-entropy, binary cross-entropy over tags, or squared error of standardised numbers.

        The mean over the clips of valid tracks.
        """
        outputs = projections["outputs"]
        targets = self.targets[projections["row"]]
        each = clip_loss(self.facts["kind"], outputs, targets)[projections["valid"]]
        return {"finetune": torch.stack([each.sum(), each.new_tensor(each.numel())])}


def head(width: int, outputs: int, *, hidden: int = 0, dropout: float = 0.0) -> nn.Sequential:
    """Vectors [n, width] → outputs [n, K]; linear, or with one hidden layer and ReLU."""
    if not hidden:
        return nn.Sequential(nn.Dropout(dropout), nn.Linear(width, outputs))
    return nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(width, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, outputs),
    )


def clip_loss(kind: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """Loss [B, V] of outputs [B, V, K] for targets [B] or [B, K]."""
    views = outputs.shape[1]
    if kind == "number":
        return (outputs[..., 0] - targets[:, None]).square()
    if kind == "tags":
        wanted = targets[:, None].expand(-1, views, -1).to(outputs.dtype)
        return F.binary_cross_entropy_with_logits(outputs, wanted, reduction="none").mean(-1)
    wanted = targets[:, None].expand(-1, views)
    return F.cross_entropy(outputs.flatten(0, 1), wanted.flatten(), reduction="none").view_as(
        wanted
    )


def objection(labels: Labels, facts: dict[str, Any]) -> str:
    """Why a head with these facts does not answer these labels, "" if it does."""
    wanted, found = (facts["labels"], facts["label_sha256"]), (labels.name, labels.info["sha256"])
    if wanted == found:
        return ""
    return f"the run was fine-tuned on {wanted[0]!r} as it was then, {wanted[1][:12]}…"
