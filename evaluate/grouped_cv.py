"""Grouped cross-validation: every track predicted by a probe that saw no track of its group.

For corpora too small for one split. Each fold is judged like a label set of its own: its choice
is written before its held-out targets open (`Labels.folds`, `probe.judge`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from evaluate.bootstrap import Interval, Score, group_weights, percentile_interval
from evaluate.embeddings import Embeddings
from evaluate.metrics import METRICS
from evaluate.parallel import each_on_one_core
from evaluate.probe import judge
from evaluate.protocols.protocol import Protocol, Terms
from evaluate.verdict import Verdict
from shards.errors import InputError
from shards.labels import METRICS as PRIMARY
from shards.labels import Labels

DRAWS = 2000


@dataclass(frozen=True)
class OutOfFold:
    """Held-out predictions for all tracks of a label set, in the order of their index rows.

    Args:
        label: Name of the label set.
        kind: Of its targets.
        rows: Index rows [n], ascending.
        groups: Group of each track [n].
        fold: Fold [n] whose probe predicted it.
        outputs: Predictions [n] or [n, K].
        targets: Truth [n] or [n, K].
        selections: SHA-256 of each fold's choice.
    """

    label: str
    kind: str
    rows: np.ndarray
    groups: np.ndarray
    fold: np.ndarray
    outputs: np.ndarray
    targets: np.ndarray
    selections: tuple[str, ...]

    def score(self, weights: np.ndarray) -> np.ndarray:
        """The primary metric [S] of all tracks under weights [S, n].

        Areas under curves rank tracks, and outputs of two probes have no common rank: the score is
        then the mean over folds, by their tracks. Other metrics take all tracks together.
        """
        metric = PRIMARY[self.kind]
        weighted = METRICS[metric].weighted
        if metric != "roc_auc":
            return weighted(self.outputs, self.targets, weights)
        total, count = np.zeros(len(weights)), np.zeros(len(weights))
        for i in np.unique(self.fold):
            at = self.fold == i
            score = weighted(self.outputs[at], self.targets[at], weights[:, at])
            share = np.where(np.isnan(score), 0.0, weights[:, at].sum(axis=1))
            total, count = total + share * np.nan_to_num(score), count + share
        return np.asarray(np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0))


def cross_validate(
    labels: Labels,
    features: Mapping[str, Embeddings],
    *,
    encoder: str,
    folder: Path,
    num_folds: int = 5,
    protocol: Protocol | None = None,
    seed: int = 0,
) -> OutOfFold:
    """Predictions for every track of a label set; the inner choice is made on the next fold."""
    work = [
        partial(
            judge,
            fold,
            features,
            encoder=f"{encoder}-fold{i}",
            folder=folder,
            protocol=protocol,
            terms=Terms(seed),
        )
        for i, fold in enumerate(labels.folds(num_folds, seed=seed))
    ]
    return out_of_fold(labels, each_on_one_core(work))


def out_of_fold(labels: Labels, verdicts: Sequence[Verdict]) -> OutOfFold:
    """Verdicts of all folds of a label set as one."""
    rows = np.concatenate([v.rows for v in verdicts])
    order = np.argsort(rows)
    fold = np.repeat(np.arange(len(verdicts)), [len(v.rows) for v in verdicts])
    return OutOfFold(
        label=labels.name,
        kind=labels.kind,
        rows=rows[order],
        groups=np.concatenate([v.groups for v in verdicts])[order],
        fold=fold[order],
        outputs=np.concatenate([v.outputs for v in verdicts])[order],
        targets=np.concatenate([v.targets for v in verdicts])[order],
        selections=tuple(v.selection_sha256 for v in verdicts),
    )


@dataclass(frozen=True)
class Gain:
    """By how much training raised a score: mean over seeds, with its 95 % interval.

    Args:
        label: Name of the label set.
        metric: Its primary metric.
        trained: Mean score of the trained encoders.
        untrained: Mean score of the untrained ones.
        difference: Paired difference and interval, drawn over seeds and groups.
        seeds: Training seeds.
    """

    label: str
    metric: str
    trained: float
    untrained: float
    difference: Interval
    seeds: int


def gain(
    pairs: Sequence[tuple[OutOfFold, OutOfFold]], *, seed: int = 0, draws: int = DRAWS
) -> Gain:
    """Trained minus untrained over (trained, untrained) predictions of each training seed.

    A draw takes seeds with replacement and, for all of them, the same groups with replacement. The
    two of a pair share a seed: the untrained encoder is where the trained one began.
    """
    first = pairs[0][0]
    for other in [one for pair in pairs for one in pair]:
        if not (np.array_equal(other.rows, first.rows) and other.label == first.label):
            raise InputError("A gain wants predictions of the same tracks for the same labels.")
    rng = np.random.default_rng([seed, 1])
    drawn = []
    for weights in group_weights(first.groups, draws=draws, seed=seed):
        each = np.stack(
            [_difference(trained.score, other.score, weights) for trained, other in pairs]
        )
        seeds = rng.integers(len(pairs), size=each.shape)
        drawn.append(np.take_along_axis(each, seeds, axis=0).mean(axis=0))
    ones = np.ones((1, len(first.rows)))
    trained, untrained = (
        float(np.mean([pair[side].score(ones)[0] for pair in pairs])) for side in (0, 1)
    )
    difference = percentile_interval(trained - untrained, np.concatenate(drawn), first.groups)
    metric = PRIMARY[first.kind]
    return Gain(first.label, metric, trained, untrained, difference, len(pairs))


def _difference(score: Score, other: Score, weights: np.ndarray) -> np.ndarray:
    return score(weights) - other(weights)
