"""Projectors and predictors."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from train.norm import BatchNorm


def mlp(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers without bias, BatchNorm and ReLU after each but the last.

    The head that Meseguer-Brocal et al. released: their text (sec. 2.2) speaks of two blocks, each
    with BatchNorm and ReLU; their code ends on a bare linear layer, which is what we build.
    """
    layers: list[nn.Module] = []
    for i, (width_in, width_out) in enumerate(pairwise(widths)):
        layers.append(nn.Linear(width_in, width_out, bias=False))
        if i < len(widths) - 2:
            layers += [BatchNorm(width_out), nn.ReLU()]
    return nn.Sequential(*layers)
