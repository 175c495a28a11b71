"""Clips and their parts come at the rate that the encoder wants."""

from dataclasses import replace

import torch

from shards.views.hierarchical import HierarchicalCrops
from tests.train.conftest import pairs
from train.frontend import resampler
from train.loop import _resampled

EDGE = 60  # samples that a part alone cannot know the neighbours of


def test_parts_are_resampled_like_the_clips_that_they_are_cut_from():
    drawn = pairs(3, samples=8192)
    ints = (drawn.clips * 20_000).to(torch.int16)
    applied = HierarchicalCrops(num_levels=3).apply(replace(drawn, clips=ints))
    batch = _resampled(applied, resampler(16_000, 8_000))
    assert batch.clips.shape == (3, 2, 4096)
    assert (batch.frames == 4096).all()
    for level, parts in enumerate(batch.parts, 1):
        size = 4096 // 2**level
        assert parts.shape == (3, 2, 2**level, size)
        for m in range(2**level):
            whole = batch.clips[..., m * size : (m + 1) * size]
            inside = (..., slice(EDGE, size - EDGE))
            torch.testing.assert_close(parts[:, :, m][inside], whole[inside], atol=1e-5, rtol=0)


def test_nothing_happens_at_the_right_rate():
    batch = pairs(2, samples=100)
    assert _resampled(batch, resampler(16_000, 16_000)) is batch
