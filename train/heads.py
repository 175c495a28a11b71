"""Projectors and predictors."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import nn

from train.norm import BatchNorm

End = Literal["linear", "norm", "norm-relu"]


def mlp(widths: Sequence[int], *, end: End = "linear") -> nn.Sequential:
    """Linear layers without bias, BatchNorm and ReLU between them.

    What stands after the last one differs: nothing in the code that Meseguer-Brocal et al. (2024)
    released, BatchNorm and ReLU in their text (sec. 2.2), BatchNorm in SimSiam (Chen and He, 2021,
    sec. 3), which keeps a short run of BYOL from settling on what all clips share.
    """
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise(widths):
        layers += [nn.Linear(width_in, width_out, bias=False), BatchNorm(width_out), nn.ReLU()]
    return nn.Sequential(*layers[: {"linear": -2, "norm": -1, "norm-relu": None}[end]])
