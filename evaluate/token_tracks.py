"""Tokens of whole tracks: windows stitched in time, kept up to a limit, streamed again beyond."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import groupby

import numpy as np
import torch

from evaluate.embed import Embedder, Extraction, encoder_sha256, window_frames
from evaluate.frames import Tokens, frame_rate_hz, frames_of
from shards.errors import InputError
from shards.index import Index

CACHE_BYTES = 2 * 2**30
"""Tokens held in memory. Tracks beyond it are read and encoded again in every pass over them."""

Read = Callable[[np.ndarray], Iterator[Tokens]]
"""Index rows [n] → the windows of these tracks, tracks by ascending row."""


@dataclass(frozen=True, eq=False)
class TokenTrack:
    """What an encoder heard of a track.

    Args:
        row: Its index row.
        tokens: float32 [K, N, D], N at the encoder's rate from the track's begin.
        mask: bool [N], False where no window has a token.
    """

    row: int
    tokens: np.ndarray
    mask: np.ndarray


def token_tracks(
    encoder: Embedder,
    index: Index,
    *,
    window_s: float | None = None,
    extraction: Extraction | None = None,
    layers: bool = True,
) -> TokenTracks:
    """Tokens of an archive's tracks, of all layers or of the last; see `frames_of`."""
    extraction = extraction or Extraction()
    facts = {
        "encoder": encoder_sha256(encoder),
        "versions": [version("wholetone"), torch.__version__],
        "archive": index.fingerprint,
        "window_frames": window_frames(encoder, index, window_s),
        "feature": "tokens of all layers" if layers else "tokens of the last layer",
        "precision": extraction.precision,
    }
    id_ = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
    rate_hz = frame_rate_hz(encoder)

    def read(rows: np.ndarray) -> Iterator[Tokens]:
        return frames_of(
            encoder, index, rows, window_s=window_s, extraction=extraction, layers=layers
        )

    return TokenTracks(read, id=id_, rate_hz=rate_hz)


class TokenTracks:
    """Tokens of tracks by index row, the same in every pass, whatever the limit.

    Args:
        read: Gives the windows of tracks.
        id: What the tokens depend on, hashed.
        rate_hz: Tokens a second.
        cache_bytes: Limit of what is kept in memory.
    """

    def __init__(
        self, read: Read, *, id: str, rate_hz: float, cache_bytes: int = CACHE_BYTES
    ) -> None:
        self.id, self.rate_hz = id, rate_hz
        self._read, self._room = read, cache_bytes
        self._kept: dict[int, TokenTrack | None] = {}

    def of(self, rows: np.ndarray) -> Iterator[TokenTrack]:
        """The tracks of rows [n], ascending, without those that could not be read."""
        rows = np.unique(rows)
        missing = np.array([row for row in rows if int(row) not in self._kept], np.int64)
        streamed = stitch(self._read(missing), self.rate_hz) if len(missing) else iter(())
        ahead = next(streamed, None)
        for row in rows.tolist():
            track = self._kept.get(row)
            if row not in self._kept and ahead is not None and ahead.row == row:
                track, ahead = ahead, next(streamed, None)
            self._keep(row, track)
            if track is not None:
                yield track

    def first(self, rows: np.ndarray) -> TokenTrack:
        """The first of rows [n] that can be read; `InputError` if none can."""
        track = next(self.of(rows), None)
        if track is None:
            raise InputError(f"Want tokens of a track, none of {len(rows)} can be read.")
        return track

    def known(self, rows: np.ndarray) -> np.ndarray:
        """Which of rows [n], all asked for before, could be read; bool [n]."""
        return np.array([self._kept.get(int(row), True) is not None for row in rows], bool)

    def _keep(self, row: int, track: TokenTrack | None) -> None:
        size = track.tokens.nbytes if track is not None else 0
        if row not in self._kept and size <= self._room:
            self._kept[row] = track
            self._room -= size


def stitch(windows: Iterable[Tokens], rate_hz: float) -> Iterator[TokenTrack]:
    """Whole tracks of windows that come track by track; where two meet the later one counts."""
    heard = (window for window in windows if window.mask.any())
    for row, of_track in groupby(heard, key=lambda window: window.row):
        parts = [(round(window.start_s * rate_hz), window) for window in of_track]
        ends = [at + int(np.flatnonzero(window.mask)[-1]) + 1 for at, window in parts]
        num_layers, _, dim = parts[0][1].tokens.shape
        tokens = np.zeros((num_layers, max(ends), dim), np.float32)
        mask = np.zeros(max(ends), bool)
        for (at, window), end in zip(parts, ends, strict=True):
            tokens[:, at:end] = window.tokens[:, : end - at]
            mask[at:end] = window.mask[: end - at]
        yield TokenTrack(int(row), tokens, mask)
