"""frames_of(): the tokens of every window of some tracks, one after another, never all at once.

For tasks in time (beats, sections): tokens of hours of music would fill a disk, so what is learnt
from them is learnt while they pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from evaluate.embed import Embedder, Extraction, window_frames
from evaluate.forward import Forward
from evaluate.parted_plan import batch_windows
from shards.errors import InputError
from shards.index import Index
from shards.plan import WindowPlan
from shards.progress import Progress
from shards.stream import stream
from train.encoders.encoder import Encoder


@dataclass(frozen=True)
class Tokens:
    """Tokens of one window; token n begins at `start_s` + n / the encoder's frame rate.

    Args:
        row: Index row of the track.
        window: Its number in the track.
        start_s: Where in the track it begins.
        tokens: float32 [K, N, D]; K is 1 where only the last layer was asked for.
        mask: bool [N], True where a token lies inside the track.
    """

    row: int
    window: int
    start_s: float
    tokens: np.ndarray
    mask: np.ndarray


def frame_rate_hz(encoder: Embedder) -> float:
    """Tokens a second; `InputError` if the encoder has no tokens in time."""
    rate_hz = encoder.frame_rate_hz if isinstance(encoder, Encoder) else None
    if rate_hz is None:
        raise InputError(f"{encoder.name} gives no tokens in time: it cannot be judged by frames.")
    return rate_hz


def frames_of(
    encoder: Embedder,
    index: Index,
    rows: np.ndarray,
    *,
    window_s: float | None = None,
    extraction: Extraction | None = None,
    layers: bool = False,
) -> Iterator[Tokens]:
    """Tokens window by window, tracks by ascending row, windows end to end up to a track's end.

    The last window of a track is kept however little of it is inside. A window that cannot be
    read is left out.

    Args:
        encoder: In eval mode, on the extraction's device.
        index: The archive.
        rows: Index rows wanted, in any order.
        window_s: Length of a window; the encoder's own clip if None.
        extraction: How to read and compute.
        layers: Every layer, not only the last.
    """
    frame_rate_hz(encoder)
    rows = np.unique(np.asarray(rows, np.int64))
    plan = WindowPlan(index, rows, clip_frames=window_frames(encoder, index, window_s), inside=0.0)
    return _tokens(encoder, plan, extraction or Extraction(), layers) if plan.stop else iter(())


def _tokens(
    encoder: Embedder, plan: WindowPlan, extraction: Extraction, layers: bool
) -> Iterator[Tokens]:
    rate_hz = plan.selection.sample_rate
    size = min(plan.stop, batch_windows(encoder, plan.clip_frames, rate_hz, extraction))
    forward = Forward(encoder, rate_hz, extraction)
    with (
        Progress(f"tokens, {encoder.name}", total=plan.stop, unit="windows") as bar,
        stream(
            plan,
            batch_size=size,
            backend=extraction.backend,
            num_workers=extraction.num_workers,
        ) as batches,
    ):
        for batch in batches:
            read = batch.valid
            row, start = batch.row[read].tolist(), batch.start[read, 0].tolist()
            if row:
                clips, frames = batch.clips[read, 0], batch.frames[read, 0]
                tokens, mask = forward.tokens(clips, frames, layers=layers)
                for i, at in enumerate(start):
                    number, start_s = at // plan.hop_frames, at / rate_hz
                    yield Tokens(row[i], number, start_s, tokens[i], mask[i])
            bar.update(int((batch.position < plan.stop).sum()))
