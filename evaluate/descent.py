"""Two ways downhill for stacked weights [C, …], each configuration on its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam


class Descent(ABC):
    """Moves stacked weights by their gradients, in place."""

    @abstractmethod
    def update(self, weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """One step down the loss and its penalties."""

    @abstractmethod
    def keep(self, on: Tensor) -> None:
        """Go on with the configurations `on`, positions [C']."""

    @abstractmethod
    def state(self) -> dict[str, list[Tensor]]:
        """All that it has gathered on its way."""

    @abstractmethod
    def restore(self, state: dict[str, list[Tensor]]) -> None:
        """Go on from a state."""

    def slow(self, positions: Sequence[int]) -> None:
        """Halve the rate of some configurations."""
        raise ValueError("Only Adam takes a plateau: its rate is free.")


class Adam(Descent):
    """torch's Adam in its fused form (Kingma and Ba, 2015, algorithm 1), β = (0.9, 0.999).

    Weights, gradients and moments pass through the processor once a step: out of its caches, that
    is what a step of a small network takes.

    Args:
        weights: Stacked weights, a list of [C, …].
        rates: Learning rates, one a configuration.
        decays: Penalties λ/2 · |w|², [C] for each of the weights.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        rates: Sequence[float],
        decays: Sequence[Sequence[float]],
    ) -> None:
        self.rates, self.decays = list(rates), [list(some) for some in decays]
        self.mean = [torch.zeros_like(w) for w in weights]
        self.square = [torch.zeros_like(w) for w in weights]
        self.steps = [w.new_zeros(len(w), dtype=torch.float32) for w in weights]
        self._seen: list[Tensor] = []
        self._alike: list[tuple[float, float, list[list[Tensor]]]] = []

    def update(self, weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """One step; one call for all weights of one rate and one penalty."""
        tensors = [*weights, *gradients]
        if not self._alike or any(a is not b for a, b in zip(tensors, self._seen, strict=True)):
            self._seen, self._alike = tensors, self._group(weights, gradients)
        for rate, decay, (some, slopes, mean, square, steps) in self._alike:
            adam(
                some,
                slopes,
                mean,
                square,
                [],
                steps,
                fused=True,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=rate,
                weight_decay=decay,
                eps=1e-8,
                maximize=False,
            )

    def _group(
        self, weights: Sequence[Tensor], gradients: Sequence[Tensor]
    ) -> list[tuple[float, float, list[list[Tensor]]]]:
        """By rate and penalty: views of weights, gradients, moments and steps."""
        stacks = [weights, gradients, self.mean, self.square, self.steps]
        groups: dict[tuple[float, float], list[list[Tensor]]] = {}
        for j, decays in enumerate(self.decays):
            for c, (rate, decay) in enumerate(zip(self.rates, decays, strict=True)):
                group = groups.setdefault((rate, decay), [[] for _ in stacks])
                for views, stack in zip(group, stacks, strict=True):
                    views.append(stack[j][c])
        return [(rate, decay, views) for (rate, decay), views in groups.items()]

    def keep(self, on: Tensor) -> None:
        """Drop the moments of the others."""
        self.rates = [self.rates[c] for c in on.tolist()]
        self.decays = [[some[c] for c in on.tolist()] for some in self.decays]
        self.mean, self.square, self.steps = (
            [x[on] for x in some] for some in (self.mean, self.square, self.steps)
        )
        self._alike = []

    def slow(self, positions: Sequence[int]) -> None:
        """Halve the rate of some configurations."""
        for c in positions:
            self.rates[c] /= 2
        self._alike = []

    def state(self) -> dict[str, list[Tensor]]:
        """Moments, steps and rates."""
        rates = [torch.tensor(self.rates, dtype=torch.float64)]
        return {"mean": self.mean, "square": self.square, "steps": self.steps, "rates": rates}

    def restore(self, state: dict[str, list[Tensor]]) -> None:
        """Go on with moments, steps and rates."""
        for mine, name in ((self.mean, "mean"), (self.square, "square"), (self.steps, "steps")):
            for to, x in zip(mine, state[name], strict=True):
                to.copy_(x)
        self.rates, self._alike = state["rates"][0].tolist(), []


class Accelerated(Descent):
    """Nesterov's accelerated gradient (1983) with restarts (O'Donoghue and Candès, 2015, sec. 3.2).

    For convex losses with the whole of train in every step. From zero it passes what ridge
    regression would give at falling penalties, so that early stopping is a penalty too.

    Args:
        weights: Stacked weights W [C, K, D] and biases b [C, K, 1].
        curvature: The largest of each loss, [C].
        decays: Penalties λ/2 · |W|² [C]; biases are free.
    """

    def __init__(
        self, weights: Sequence[Tensor], curvature: Tensor, decays: Sequence[float]
    ) -> None:
        self.decay = weights[0].new_tensor(decays).view(-1, 1, 1)
        self.rate = 1 / (curvature.view(-1, 1, 1) + self.decay)
        self.before = [w.clone() for w in weights]
        self.age = torch.zeros_like(self.rate)

    def update(self, weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """A step down from `weights`, which then look ahead; momentum ends where it climbs."""
        gradients = [gradients[0].addcmul(self.decay, weights[0]), *gradients[1:]]
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
        self.rate, self.age, self.decay = self.rate[on], self.age[on], self.decay[on]
        self.before = [b[on] for b in self.before]

    def state(self) -> dict[str, list[Tensor]]:
        """Where it was before, and since when it has not climbed."""
        return {"before": self.before, "age": [self.age]}

    def restore(self, state: dict[str, list[Tensor]]) -> None:
        """Go on from where it was."""
        self.before = [x.to(self.rate) for x in state["before"]]
        self.age = state["age"][0].to(self.rate)


def largest_curvature(features: Tensor) -> float:
    """Largest eigenvalue of XᵀX / n for features X [n, D] with a column of ones beside them."""
    x = torch.cat([features, features.new_ones(len(features), 1)], dim=1).double()
    gram = x.T @ x if x.shape[1] <= len(x) else x @ x.T
    return float(torch.linalg.eigvalsh(gram)[-1] / len(x))
