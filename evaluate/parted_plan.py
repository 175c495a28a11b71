"""Windows of parts one after another, each part in batches of its own: position → row, window.

So a window's neighbours in its batch are the same whatever was computed before and whoever
computes beside, and with them every bit of its vector.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluate.forward import Embedder, Extraction
from shards.index import Index
from shards.plan import Rows, WindowPlan


class PartedPlan:
    """The windows of some parts; what a part's last batch lacks is not valid.

    Args:
        index: The archive.
        rows: Index rows of each part.
        clip_frames: Samples of a window.
        hop_frames: Samples from start to start.
        batch_size: Windows a batch.
        by_length: The longest windows of a part first, so that a batch holds windows of one
            length; else in the order of the tracks.
    """

    num_views = 1

    def __init__(
        self,
        index: Index,
        rows: Sequence[np.ndarray],
        *,
        clip_frames: int,
        hop_frames: int,
        batch_size: int,
        by_length: bool = False,
    ) -> None:
        every = np.concatenate(rows)
        self._plan = WindowPlan(index, every, clip_frames=clip_frames, hop_frames=hop_frames)
        self.selection, self.clip_frames = self._plan.selection, clip_frames
        self.num_windows = self._plan.num_windows
        part_of_row = np.repeat(np.arange(len(rows)), [len(some) for some in rows])
        self.windows = np.bincount(part_of_row, self.num_windows, len(rows)).astype(np.int64)
        self.ends = np.cumsum(-(-self.windows // batch_size)) * batch_size
        self._begins, self.stop = np.append(0, self.ends[:-1]), int(self.ends[-1])
        self._firsts = np.cumsum(self.windows) - self.windows
        self._order = np.arange(self._plan.stop)
        if by_length:
            part = np.repeat(np.arange(len(rows)), self.windows)
            lengths = self._plan.take(self._order)["frames"][:, 0]
            self._order = np.lexsort((self._order, -lengths, part))

    def take(self, position: np.ndarray) -> Rows:
        """Plan rows of positions [n]; V = 1."""
        inner, columns = self._inner(position)
        return {**self._plan.take(inner), **columns}

    def located(self, position: np.ndarray) -> Rows:
        """Plan rows with where each track's bytes lie."""
        inner, columns = self._inner(position)
        return {**self._plan.located(inner), **columns}

    def substitutes(self, position: np.ndarray, j: int) -> None:
        """None: what is judged, or kept, is this track and no other."""

    def _inner(self, position: np.ndarray) -> tuple[np.ndarray, Rows]:
        """Position in the plan without gaps, and what differs from its rows."""
        part = np.searchsorted(self._begins, position, side="right") - 1
        window = position - self._begins[part]
        last = self.windows[part] - 1
        inner = self._order[self._firsts[part] + np.minimum(window, last)]
        return inner, {"position": position, "valid": window <= last}


def batch_windows(
    encoder: Embedder, window_frames: int, sample_rate: int, given: Extraction
) -> int:
    """Windows a batch, so that it holds no more audio than `batch_size` clips of the encoder."""
    native = encoder.clip_frames * sample_rate / encoder.sample_rate
    return max(1, min(given.batch_size, int(given.batch_size * native / window_frames)))
