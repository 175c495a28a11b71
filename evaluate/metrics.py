"""Scores of predictions, from scikit-learn, as pure functions.

Higher is better except for MAE and MR1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
)

from evaluate import keys, weighted
from evaluate.beats.scores import BEAT_SCORES
from evaluate.ranking import PIECE_SCORES
from evaluate.segments_scores import SEGMENT_SCORES


def accuracy(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Share of tracks whose largest output [n, K] is the target's class [n]."""
    return float(accuracy_score(targets, outputs.argmax(axis=1)))


def roc_auc(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Area under the ROC curve, mean over the tags that `judged` keeps; outputs, targets [n, K]."""
    keep = judged(targets)
    if not keep.any():
        return float("nan")
    return float(roc_auc_score(targets[:, keep], outputs[:, keep], average="macro"))


def average_precision(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Average precision, mean over the tags that `judged` keeps (mAP); outputs, targets [n, K]."""
    keep = judged(targets)
    if not keep.any():
        return float("nan")
    return float(average_precision_score(targets[:, keep], outputs[:, keep], average="macro"))


def judged(targets: np.ndarray) -> np.ndarray:
    """Tags [K] with a positive and a negative among targets [n, K]; the others have no score.

    scikit-learn gives NaN for them, torchmetrics counts 0: both would move the mean.
    """
    positives = (targets > 0).sum(axis=0)
    return np.asarray((positives > 0) & (positives < len(targets)))


def r2(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Coefficient of determination of numbers [n]; NaN if all targets are equal."""
    if np.ptp(targets) == 0:
        return float("nan")
    return float(r2_score(targets, outputs))


def mae(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Mean absolute error of numbers [n], in the unit of the target; lower is better."""
    return float(mean_absolute_error(targets, outputs))


def key_score(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Points for the key of the largest output [n, 24], mean over tracks (`evaluate.keys`)."""
    return float(keys.SCORES[targets, outputs.argmax(axis=1)].mean())


@dataclass(frozen=True)
class Metric:
    """A score, and the same score under many weightings of the tracks at once.

    Args:
        title: As a reader knows it.
        score: (outputs, targets) → score.
        weighted: (outputs, targets, weights [S, n]) → scores [S]; equal to `score` for ones.
        chance: Score of a guess that knows nothing of the audio, NaN where it depends on the data.
    """

    title: str
    score: Callable[[np.ndarray, np.ndarray], float]
    weighted: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    chance: float = float("nan")


def of_results(title: str, weighted: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Metric:
    """A metric that reads per-track results [n, m], and no targets, under weights [S, n]."""

    def score(results: np.ndarray, targets: np.ndarray) -> float:
        return float(weighted(results, np.ones((1, len(results))))[0])

    def under(results: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return weighted(results, weights)

    return Metric(title, score, under)


SCORES_OF_RESULTS = PIECE_SCORES | BEAT_SCORES | SEGMENT_SCORES

METRICS = {
    "accuracy": Metric("accuracy", accuracy, weighted.accuracy),
    "roc_auc": Metric("ROC-AUC", roc_auc, weighted.roc_auc, chance=0.5),
    "average_precision": Metric("mAP", average_precision, weighted.average_precision),
    "r2": Metric("R²", r2, weighted.r2, chance=0.0),
    "mae": Metric("MAE", mae, weighted.mae),
    "key_score": Metric("key score", key_score, weighted.key_score),
    **{name: of_results(*told) for name, told in SCORES_OF_RESULTS.items()},
}
