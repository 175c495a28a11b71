"""Tokens of whole tracks: windows stitched in time, kept up to a limit, streamed again beyond it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from evaluate.frames import Tokens

CACHE_BYTES = 2 * 2**30
"""Tokens held in memory. Tracks beyond it are read and encoded again in every pass over them."""

Read = Callable[[np.ndarray], Iterator[Tokens]]
"""Index rows [n] → the windows of these tracks, track by track in that order."""


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
        """The tracks of rows [n] in this order, without those that could not be read."""
        missing = np.array([row for row in rows if int(row) not in self._kept], np.int64)
        streamed = stitch(self._read(missing), self.rate_hz) if len(missing) else iter(())
        ahead = next(streamed, None)
        for row in map(int, rows):
            track = self._kept.get(row)
            if row not in self._kept and ahead is not None and ahead.row == row:
                track, ahead = ahead, next(streamed, None)
            self._keep(row, track)
            if track is not None:
                yield track

    def _keep(self, row: int, track: TokenTrack | None) -> None:
        size = track.tokens.nbytes if track is not None else 0
        if row not in self._kept and size <= self._room:
            self._kept[row] = track
            self._room -= size


def stitch(windows: Iterable[Tokens], rate_hz: float) -> Iterator[TokenTrack]:
    """Whole tracks of windows that come track by track; where two meet the later one counts."""
    for row, of_track in groupby(windows, key=lambda window: window.row):
        parts = [(round(window.start_s * rate_hz), window) for window in of_track]
        ends = [at + int(np.flatnonzero(window.mask)[-1]) + 1 for at, window in parts]
        num_layers, _, dim = parts[0][1].tokens.shape
        tokens = np.zeros((num_layers, max(ends), dim), np.float32)
        mask = np.zeros(max(ends), bool)
        for (at, window), end in zip(parts, ends, strict=True):
            tokens[:, at:end] = window.tokens[:, : end - at]
            mask[at:end] = window.mask[: end - at]
        yield TokenTrack(int(row), tokens, mask)
