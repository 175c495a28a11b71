"""Heads end as the three sources say."""

import pytest
import torch
from torch import nn

from train.heads import mlp
from train.norm import BatchNorm


@pytest.mark.parametrize(
    ("end", "kinds"),
    [
        ("linear", [nn.Linear, BatchNorm, nn.ReLU, nn.Linear]),
        ("norm", [nn.Linear, BatchNorm, nn.ReLU, nn.Linear, BatchNorm]),
        ("norm-relu", [nn.Linear, BatchNorm, nn.ReLU, nn.Linear, BatchNorm, nn.ReLU]),
    ],
)
def test_what_follows_the_last_layer(end, kinds):
    head = mlp([8, 16, 4], end=end)
    assert [type(layer) for layer in head] == kinds
    assert head(torch.randn(5, 8)).shape == (5, 4)


def test_the_released_heads_have_the_papers_size():
    """4.20 M for the projector and 1.05 M for BYOL's predictor, counted in the released code."""

    def millions(head):
        return sum(p.numel() for p in head.parameters()) / 1e6

    assert millions(mlp([1024, 1024, 1024, 2048])) == pytest.approx(4.20, abs=0.01)
    assert millions(mlp([2048, 256, 2048])) == pytest.approx(1.05, abs=0.01)
