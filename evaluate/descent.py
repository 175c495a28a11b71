"""Two ways downhill for stacked weights [C, …], each configuration on its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class Descent(Protocol):
    """Moves stacked weights by their gradients, in place."""

    def update(self, weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """One step."""
        ...

    def keep(self, on: Tensor) -> None:
        """Go on with the configurations that are `on`, bool [C]."""
        ...


class Adam:
    """Adam (Kingma and Ba, 2015, algorithm 1) with β = (0.9, 0.999), ε = 1e-8.

    Args:
        weights: Stacked weights [C, …].
        rate: Learning rates [C, 1, 1].
    """

    def __init__(self, weights: Sequence[Tensor], rate: Tensor) -> None:
        self.rate = rate
        self.mean = [torch.zeros_like(w) for w in weights]
        self.square = [torch.zeros_like(w) for w in weights]
        self.step = 0

    def update(self, weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """One step down."""
        self.step += 1
        rate = -self.rate / (1 - 0.9**self.step)
        state = zip(weights, gradients, self.mean, self.square, strict=True)
        for w, g, mean, square in state:
            mean.lerp_(g, 1 - 0.9)
            square.mul_(0.999).addcmul_(g, g, value=1 - 0.999)
            scale = square.div(1 - 0.999**self.step).sqrt_().add_(1e-8)
            w.addcmul_(rate, torch.div(mean, scale, out=scale))

    def keep(self, on: Tensor) -> None:
        """Drop the moments of the others."""
        self.rate = self.rate[on]
        self.mean = [m[on] for m in self.mean]
        self.square = [s[on] for s in self.square]


class Accelerated:
    """Nesterov's accelerated gradient (1983) with restarts (O'Donoghue and Candès, 2015, sec. 3.2).

    For convex losses with the whole of train in every step. From zero it passes what ridge
    regression would give at falling penalties, so that early stopping is a penalty too.

    Args:
        weights: Stacked weights [C, …].
        rate: Inverse of the largest curvature, [C, 1, 1].
    """

    def __init__(self, weights: Sequence[Tensor], rate: Tensor) -> None:
        self.rate = rate
        self.before = [w.detach().clone() for w in weights]
        self.age = torch.zeros_like(rate)

    def update(self, weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """A step down from `weights`, which then look ahead; momentum ends where it climbs."""
        after = [w - self.rate * g for w, g in zip(weights, gradients, strict=True)]
        moves = [a - b for a, b in zip(after, self.before, strict=True)]
        climb = torch.stack(
            [(g * m).sum(dim=(1, 2)) for g, m in zip(gradients, moves, strict=True)]
        ).sum(dim=0)
        self.age = torch.where(climb.view(-1, 1, 1) > 0, 0, self.age + 1)
        momentum = (self.age - 1).clamp_min(0) / (self.age + 2)
        for w, a, m in zip(weights, after, moves, strict=True):
            w.copy_(a + momentum * m)
        self.before = after

    def keep(self, on: Tensor) -> None:
        """Drop the state of the others."""
        self.rate, self.age = self.rate[on], self.age[on]
        self.before = [b[on] for b in self.before]


def largest_curvature(features: Tensor) -> float:
    """Largest eigenvalue of XᵀX / n for features X [n, D] with a column of ones beside them."""
    x = torch.cat([features, features.new_ones(len(features), 1)], dim=1).double()
    gram = x.T @ x if x.shape[1] <= len(x) else x @ x.T
    return float(torch.linalg.eigvalsh(gram)[-1] / len(x))
