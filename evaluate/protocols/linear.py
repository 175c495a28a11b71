"""Linear heads and small MLPs on scaled vectors, the best on valid; what judges by default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
import torch

from evaluate.heads import Configuration, Head, Schedule, train_heads
from evaluate.metrics import METRICS
from evaluate.protocols.candidates import facts, outputs, weights_sha256
from evaluate.protocols.protocol import Candidate, Decision, Protocol, Terms
from evaluate.samples import Samples
from evaluate.scaler import Scaler
from evaluate.tasks import Task

LINEAR = tuple(Configuration("linear", 10.0**power, learning_rate=None) for power in range(-4, 3))
"""Penalties from next to none to one that rules."""

MLP = tuple(
    Configuration("mlp", weight_decay, dropout)
    for weight_decay in (1e-4, 1e-2)
    for dropout in (0.25, 0.75)
)
"""A corner of JukeMIR's grid (Castellon et al., 2021): 512 units, Adam at 1e-3."""

GRID = LINEAR + MLP

SCHEDULES = {
    "linear": Schedule(min_gain=0.001),  # steps are cheap and the loss is convex
    "mlp": Schedule(min_gain=0.01),
}


class Linear(Protocol):
    """Seven penalties of a linear head and four MLPs, scaled by train, chosen on valid."""

    name: ClassVar[str] = "linear"
    paper: ClassVar[str] = "our own"
    deviations = ()
    aggregation: ClassVar[str] = "A track's vector is the mean over its windows."

    def __init__(
        self, *, grid: Sequence[Configuration] = GRID, schedule: Schedule | None = None
    ) -> None:
        self.grid, self.schedule = tuple(grid), schedule

    def decide(self, task: Task, train: Samples, valid: Samples, terms: Terms) -> Decision:
        """The best of the grid on valid, a tie by its loss there."""
        choice = choose(
            task,
            (train.only, train.known_targets),
            (valid.only, valid.known_targets),
            grid=self.grid,
            schedule=self.schedule,
            seed=terms.seed,
            device=terms.device,
        )
        trials = [
            {
                **asdict(trial.configuration),
                "steps": trial.steps,
                "valid_score": trial.valid_score,
                "valid_loss": trial.valid_loss,
            }
            for trial in choice.trials
        ]
        return Decision(choice.candidate(), trials)


@dataclass(frozen=True)
class Trial:
    """A configuration of the grid and how it did on valid."""

    configuration: Configuration
    valid_score: float
    valid_loss: float
    steps: int


@dataclass(frozen=True)
class Choice:
    """The head that did best on valid, and all it was chosen from."""

    task: Task
    scaler: Scaler
    head: Head
    valid_score: float
    trials: tuple[Trial, ...]

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Outputs for features [n, D], as the metrics want them."""
        return outputs(self.task, self.head, self.scaler(features))

    def candidate(self) -> Candidate:
        """The same for samples of one vector a track."""
        return Candidate(
            predict=lambda samples: self.predict(samples.only),
            facts=facts(self.head),
            valid_score=self.valid_score,
            sha256=weights_sha256(self.head.weights),
        )


def choose(
    task: Task,
    train: tuple[np.ndarray, np.ndarray],
    valid: tuple[np.ndarray, np.ndarray],
    *,
    grid: Sequence[Configuration] = GRID,
    schedule: Schedule | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Choice:
    """Train the grid on (features [n, D], targets) and choose on valid, a tie by its loss."""
    scaler = Scaler.fit(train[0])
    tensors = [
        (scaler(x).to(device), task.encode(y, torch.float32).to(device)) for x, y in (train, valid)
    ]
    heads: list[Head] = []
    for kind in dict.fromkeys(c.head for c in grid):
        some = [c for c in grid if c.head == kind]
        how = schedule or SCHEDULES[kind]
        heads += train_heads(some, task, tensors[0], tensors[1], schedule=how, seed=seed)
    score = METRICS[task.metrics[0]].score
    scores = [score(outputs(task, head, tensors[1][0]), valid[1]) for head in heads]
    best = max(range(len(heads)), key=lambda i: (scores[i], -heads[i].valid_loss))
    trials = tuple(
        Trial(head.configuration, value, head.valid_loss, head.steps)
        for head, value in zip(heads, scores, strict=True)
    )
    return Choice(task, scaler, heads[best], scores[best], trials)
