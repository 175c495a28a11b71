"""How sure a score is: draws of the test tracks, predictions fixed.

A score is a function of weights [S, n] (how often each test track was drawn) that gives scores [S].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

Score = Callable[[np.ndarray], np.ndarray]

DRAWS = 1000
HALF_TEST_DRAWS = 50
LEVEL = 0.95
_CHUNK_VALUES = 2_000_000  # weights held at a time, 16 MB


@dataclass(frozen=True)
class HalfTest:
    """Mean and standard deviation of the score over random halves of the test tracks.

    Not a confidence interval: halves drawn without replacement overlap, and each is half as long.
    """

    mean: float
    std: float
    draws: int
    undefined: int


@dataclass(frozen=True)
class Interval:
    """A score or a difference with its percentile interval; NaN where groups are fewer than two."""

    value: float
    low: float
    high: float
    level: float
    draws: int
    groups: int
    undefined: int


def half_test(
    score: Score, num_tracks: int, *, draws: int = HALF_TEST_DRAWS, seed: int = 0
) -> HalfTest:
    """The bootstrap of Meseguer-Brocal et al. (2024): draws of 50 % without replacement."""
    scores = score(half_weights(num_tracks, draws=draws, seed=seed))
    kept = scores[~np.isnan(scores)]
    mean, std = (kept.mean(), kept.std()) if len(kept) else (np.nan, np.nan)
    return HalfTest(float(mean), float(std), draws, draws - len(kept))


def half_weights(num_tracks: int, *, draws: int, seed: int) -> np.ndarray:
    """Ones for the tracks of each random half, [draws, n]."""
    rng = np.random.default_rng(seed)
    weights = np.zeros((draws, num_tracks))
    for row in weights:
        row[rng.permutation(num_tracks)[: max(1, num_tracks // 2)]] = 1
    return weights


def interval(
    score: Score, groups: np.ndarray, *, draws: int = DRAWS, level: float = LEVEL, seed: int = 0
) -> Interval:
    """Score of all test tracks with the percentile interval of draws of whole groups [n]."""
    drawn = [score(weights) for weights in group_weights(groups, draws=draws, seed=seed)]
    return percentile_interval(
        float(score(np.ones((1, len(groups))))[0]), np.concatenate(drawn), groups, level
    )


def paired_difference(
    score: Score,
    other: Score,
    groups: np.ndarray,
    *,
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """By how much `score` is above `other` on the same draws of the same test tracks."""

    def difference(weights: np.ndarray) -> np.ndarray:
        return score(weights) - other(weights)

    return interval(difference, groups, draws=draws, level=level, seed=seed)


def group_weights(groups: np.ndarray, *, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Weights [≤ draws, n] of draws of groups [n] with replacement: a group's tracks go together.

    One generator fixes all draws, so that two scores see the same ones.
    """
    names, group_of_track = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_VALUES // len(groups))
    for first in range(0, draws, chunk):
        size = min(chunk, draws - first)
        counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=size)
        yield counts[:, group_of_track].astype(np.float64)


def percentile_interval(
    value: float, drawn: np.ndarray, groups: np.ndarray, level: float = LEVEL
) -> Interval:
    """The middle `level` of drawn scores; draws that left the score undefined are counted apart."""
    num_groups = len(np.unique(groups))
    kept = drawn[~np.isnan(drawn)]
    tail = 100 * (1 - level) / 2
    known = num_groups > 1 and len(kept) > 0
    low, high = np.percentile(kept, [tail, 100 - tail]) if known else (np.nan, np.nan)
    undefined = len(drawn) - len(kept)
    return Interval(value, float(low), float(high), level, len(drawn), num_groups, undefined)
