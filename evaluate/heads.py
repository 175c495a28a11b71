"""Heads on frozen embeddings, many trained at once.

Configurations share everything that is luck (first weights, order of the tracks, dropout's noise),
so they differ by their hyperparameters alone, and each comes out as it would if trained alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from evaluate.configuration import Configuration, Schedule
from evaluate.inputs import ROWS, Scaling, see
from evaluate.problem import Problem
from evaluate.program import Program
from evaluate.stack import outputs
from evaluate.tasks.task import Task
from evaluate.watched import Result

__all__ = ["Configuration", "Head", "Schedule", "train_heads"]


@dataclass(frozen=True)
class Head:
    """A trained head.

    Args:
        configuration: What it was trained by.
        weights: W [H, D] and b [H, 1] a layer; then [L, 1] where layers are summed by its softmax.
        scaling: Of the features, None if they are taken as given.
        valid_loss: Mean loss on valid.
        valid_score: Primary metric on valid, of tracks.
        steps: Until these weights were reached.
        trained_steps: Until training ended.
        cut_short: Whether `max_steps` ended it.
    """

    configuration: Configuration
    weights: tuple[Tensor, ...]
    scaling: Scaling | None
    valid_loss: float
    valid_score: float
    steps: int
    trained_steps: int
    cut_short: bool

    def __call__(self, features: Tensor) -> Tensor:
        """Outputs [n, K] of features [n, D] or [n, L, D]."""
        stacked, sight = [w[None] for w in self.weights], self.configuration.sight
        parts = [
            outputs(stacked, [self.configuration], {sight: see(x, sight, self.scaling, None)})
            for x in torch.split(features, ROWS)
        ]
        return torch.cat(parts, dim=2)[0].T


def train_heads(
    configurations: Sequence[Configuration],
    task: Task,
    train: tuple[Tensor, Tensor],
    valid: tuple[Tensor, Tensor],
    *,
    schedule: Schedule | None = None,
    seed: int = 0,
    valid_owner: Tensor | None = None,
    state: Path | None = None,
) -> list[Head]:
    """Heads of configurations, trained together on (features [n, …], targets).

    Args:
        configurations: Of any kind; those of one head and one batch size make one program.
        task: What is learnt.
        train: Features and encoded targets, both of tracks or both of windows.
        valid: Features of tracks or of windows, and encoded targets of tracks.
        schedule: When to look at valid and when to stop.
        seed: Of first weights, batches and dropout.
        valid_owner: Track's position [m] of each of valid's windows; None if they are tracks.
        state: Folder of what an interrupted training goes on from, equal to one that was not
            interrupted; it is the caller's to remove.
    """
    schedule = schedule or Schedule()
    problem = Problem(configurations, task, train, valid, valid_owner, schedule, seed)
    results: dict[int, Result] = {}
    for number, places in enumerate(programs(configurations, schedule)):
        program = Program(problem, [configurations[i] for i in places])
        found = program.run(state / f"program-{number}.pt" if state else None)
        results |= dict(zip(places, found, strict=True))
    return [_head(c, results[i], problem) for i, c in enumerate(configurations)]


def _head(configuration: Configuration, result: Result, problem: Problem) -> Head:
    """A head with its best weights, looked at once more."""
    seen = {configuration.sight: problem.valid(configuration.sight)}
    found = outputs([w[None] for w in result.weights], [configuration], seen)
    return Head(
        configuration=configuration,
        weights=result.weights,
        scaling=problem.scaling if configuration.standardise else None,
        valid_loss=float(problem.losses(found)),
        valid_score=float(problem.scores(found)),
        steps=result.steps,
        trained_steps=result.trained_steps,
        cut_short=result.cut_short,
    )


def programs(configurations: Sequence[Configuration], schedule: Schedule) -> list[list[int]]:
    """Positions of the configurations that make one program each."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, c in enumerate(configurations):
        by_adam = c.learning_rate is not None
        convex = c.head == "linear" and c.layer != "sum" and c.bias != "penalised"
        if c.head not in ("linear", "mlp") or not (by_adam or convex):
            raise ValueError(
                "A head is 'linear' or 'mlp'; an MLP, a sum of layers and penalised biases want a "
                f"learning rate of Adam; got {c}."
            )
        size = (c.batch_size or schedule.batch_size) if by_adam else None
        summed = c.layer_start if c.layer == "sum" else None
        start = (c.start, c.bias == "none") if c.head == "linear" else c.bias == "none"
        groups.setdefault((c.head, c.hidden_dim, size, start, summed), []).append(i)
    return list(groups.values())
