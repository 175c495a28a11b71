"""Classes of windows against the truth: per-track counts, and shares of them under weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

RIGHT, JUDGED = 0, 1
"""Columns of what is known of a track: windows whose class was right, windows that have one."""


def segment_results(truth: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> np.ndarray:
    """The columns [n, 2] of n tracks, from true and found classes of windows; -1 is no class."""
    rows = [((a == b)[a >= 0].sum(), (a >= 0).sum()) for a, b in zip(truth, found, strict=True)]
    return np.array(rows, np.float64).reshape(-1, 2)


def of_windows(outputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share [S] of the windows of all tracks that are right, under weights [S, n]."""
    return _ratio(weights @ outputs[:, RIGHT], weights @ outputs[:, JUDGED])


def of_tracks(outputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over tracks [S] of the share of windows that are right; tracks without do not count."""
    share = np.nan_to_num(_ratio(outputs[:, RIGHT], outputs[:, JUDGED]))
    return _ratio(weights @ share, weights @ (outputs[:, JUDGED] > 0).astype(np.float64))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0))


SEGMENT_SCORES: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "window_accuracy": ("accuracy of windows", of_windows),
    "track_accuracy": ("accuracy of windows, mean of tracks", of_tracks),
}
"""Name of a metric → its title, and the score [S] of outputs [n, 2] under weights [S, n]."""
