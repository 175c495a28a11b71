"""Beats against the truth: per-track counts, and F-measures of them under weights of the tracks.

F = 2 · hits / (beats found + true beats); a hit is a pair within the tolerance, each beat in one
pair at most. A track without a true or without a found beat has an F of 0 (as mir_eval says).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

TOLERANCES_S = {"20": 0.02, "70": 0.07}
"""20 ms: Ma et al. (2023), text; 70 ms: everybody else's, and its code."""

TRIM_S = 5.0
"""The literature of beat tracking leaves out all before."""

COLUMNS = ("f20", "f70", "f70_trimmed", "tp20", "fp20", "fn20", "tp70", "fp70", "fn70")
"""What is known of a track, [m] of the outputs [n, m] of a verdict on beats."""


def beat_results(truth: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> np.ndarray:
    """The columns [n, 9] of n tracks, from true and found beats in seconds, ascending."""
    rows = [_of_track(a, b) for a, b in zip(truth, found, strict=True)]
    return np.array(rows, np.float64).reshape(-1, len(COLUMNS))


def _of_track(truth: np.ndarray, found: np.ndarray) -> list[float]:
    counts = [_counts(truth, found, tolerance_s) for tolerance_s in TOLERANCES_S.values()]
    late = _counts(truth[truth >= TRIM_S], found[found >= TRIM_S], TOLERANCES_S["70"])
    return [*(f_measure(*c) for c in (*counts, late)), *(float(x) for c in counts for x in c)]


def _counts(truth: np.ndarray, found: np.ndarray, tolerance_s: float) -> tuple[int, int, int]:
    """Hits, beats found where none is, true beats not found."""
    hits = num_hits(truth, found, tolerance_s)
    return hits, len(found) - hits, len(truth) - hits


def f_measure(hits: float, false: float, missed: float) -> float:
    """Harmonic mean of precision and recall; 0 without a hit."""
    return 2 * hits / (2 * hits + false + missed) if hits else 0.0


def num_hits(truth: np.ndarray, found: np.ndarray, tolerance_s: float) -> int:
    """Most pairs of a true and a found beat within a tolerance; both in seconds, ascending.

    Reach is the same for all beats, so that pairing each with the earliest still free is best.
    """
    hits = i = 0
    for time_s in found:
        while i < len(truth) and truth[i] < time_s - tolerance_s:
            i += 1
        if i < len(truth) and truth[i] <= time_s + tolerance_s:
            hits, i = hits + 1, i + 1
    return hits


def mean_of(column: str, outputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean [S] of a column of the outputs [n, 9] under weights [S, n]."""
    return np.asarray(weights @ outputs[:, COLUMNS.index(column)] / weights.sum(axis=1))


def pooled_f(tolerance: str, outputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """F-measure [S] of the beats of all tracks together (as MARBLE counts) under weights [S, n]."""
    hits, false, missed = (
        weights @ outputs[:, COLUMNS.index(f"{count}{tolerance}")] for count in ("tp", "fp", "fn")
    )
    everything = 2 * hits + false + missed
    return np.asarray(np.divide(2 * hits, everything, out=np.zeros_like(hits), where=hits > 0))


BEAT_SCORES: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "f70": ("F, 70 ms", partial(mean_of, "f70")),
    "f20": ("F, 20 ms", partial(mean_of, "f20")),
    "f70_pooled": ("F, 70 ms, pooled", partial(pooled_f, "70")),
    "f20_pooled": ("F, 20 ms, pooled", partial(pooled_f, "20")),
    "f70_trimmed": ("F, 70 ms, after 5 s", partial(mean_of, "f70_trimmed")),
}
"""Name of a metric → its title, and the score [S] of outputs [n, 9] under weights [S, n]."""
