"""Many heads in one program: the weights of C configurations stacked, each stopped on its own.

Configurations share everything that is luck (first weights, order of the tracks, dropout's noise),
so they differ by their hyperparameters alone, and each comes out as it would if trained alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluate.descent import Accelerated, Adam, Descent, largest_curvature
from evaluate.tasks.task import Task

HIDDEN_DIM = 512
"""Width of the MLP's hidden layer (Castellon et al., 2021, JukeMIR; also MARBLE's)."""


@dataclass(frozen=True)
class Configuration:
    """A head and what its training may vary.

    Args:
        head: "linear", or "mlp": one hidden layer of 512 units with ReLU.
        weight_decay: λ of the penalty λ/2 · |W|² beside the mean loss; biases are free.
        dropout: Of the hidden units.
        learning_rate: Of Adam; None, for linear heads, is accelerated gradient descent, whose
            rate follows from the curvature and whose steps see all of train.
    """

    head: str
    weight_decay: float
    dropout: float = 0.0
    learning_rate: float | None = 1e-3


@dataclass(frozen=True)
class Schedule:
    """When to look at valid and when to stop.

    Args:
        max_steps: Steps of the longest training.
        check_every: Steps between two looks at the loss on valid.
        patience: Looks in a row without a gain until a configuration stops.
        min_gain: What counts as a gain, as part of the loss before the first step; the weights of
            the lowest loss are kept whatever its lead.
        batch_size: Tracks a step, drawn without replacement; all of them if there are no more.
        early_stopping: Keep the weights of the lowest loss on valid, else the last ones.
    """

    max_steps: int = 1000
    check_every: int = 8
    patience: int = 5
    min_gain: float = 0.01
    batch_size: int = 256
    early_stopping: bool = True


@dataclass(frozen=True)
class Head:
    """A trained head: its configuration and weights, W [D, K] and b [1, K] a layer."""

    configuration: Configuration
    weights: tuple[Tensor, ...]
    valid_loss: float
    steps: int

    def __call__(self, features: Tensor) -> Tensor:
        """Outputs [n, K] of features [n, D]."""
        return forward([w[None] for w in self.weights], features)[0]


def train_heads(
    configurations: Sequence[Configuration],
    task: Task,
    train: tuple[Tensor, Tensor],
    valid: tuple[Tensor, Tensor],
    *,
    schedule: Schedule | None = None,
    seed: int = 0,
) -> list[Head]:
    """Heads of configurations of one kind, trained together on (features [n, D], targets)."""
    schedule = schedule or Schedule()
    features, targets = train
    program = _Program(configurations, features, task, seed)
    program.look(task, valid, 0, schedule)  # a head that has learnt nothing may be the best
    for step in range(1, schedule.max_steps + 1):
        batch = program.batch(len(features), schedule.batch_size)
        program.descend(task.loss(program(features[batch]), targets[batch]))
        if step % schedule.check_every == 0 or step == schedule.max_steps:
            program.look(task, valid, step, schedule)
        if not len(program.alive):
            break
    return program.heads()


def forward(weights: Sequence[Tensor], features: Tensor) -> Tensor:
    """Outputs [C, n, K] of stacked layers (W [C, D, K], b [C, 1, K], …) for features [n, D]."""
    x = layer(weights[0], weights[1], features)
    for i in range(2, len(weights), 2):
        x = layer(weights[i], weights[i + 1], x.relu())
    return x


def layer(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """Features [n, D] or [C, n, D] times W [C, D, K] plus b [C, 1, K], in few large products."""
    product = "nd,cdk->cnk" if x.ndim == 2 else "cnd,cdk->cnk"
    return torch.einsum(product, x, weight) + bias


def _first_weights(head: str, dim: int, num_outputs: int, luck: torch.Generator) -> list[Tensor]:
    """Zeros for the linear head, whose loss is convex; uniform in ±1/√fan-in for the MLP."""
    if head == "linear":
        return [torch.zeros(dim, num_outputs), torch.zeros(1, num_outputs)]
    shapes = [(dim, HIDDEN_DIM), (1, HIDDEN_DIM), (HIDDEN_DIM, num_outputs), (1, num_outputs)]
    fans = [dim, dim, HIDDEN_DIM, HIDDEN_DIM]
    return [
        (torch.rand(shape, generator=luck, dtype=torch.float64) * 2 - 1) / math.sqrt(fan)
        for shape, fan in zip(shapes, fans, strict=True)
    ]


class _Program:
    """Weights and the best so far of the configurations still alive."""

    def __init__(
        self, configurations: Sequence[Configuration], like: Tensor, task: Task, seed: int
    ) -> None:
        kinds = {(c.head, c.learning_rate is None) for c in configurations}
        if len(kinds) != 1 or ("mlp", True) in kinds:
            raise ValueError(
                "One program trains heads of one kind in one way, MLPs by Adam; got "
                f"{sorted(c.head for c in configurations)}."
            )
        self.configurations = tuple(configurations)
        count = len(configurations)
        self.luck = torch.Generator().manual_seed(seed)
        first = _first_weights(configurations[0].head, like.shape[1], task.num_outputs, self.luck)
        self.weights = [w.to(like).repeat(count, 1, 1).requires_grad_() for w in first]
        self.alive = torch.arange(count, device=like.device)
        self.best = [w.detach().clone() for w in self.weights]
        self.best_loss = torch.full((count,), math.inf, dtype=like.dtype, device=like.device)
        self.best_step = torch.zeros(count, dtype=torch.int64, device=like.device)
        self.mark_loss, self.mark_step = self.best_loss.clone(), self.best_step.clone()
        self.first_loss = math.inf
        decays, kept = (
            [c.weight_decay for c in configurations],
            [1 - c.dropout for c in configurations],
        )
        self.weight_decay = like.new_tensor(decays).view(-1, 1, 1)
        self.kept = like.new_tensor(kept).view(-1, 1, 1)
        self.descent: Descent
        if configurations[0].learning_rate is None:
            curvature = task.curvature * largest_curvature(like)
            self.descent = Accelerated(self.weights, 1 / (curvature + self.weight_decay))
        else:
            rates = like.new_tensor([c.learning_rate for c in configurations])
            self.descent = Adam(self.weights, rates.view(-1, 1, 1))

    def batch(self, num_tracks: int, size: int) -> Tensor | slice:
        """The tracks of the next step."""
        if size >= num_tracks or isinstance(self.descent, Accelerated):
            return slice(None)
        return torch.randperm(num_tracks, generator=self.luck)[:size]

    def __call__(self, features: Tensor) -> Tensor:
        """Outputs [C, n, K] with dropout of the hidden units: one noise, a threshold each."""
        if len(self.weights) == 2:
            return forward(self.weights, features)
        hidden = layer(self.weights[0], self.weights[1], features).relu()
        noise = torch.rand(hidden.shape[1:], generator=self.luck).to(hidden)
        return layer(self.weights[2], self.weights[3], hidden * ((noise < self.kept) / self.kept))

    def descend(self, loss: Tensor) -> None:
        """One step down the loss [C] and its penalty."""
        gradients = list(torch.autograd.grad(loss.sum(), self.weights))
        with torch.no_grad():
            for i in range(0, len(self.weights), 2):  # not the biases
                gradients[i] = gradients[i].addcmul(self.weight_decay, self.weights[i])
            self.descent.update(self.weights, gradients)

    @torch.no_grad()
    def look(self, task: Task, valid: tuple[Tensor, Tensor], step: int, schedule: Schedule) -> None:
        """Keep the weights that are better on valid than before, drop who has stopped gaining."""
        loss = task.loss(forward(self.weights, valid[0]), valid[1])
        if step == 0:
            self.first_loss = float(loss[0])  # all begin with the same weights
        alive = self.alive
        lower = (loss < self.best_loss[alive]) | (not schedule.early_stopping)
        for best, w in zip(self.best, self.weights, strict=True):
            best[alive[lower]] = w.detach()[lower]
        self.best_loss[alive[lower]] = loss[lower]
        self.best_step[alive[lower]] = step
        gained = (loss < self.mark_loss[alive] - schedule.min_gain * self.first_loss) | (
            not schedule.early_stopping
        )
        self.mark_loss[alive[gained]] = loss[gained]
        self.mark_step[alive[gained]] = step
        on = step - self.mark_step[alive] < schedule.patience * schedule.check_every
        if not on.all():
            self._drop(on)

    def _drop(self, on: Tensor) -> None:
        self.alive = self.alive[on]
        self.weights = [w.detach()[on].requires_grad_() for w in self.weights]
        self.weight_decay, self.kept = self.weight_decay[on], self.kept[on]
        self.descent.keep(on)

    def heads(self) -> list[Head]:
        """The best weights of every configuration."""
        return [
            Head(
                configuration=configuration,
                weights=tuple(best[i].clone() for best in self.best),
                valid_loss=float(self.best_loss[i]),
                steps=int(self.best_step[i]),
            )
            for i, configuration in enumerate(self.configurations)
        ]
