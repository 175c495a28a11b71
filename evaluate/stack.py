"""A stack of heads: the weights of C configurations behind one another, stepped in few products.

Weights lie as torch.nn.Linear's do, W [C, out, in] and b [C, out, 1], and samples are columns:
configurations that see the same batch X [B, D] share one product, W as [C · out, D] times Xᵀ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluate.configuration import Configuration
from evaluate.descent import Descent
from evaluate.inputs import Seen, Sight
from evaluate.luck import threshold
from evaluate.tasks.task import Task

SLICE_BYTES = {"cpu": 1 << 21, "cuda": 1 << 28}
"""Hidden units that are held at a time when a head is only asked, not trained."""


@dataclass(frozen=True)
class Step:
    """What all stacks see in a step.

    Args:
        seen: Sight → the batch as it shows it.
        noise: Levels [H, B] of the dropout of hidden units.
        targets: Of the batch.
    """

    seen: dict[Sight, Seen]
    noise: Tensor | None
    targets: Tensor


@dataclass(frozen=True)
class Hidden:
    """Hidden units [C, H, B], and the factors by which they depend on what came in."""

    units: Tensor
    gate: Tensor


class Stack:
    """Heads of one shape.

    Args:
        configurations: One a head; neighbours of one sight share their first product.
        first: Weights all begin with: W1, b1, W2, b2 for an MLP, W, b for a linear head, and a
            last [L, 1] where layers are summed by their softmax.
    """

    def __init__(self, configurations: Sequence[Configuration], first: Sequence[Tensor]) -> None:
        count = len(configurations)
        self.weights = [w.repeat(count, 1, 1) for w in first]
        self.deep = configurations[0].head == "mlp"
        self.descent: Descent | None = None
        self._set(configurations)

    def _set(self, configurations: Sequence[Configuration]) -> None:
        """All that follows from who is there."""
        self.configurations = tuple(configurations)
        self.gradients = [torch.empty_like(w) for w in self.weights]
        self.runs = _runs(self.configurations)
        like, rates = self.weights[0], [c.dropout for c in self.configurations]
        self.drops = any(rates)
        kept = torch.tensor([threshold(rate) for rate in rates], dtype=torch.int16)
        self.lowest_kept = kept.to(like.device).view(-1, 1, 1)
        self.raised = like.new_tensor([1 / (1 - rate) for rate in rates]).view(-1, 1, 1)
        biased = [float(c.bias != "none") for c in self.configurations]
        self.biased = None if all(biased) else like.new_tensor(biased).view(-1, 1, 1)

    def keep(self, on: Tensor) -> None:
        """Go on with the configurations `on`, positions [C']."""
        self.weights = [w[on] for w in self.weights]
        if self.descent is not None:
            self.descent.keep(on)
        self._set([self.configurations[c] for c in on.tolist()])

    def descend(self, step: Step, task: Task) -> None:
        """One step of every head."""
        outputs, hidden = self._forward(step)
        slope = _slope(task, outputs, step.targets)  # [C, K, B]
        if hidden is not None:
            torch.bmm(slope, hidden.units.transpose(1, 2), out=self.gradients[2])
            torch.sum(slope, dim=2, keepdim=True, out=self.gradients[3])
            slope = torch.bmm(self.weights[2].transpose(1, 2), slope).mul_(hidden.gate)
        self._first_gradients(slope, step)
        if self.biased is not None:
            for gradient in self.gradients[1 : 4 if self.deep else 2 : 2]:
                gradient.mul_(self.biased)
        assert self.descent is not None
        self.descent.update(self.weights, self.gradients)

    def _forward(self, step: Step) -> tuple[Tensor, Hidden | None]:
        """Outputs [C, K, B] with dropout, and the hidden units if there are any."""
        x = _product(self.weights, self.runs, step.seen)
        if not self.deep:
            return x, None
        alive = x > 0
        if self.drops:
            assert step.noise is not None
            alive &= step.noise >= self.lowest_kept
        gate = alive.to(x).mul_(self.raised) if self.drops else alive.to(x)
        units = x.mul_(gate)
        return torch.baddbmm(self.weights[3], self.weights[2], units), Hidden(units, gate)

    def _first_gradients(self, slope: Tensor, step: Step) -> None:
        """Gradients of the first layer, and of the layers' weights, from its slope [C, H, B]."""
        torch.sum(slope, dim=2, keepdim=True, out=self.gradients[1])
        for run in self.runs:
            mine, seen = slope[run.where].flatten(0, 1), step.seen[run.sight]
            x = seen.x
            if run.sight.layer == "sum":
                share = self.weights[-1][run.where].flatten().softmax(dim=0)
                x = _summed(seen, share)
                back = mine.T @ self.weights[0][run.where].flatten(0, 1)  # [B, D]
                back = back if seen.kept is None else back * seen.kept
                each = torch.einsum("bd,bld->l", back, seen.x)
                each = share * (each - share @ each)
                self.gradients[-1][run.where] = each.view(1, -1, 1)
            torch.mm(mine, x, out=self.gradients[0][run.where].flatten(0, 1))

    def outputs(self, seen: dict[Sight, Seen]) -> Tensor:
        """Outputs [C, K, m] for all samples, nothing dropped."""
        return outputs(self.weights, self.configurations, seen)


def outputs(
    weights: Sequence[Tensor], configurations: Sequence[Configuration], seen: dict[Sight, Seen]
) -> Tensor:
    """Outputs [C, K, m] of stacked weights, some samples at a time."""
    runs, num_samples = _runs(configurations), len(next(iter(seen.values())).x)
    like = weights[0]
    column = like.shape[0] * like.shape[1] * like.element_size()
    size = max(64, SLICE_BYTES.get(like.device.type, 1 << 28) // column)
    parts = []
    for first in range(0, num_samples, size):
        some = {sight: Seen(x.x[first : first + size]) for sight, x in seen.items()}
        x = _product(weights, runs, some)
        if configurations[0].head == "mlp":
            x = torch.baddbmm(weights[3], weights[2], x.relu_())
        parts.append(x)
    return torch.cat(parts, dim=2)


@dataclass(frozen=True)
class Run:
    """Neighbours in a stack that see the same."""

    where: slice
    sight: Sight


def _runs(configurations: Sequence[Configuration]) -> list[Run]:
    """Neighbours of one sight; a sum of layers is each configuration's own."""
    runs: list[Run] = []
    for c, configuration in enumerate(configurations):
        sight = configuration.sight
        if runs and runs[-1].sight == sight and sight.layer != "sum":
            runs[-1] = Run(slice(runs[-1].where.start, c + 1), sight)
        else:
            runs.append(Run(slice(c, c + 1), sight))
    return runs


def _product(weights: Sequence[Tensor], runs: Sequence[Run], seen: dict[Sight, Seen]) -> Tensor:
    """W x + b of the first layer, [C, H, B]: one product for each of `runs`."""
    weight, bias = weights[0], weights[1]
    num_samples = len(next(iter(seen.values())).x)
    z = weight.new_empty(*weight.shape[:2], num_samples)
    for run in runs:
        x = seen[run.sight].x
        if run.sight.layer == "sum":
            x = _summed(seen[run.sight], weights[-1][run.where].flatten().softmax(dim=0))
        torch.mm(weight[run.where].flatten(0, 1), x.T, out=z[run.where].flatten(0, 1))
    return z.add_(bias)


def _summed(seen: Seen, share: Tensor) -> Tensor:
    """Layers [B, L, D] weighted by shares [L], then dropout: [B, D]."""
    x = torch.einsum("bld,l->bd", seen.x, share)
    return x if seen.kept is None else x * seen.kept


def _slope(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    """Gradient [C, K, B] of the losses by their outputs."""
    seen = outputs.transpose(1, 2).detach().requires_grad_()
    with torch.enable_grad():
        loss = task.loss(seen, targets).sum()
    return torch.autograd.grad(loss, seen)[0].transpose(1, 2).contiguous()
