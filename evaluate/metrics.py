"""Scores of predictions, from scikit-learn, as pure functions; higher is better except for MAE."""

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

from evaluate import weighted


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


METRICS = {
    "accuracy": Metric("accuracy", accuracy, weighted.accuracy),
    "roc_auc": Metric("ROC-AUC", roc_auc, weighted.roc_auc, chance=0.5),
    "average_precision": Metric("mAP", average_precision, weighted.average_precision),
    "r2": Metric("R²", r2, weighted.r2, chance=0.0),
    "mae": Metric("MAE", mae, weighted.mae),
}
