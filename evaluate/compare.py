"""Which method is better: paired differences over training seeds and test groups, with Holm.

"A beats B": the 95 % interval of the paired difference, drawn over the groups of test tracks and
over at least three training seeds of each, lies above zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from evaluate.bootstrap import LEVEL, Interval, group_weights, percentile_interval
from evaluate.metrics import METRICS
from evaluate.verdict import Verdict
from shards.errors import InputError

DRAWS = 2000
MIN_SEEDS = 3


@dataclass(frozen=True)
class Method:
    """A method on a label set.

    Args:
        name: Of the method.
        scores: Primary metric on test, a training seed each.
    """

    name: str
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over training seeds."""
        return float(np.mean(self.scores))

    @property
    def std(self) -> float:
        """Over training seeds, with n - 1; NaN for a single one."""
        return float(np.std(self.scores, ddof=1)) if len(self.scores) > 1 else float("nan")


@dataclass(frozen=True)
class Pair:
    """Two methods on a label set.

    Args:
        label: Name of the label set.
        metric: Its primary metric.
        first: The method with the higher mean.
        second: The other.
        difference: First minus second, paired, with its interval.
        p: Two-sided, by the share of draws on the other side of zero.
        p_holm: The same after Holm's correction over all pairs of the comparison.
        stands: "beats", "not told apart" or "too few seeds".
    """

    label: str
    metric: str
    first: Method
    second: Method
    difference: Interval
    p: float
    p_holm: float
    stands: str

    @property
    def survives(self) -> bool:
        """Whether the first still beats the second after Holm's correction."""
        return self.stands == "beats" and self.p_holm <= 1 - LEVEL


def compare(
    verdicts: Mapping[str, Mapping[str, Sequence[Verdict]]], *, draws: int = DRAWS, seed: int = 0
) -> list[Pair]:
    """Every pair of methods on every label set: label set → method → a verdict a training seed."""
    pairs = [
        _pair(label, methods, names, draws=draws, seed=seed)
        for label, methods in verdicts.items()
        for names in combinations(methods, 2)
    ]
    corrected = holm([pair.p for pair in pairs])
    return [replace(pair, p_holm=p) for pair, p in zip(pairs, corrected, strict=True)]


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm, 1979); those that are not defined stay out."""
    known = [i for i in range(len(p)) if not np.isnan(p[i])]
    corrected = [float("nan")] * len(p)
    highest = 0.0
    for rank, i in enumerate(sorted(known, key=lambda i: p[i])):
        highest = max(highest, min(1.0, (len(known) - rank) * p[i]))
        corrected[i] = highest
    return corrected


def _pair(
    label: str,
    methods: Mapping[str, Sequence[Verdict]],
    names: tuple[str, str],
    *,
    draws: int,
    seed: int,
) -> Pair:
    ones = np.ones((1, len(methods[names[0]][0].rows)))
    both = [Method(n, tuple(float(s[0]) for s in _scores(methods[n], ones))) for n in names]
    first, second = sorted(both, key=lambda one: -one.mean)
    sides = methods[first.name], methods[second.name]
    _check_paired(label, [*sides[0], *sides[1]])
    groups = sides[0][0].groups
    drawn = np.concatenate(list(differences(*sides, draws=draws, seed=seed)))
    difference = percentile_interval(first.mean - second.mean, drawn, groups)
    return Pair(
        label=label,
        metric=sides[0][0].metrics[0],
        first=first,
        second=second,
        difference=difference,
        p=two_sided(drawn) if difference.groups > 1 else float("nan"),
        p_holm=float("nan"),
        stands=_stands(difference, min(len(side) for side in sides)),
    )


def differences(
    first: Sequence[Verdict], second: Sequence[Verdict], *, draws: int, seed: int
) -> Iterator[np.ndarray]:
    """Mean score of one side minus the other's, by draws of groups and, on each side, of seeds.

    Both sides see the same draws of the same test tracks. Their training seeds are drawn apart:
    two methods share no luck, even where the seeds bear the same number.
    """
    rng = np.random.default_rng([seed, 1])
    for weights in group_weights(first[0].groups, draws=draws, seed=seed):
        means = []
        for side in (first, second):
            each = _scores(side, weights)
            at = rng.integers(len(side), size=each.shape)
            means.append(np.take_along_axis(each, at, axis=0).mean(axis=0))
        yield means[0] - means[1]


def two_sided(drawn: np.ndarray) -> float:
    """How often draws lie on the rarer side of zero, doubled; never zero, as draws are finite."""
    kept = drawn[~np.isnan(drawn)]
    rarer = min((kept <= 0).sum(), (kept >= 0).sum())
    return float(min(1.0, 2 * (rarer + 1) / (len(kept) + 1)))


def _scores(side: Sequence[Verdict], weights: np.ndarray) -> np.ndarray:
    """Primary metric [R, S] of each run under weights [S, n]."""
    weighted = METRICS[side[0].metrics[0]].weighted
    return np.stack([weighted(one.outputs, one.targets, weights) for one in side])


def _stands(difference: Interval, seeds: int) -> str:
    if seeds < MIN_SEEDS:
        return "too few seeds"
    return "beats" if difference.low > 0 else "not told apart"


def _check_paired(label: str, verdicts: Sequence[Verdict]) -> None:
    rows = verdicts[0].rows
    if not all(np.array_equal(one.rows, rows) for one in verdicts):
        raise InputError(
            f"Labels {label}: the runs were judged on different test tracks, so nothing is paired. "
            "Evaluate them again on the same archive."
        )
