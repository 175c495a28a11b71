"""The metrics under many weightings of the tracks at once: what a bootstrap of 1000 draws needs.

Weights [S, n] hold, for each of S draws, how often each of n tracks was drawn. A score that a draw
leaves undefined (no positive left, all targets equal) is NaN; whoever asked decides.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from evaluate import keys

Curve = Callable[[np.ndarray, np.ndarray], np.ndarray]


def accuracy(outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Accuracy [S] of class outputs [n, K]."""
    return _mean((outputs.argmax(axis=1) == targets).astype(np.float64), weights)


def mae(outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean absolute error [S] of numbers [n]."""
    return _mean(np.abs(outputs - targets).astype(np.float64), weights)


def r2(outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Coefficient of determination [S] of numbers [n]."""
    residual = _mean((outputs - targets) ** 2, weights)
    centred = targets - targets.mean()  # near zero, so that the two squares do not cancel
    spread = _mean(centred**2, weights) - _mean(centred, weights) ** 2
    constant = spread <= 1e-12 * np.square(centred).max(initial=0.0)
    return np.asarray(1 - residual / np.where(constant, np.nan, spread))


def roc_auc(outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Macro ROC-AUC [S] of tag outputs [n, K]."""
    return _macro(_area, outputs, targets, weights)


def average_precision(outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Macro average precision [S] of tag outputs [n, K]."""
    return _macro(_precision, outputs, targets, weights)


def key_score(outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Points for keys [S] of class outputs [n, 24]."""
    return _mean(keys.SCORES[targets, outputs.argmax(axis=1)], weights)


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.asarray(weights @ values / weights.sum(axis=1))


def _macro(
    curve: Curve, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Mean of a curve's score over the tags which a draw leaves with positives and negatives."""
    total, count = np.zeros(len(weights)), np.zeros(len(weights))
    for k in range(targets.shape[1]):
        score = _of_tag(curve, outputs[:, k], targets[:, k] > 0, weights)
        total += np.nan_to_num(score)
        count += ~np.isnan(score)
    return np.asarray(np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0))


def _of_tag(
    curve: Curve, outputs: np.ndarray, positive: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Score [S] of one tag [n]: weight of positives and of negatives at each distinct output."""
    order = np.argsort(-outputs, kind="stable")
    steps = np.flatnonzero(np.diff(outputs[order], prepend=np.nan) != 0)  # ties share a step
    ordered = weights[:, order].astype(np.float64)
    hits = np.add.reduceat(ordered * positive[order], steps, axis=1)
    misses = np.add.reduceat(ordered * ~positive[order], steps, axis=1)
    defined = (hits.sum(axis=1) > 0) & (misses.sum(axis=1) > 0)
    score = np.full(len(weights), np.nan)
    score[defined] = curve(hits[defined], misses[defined])
    return score


def _area(hits: np.ndarray, misses: np.ndarray) -> np.ndarray:
    """Chance that a positive stands above a negative, a tie counting half (Mann and Whitney)."""
    above = np.cumsum(hits, axis=1) - hits / 2
    return np.asarray((misses * above).sum(axis=1) / hits.sum(axis=1) / misses.sum(axis=1))


def _precision(hits: np.ndarray, misses: np.ndarray) -> np.ndarray:
    """Precision at every step, weighted by the recall gained there."""
    found = np.cumsum(hits, axis=1)
    drawn = np.cumsum(hits + misses, axis=1)
    precision = np.divide(found, drawn, out=np.zeros_like(found), where=drawn > 0)
    return np.asarray((hits * precision).sum(axis=1) / found[:, -1])
