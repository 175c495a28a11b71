"""The primary metrics of many configurations at once, as a grid looks at them while it trains.

Equal to `METRICS`, which is what counts in the end, but one sort for all tags of all
configurations takes the place of a call a tag.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from evaluate import keys
from evaluate.metrics import METRICS, judged

Scorer = Callable[[Tensor], Tensor]
"""Outputs [C, K, n] → scores [C], float64, NaN for outputs that are not finite."""


def scorer(metric: str, targets: Tensor) -> Scorer:
    """Scores by a metric's name for targets as `Task.encode` gives them, [n] or [n, K]."""
    how = {"accuracy": _accuracy, "roc_auc": _roc_auc, "r2": _r2, "key_score": _key_score}
    score = how[metric](targets) if metric in how else _one_by_one(metric, targets)

    def finite(outputs: Tensor) -> Tensor:
        broken = ~torch.isfinite(outputs).all(dim=2).all(dim=1)
        return score(outputs).masked_fill(broken, float("nan"))

    return finite


def _accuracy(targets: Tensor) -> Scorer:
    return lambda outputs: (outputs.argmax(dim=1) == targets).double().mean(dim=1)


def _key_score(targets: Tensor) -> Scorer:
    points = torch.from_numpy(keys.SCORES).to(targets.device)
    return lambda outputs: points[targets, outputs.argmax(dim=1)].double().mean(dim=1)


def _r2(targets: Tensor) -> Scorer:
    """Of numbers in any unit: R² does not change with it."""
    truth = targets.double()
    spread = (truth - truth.mean()).square().mean()
    constant = bool(truth.amax() == truth.amin())

    def score(outputs: Tensor) -> Tensor:
        residual = (outputs[:, 0].double() - truth).square().mean(dim=1)
        return 1 - residual / (float("nan") if constant else spread)

    return score


def _roc_auc(targets: Tensor) -> Scorer:
    """Mann and Whitney's count: how many tracks lie below each positive, ties counting half.

    Only values are sorted. Below a positive lie other positives too: over all of them P² / 2.
    """
    kept = torch.from_numpy(judged(targets.cpu().numpy())).to(targets.device)
    positive = (targets > 0).T[kept]  # [K', n]
    found, num_tracks = positive.sum(dim=1), positive.shape[1]
    num_tags = len(found)
    if not num_tags:
        return lambda outputs: outputs.new_full((len(outputs),), float("nan"), dtype=torch.float64)
    place = torch.argsort((~positive).byte(), dim=1, stable=True)[:, : int(found.max())]
    real = torch.arange(place.shape[1], device=found.device) < found[:, None]
    possible = found.double() * (num_tracks - found)

    def score(outputs: Tensor) -> Tensor:
        some = outputs if num_tags == outputs.shape[1] else outputs[:, kept]
        wanted = some.gather(2, place.expand(len(some), -1, -1))
        ordered = _sorted(some)
        below = torch.searchsorted(ordered, wanted).double()
        below += torch.searchsorted(ordered, wanted, right=True)
        area = (below * real).sum(dim=2) / 2 - found.double().square() / 2
        return (area / possible).mean(dim=1)

    return score


def _sorted(values: Tensor) -> Tensor:
    """Values [..., n] in ascending order; numpy sorts several at once on a CPU, torch does not."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.contiguous().numpy(), axis=-1))
    return values.sort(dim=-1).values.contiguous()


def _one_by_one(metric: str, targets: Tensor) -> Scorer:
    score, truth = METRICS[metric].score, targets.cpu().numpy()

    def scores(outputs: Tensor) -> Tensor:
        each = [score(one.T.double().cpu().numpy(), truth) for one in outputs]
        return torch.tensor(each, dtype=torch.float64, device=outputs.device)

    return scores
