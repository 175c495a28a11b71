"""Mixture: which archive a visit goes to, in exact proportions and in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import gcd, lcm

import numpy as np

from shards.errors import InputError

MAX_PERIOD = 4096
"""Visits after which the pattern repeats, at most: weights are exact to a part in so many."""


class Mixture:
    """Visit → archive, and how many visits that archive has had before.

    A fixed pattern repeats for ever. In it, and so everywhere, no archive is ever a whole visit
    ahead of its share or behind it: batches do not differ in their mixture.

    Args:
        weights: Of each archive, positive.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        self.counts = quantised(weights)
        self.pattern = even_pattern(self.counts)
        nth = np.zeros(len(self.pattern), np.int64)
        for archive in range(len(self.counts)):
            mine = self.pattern == archive
            nth[mine] = np.arange(mine.sum())
        self._nth = nth

    def of(self, visit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Archive [n] of visits [n], and the how-manieth visit to that archive it is, [n]."""
        period, at = np.divmod(visit, len(self.pattern))
        archive = self.pattern[at]
        return archive, period * self.counts[archive] + self._nth[at]


def quantised(weights: Sequence[float]) -> np.ndarray:
    """Visits a period to each archive, int64 [A]: in the ratio of the weights as written."""
    if not weights or not all(0 < w < float("inf") for w in weights):
        raise InputError(f"Want positive weights, got {list(weights)}.")
    shares = [Fraction(str(w)) for w in weights]
    whole = [int(s * lcm(*(s.denominator for s in shares))) for s in shares]
    counts = [w // gcd(*whole) for w in whole]
    if sum(counts) > MAX_PERIOD:
        exact = [s / sum(shares) * MAX_PERIOD for s in shares]
        counts = [max(1, int(e)) for e in exact]
        by_remainder = sorted(range(len(exact)), key=lambda a: int(exact[a]) - exact[a])
        for archive in by_remainder[: max(0, MAX_PERIOD - sum(counts))]:
            counts[archive] += 1
    return np.array(counts, np.int64)


def even_pattern(counts: np.ndarray) -> np.ndarray:
    """A period [L] that holds archive a `counts[a]` times, spread as evenly as can be.

    Visit k of an archive with n of L belongs into the slots k·L/n to (k + 1)·L/n; taking the one
    whose slots end first always keeps to that (earliest deadline first, Liu and Layland, 1973).
    """
    period = int(counts.sum())
    given = np.zeros(len(counts), np.int64)
    pattern = np.empty(period, np.int64)
    for slot in range(period):
        due = -(-(given + 1) * period // counts)
        begun = given * period < counts * (slot + 1)
        pattern[slot] = np.argmin(np.where(begun, due, np.iinfo(np.int64).max))
        given[pattern[slot]] += 1
    return pattern
