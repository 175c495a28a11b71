"""Sums: a part in the making, of a track's windows or of each window by itself."""

from __future__ import annotations

import numpy as np

from evaluate.embeddings import Embeddings
from evaluate.job import Job


class Sums:
    """Sums over the windows of each track, or of each window, which is then its own sum.

    Args:
        job: What is extracted.
        rows: Index rows of the part, ascending.
    """

    def __init__(self, job: Job, rows: np.ndarray) -> None:
        counts = job.num_windows[rows]
        self.job, self.tracks = job, rows
        self.first = np.cumsum(counts) - counts
        self.rows, self.window = rows, None
        if job.unit == "window":
            self.rows = np.repeat(rows, counts)
            self.window = np.arange(len(self.rows)) - np.repeat(self.first, counts)
        self.counts = np.zeros(len(self.rows), np.int32)
        self.sums: dict[str, np.ndarray] = {}

    def add(self, row: np.ndarray, window: np.ndarray, vectors: dict[str, np.ndarray]) -> None:
        """Count in the vectors of windows, [n, …] a feature."""
        entry = np.searchsorted(self.tracks, row)
        if self.window is not None:
            entry = self.first[entry] + window
        for name, some in vectors.items():
            sums = self._of(name, some)
            for one in np.unique(entry):
                sums[one] += some[entry == one].sum(axis=0, dtype=np.float64)
        np.add.at(self.counts, entry, 1)

    def embeddings(self, name: str, rows: np.ndarray, like: np.ndarray | None) -> Embeddings:
        """Mean vectors of a feature for some of the rows.

        Args:
            name: Of the feature.
            rows: Index rows, ascending.
            like: A vector [1, …], for its shape; wanted where no window could be read.
        """
        mine = np.isin(self.rows, rows)
        counts, sums = self.counts[mine], self._of(name, like)[mine]
        mean = sums / np.maximum(1, counts).reshape(-1, *[1] * (sums.ndim - 1))
        window = None if self.window is None else self.window[mine]
        id_ = self.job.ids[name]
        return Embeddings(id_, self.rows[mine], mean.astype(np.float32), counts, window)

    def _of(self, name: str, like: np.ndarray | None) -> np.ndarray:
        """The sums of a feature; a window's sum is its vector, a track's may need more digits."""
        if name not in self.sums:
            assert like is not None
            dtype = np.float64 if self.window is None else np.float32
            self.sums[name] = np.zeros((len(self.rows), *like.shape[1:]), dtype)
        return self.sums[name]
