"""A small encoder and batches of small integers, for what needs no archive."""

import numpy as np
import pytest
import torch

from shards.batch import Batch
from train.methods.method import Archive

SMALL = {"clip_s": 1.0, "width": 8, "layers": (1, 1, 1, 1), "dim": 32, "n_mels": 64}


@pytest.fixture
def small_encoder():
    from train.encoders import build_encoder

    return build_encoder("resnet", SMALL, seed=0)


class PitchLabels:
    """Labels of the tracks of `pairs`: the lower half of the pitches, and the upper."""

    name, kind, classes, info = "pitch", "class", ["low", "high"], {"sha256": "0" * 64}

    def rows(self, split):
        return np.arange(8)

    def targets(self, split):
        assert split == "train"
        return np.repeat([0, 1], 4)


ARCHIVE = Archive(num_rows=8, sample_rate=16_000, labels=lambda name: PitchLabels())

NARROW = {
    "byol": {"projector": (32, 16)},
    "contrastive": {"projector": (32, 16)},
    "finetune": {"labels": "pitch", "hidden": 16},
}
"""Arguments of a small method of each name."""


@pytest.fixture
def batch():
    return pairs(8)


def pairs(count, *, seed=0, samples=16_000):
    """Clips of `count` chords: both clips of a pair have its pitch, each its own phase."""
    generator = torch.Generator().manual_seed(seed)
    pitch = torch.linspace(100, 900, count)[:, None, None]
    phase = 6.28 * torch.rand(count, 2, 1, generator=generator)
    t = torch.arange(samples) / 16_000
    noise = 0.05 * torch.randn(count, 2, samples, generator=generator)
    return Batch(
        clips=0.3 * torch.sin(6.2832 * pitch * t + phase) + noise,
        position=torch.arange(count),
        row=torch.arange(count),
        start=torch.zeros(count, 2, dtype=torch.long),
        frames=torch.full((count, 2), samples),
        seed=torch.zeros(count, 2, dtype=torch.long),
        valid=torch.ones(count, dtype=torch.bool),
    )
