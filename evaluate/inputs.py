"""What heads see of features: some samples, scaled or not, one layer or all, dropout of the input.

Features are [n, D], or [n, L, D] for encoders of L layers; nothing is copied for a configuration,
only for a way of seeing, and then a batch at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from evaluate.luck import threshold

ROWS = 4096
"""Samples that are widened to float64 at a time."""


class Sight(NamedTuple):
    """A way of seeing features; configurations that share it share their first product.

    Args:
        standardise: By mean and deviation of train.
        dropout: Of the input.
        layer: A layer's number, "sum" for all of them, None where features have no layers.
    """

    standardise: bool
    dropout: float
    layer: int | Literal["sum"] | None


@dataclass(frozen=True)
class Scaling:
    """Zero mean and unit deviation a feature, by the samples it was fitted on."""

    mean: Tensor
    std: Tensor

    @classmethod
    def fit(cls, features: Tensor) -> Scaling:
        """The scaling of features [n, …] in float64; a constant feature is only centred."""
        slices = torch.split(features, ROWS)
        mean = torch.stack([x.double().sum(dim=0) for x in slices]).sum(dim=0) / len(features)
        squares = [(x.double() - mean).square().sum(dim=0) for x in slices]
        std = (torch.stack(squares).sum(dim=0) / len(features)).sqrt()
        largest = torch.stack([x.abs().amax(dim=0) for x in slices]).amax(dim=0)
        std = torch.where(std <= 1e-7 * largest, 1.0, std)
        return cls(mean.to(features), std.to(features))

    def __call__(self, features: Tensor, layer: int | None = None) -> Tensor:
        """Features [n, …], scaled; of one layer if it is given."""
        at = slice(None) if layer is None else layer
        return (features - self.mean[at]) / self.std[at]


@dataclass(frozen=True)
class Seen:
    """What a sight shows of some samples.

    Args:
        x: [B, D] with input dropout applied, or [B, L, D] without it where layers are summed.
        kept: Factors [B, D] of the input dropout that a sum of layers has still to bear.
    """

    x: Tensor
    kept: Tensor | None = None


def see(features: Tensor, sight: Sight, scaling: Scaling | None, noise: Tensor | None) -> Seen:
    """Samples [B, D] or [B, L, D] as a sight shows them; without noise nothing is dropped."""
    layer = None if sight.layer == "sum" else sight.layer
    x = features if layer is None else features[:, layer]
    if sight.standardise:
        assert scaling is not None
        x = scaling(x, layer)
    if noise is None or sight.dropout == 0:
        return Seen(x)
    kept = (noise >= threshold(sight.dropout)).to(x) / (1 - sight.dropout)
    return Seen(x, kept) if sight.layer == "sum" else Seen(x * kept)


def check_layers(shape: tuple[int, ...], layers: set[int | str | None]) -> None:
    """Refuse layers that features [n, D] or [n, L, D] do not have."""
    if len(shape) == 2 and layers == {None}:
        return
    there = range(shape[1]) if len(shape) == 3 else ()
    wrong = [name for name in layers if name not in (*there, *(["sum"] if there else []))]
    if wrong:
        raise ValueError(
            f"Features of shape {list(shape)} want "
            + (f"a layer of 0 … {len(there) - 1} or 'sum'" if there else "no layer")
            + f" in each configuration, got {sorted(map(str, wrong))}."
        )
