"""Tokens of every window of some tracks, streamed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from evaluate.embed import Extraction, window_frames
from shards.errors import InputError
from shards.index import Index
from shards.plan import WindowPlan
from shards.stream import stream
from train.encoders.encoder import Encoder
from train.frontend import resampler


@dataclass(frozen=True)
class Tokens:
    """Tokens of one window."""

    row: int
    window: int
    start_s: float
    tokens: np.ndarray
    mask: np.ndarray


def frame_rate_hz(encoder):
    if getattr(encoder, "frame_rate_hz", None) is None:
        raise InputError(f"{encoder.name} gives no tokens in time: it cannot be judged by frames.")
    return encoder.frame_rate_hz


@torch.inference_mode()
def frames_of(
    encoder: Encoder,
    index: Index,
    rows: np.ndarray,
    *,
    window_s: float | None = None,
    extraction: Extraction | None = None,
    layers: bool = False,
) -> Iterator[Tokens]:
    """Windows of tracks in the order of `rows`."""
    extraction = extraction or Extraction()
    plan = WindowPlan(index, np.unique(rows), clip_frames=window_frames(encoder, index, window_s))
    resample = resampler(index.sample_rate, encoder.sample_rate)
    with stream(
        plan, batch_size=min(extraction.batch_size, plan.stop), num_workers=extraction.num_workers
    ) as batches:
        for batch in batches:
            waveform = resample(torch.from_numpy(batch.clips[:, 0].copy()).float() / 32768)
            short = max(0, encoder.clip_frames - waveform.shape[1])
            waveform = nn.functional.pad(waveform, (0, short))
            true = torch.from_numpy(batch.frames[:, 0] * encoder.sample_rate // index.sample_rate)
            encoded = encoder.trunk(encoder.frontend(waveform), true)
            kept = encoded.layers if layers else encoded.layers[-1:]
            for i in np.flatnonzero(batch.valid):
                start = int(batch.start[i, 0])
                yield Tokens(
                    row=int(batch.row[i]),
                    window=start // plan.hop_frames,
                    start_s=start / index.sample_rate,
                    tokens=kept[:, i].numpy(),
                    mask=encoded.mask[i].numpy(),
                )
