"""Method: embed a batch, then the loss of the global batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from shards.batch import Batch
from shards.labels import Labels
from train.distributed import all_reduce, gather, world_size
from train.encoders.encoder import Encoder

Projections = dict[str, Tensor]


@dataclass(frozen=True)
class Archive:
    """What a method may know of the data before it starts.

    Args:
        num_rows: Tracks, the range of `Batch.row`.
        sample_rate: Of the clips, in Hz.
        labels: Opens a label set of the archive by its name.
    """

    num_rows: int
    sample_rate: int
    labels: Callable[[str], Labels]


class Method(nn.Module):
    """Base of all methods. Keyword-only constructor arguments are its hyperparameters.

    `forward` is the one pass that goes through the wrapper of DistributedDataParallel:
    loss(gather(embed(batch))). State that is not trained by gradients changes in `after_step`
    and nowhere else.
    """

    view: ClassVar[str]
    couples: ClassVar[bool] = True
    """Whether the loss of a clip depends on other clips: then all processes' projections are
    gathered, with exact gradients, before the loss; otherwise the loss gives sums and counts."""
    encoder: Encoder

    facts: dict[str, Any] | None = None
    """Of a head that is kept beside the encoder, None if there is none; it is called `head`."""

    @classmethod
    def where(cls, settings: dict[str, Any]) -> tuple[str, ...]:
        """Conditions on tracks that a method with these settings brings along (see `filters`)."""
        return ()

    def setup(self, archive: Archive) -> None:
        """Learn the size of the data before the first step."""

    def embed(self, batch: Batch) -> Projections:
        """What the loss needs of this process's clips; first axis B."""
        raise NotImplementedError

    def loss(self, projections: Projections) -> dict[str, Tensor]:
        """Named terms, whose sum is minimised.

        Scalars of the global batch if the method couples clips, else [2] tensors (sum, count) of
        this process's valid clips.
        """
        raise NotImplementedError

    def after_step(self, gathered: Projections, progress: float) -> None:
        """Change teachers, centres and other state, once an optimiser step."""

    def forward(self, batch: Batch) -> tuple[dict[str, Tensor], Projections]:
        """Terms of the loss as float32 scalars, equal on all processes, and what was gathered."""
        projections = {name: _wide(x) for name, x in self.embed(batch).items()}
        projections |= {"row": batch.row, "position": batch.position, "valid": batch.valid}
        if self.couples:
            projections = gather(projections)
        with torch.autocast(batch.clips.device.type, enabled=False):
            terms = self.loss(projections)
            if not self.couples:
                terms = {name: _mean(part) for name, part in terms.items()}
        return terms, {name: x.detach() for name, x in projections.items()}


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.is_floating_point() and x.dtype is not torch.float64 else x


def _mean(part: Tensor) -> Tensor:
    """Global mean of (sum, count); its gradient, averaged over processes, is that of the mean."""
    if world_size() == 1:
        return part[0] / part[1].clamp(min=1)
    total: Tensor = all_reduce(part)
    return total[0] / total[1].detach().clamp(min=1)
