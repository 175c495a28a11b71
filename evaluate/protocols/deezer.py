"""A linear layer without bias, as Meseguer-Brocal et al. (2024) judge their encoders."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from evaluate.heads import Configuration, Schedule
from evaluate.protocols.protocol import Decision, Protocol, Terms
from evaluate.protocols.training import candidate, train, trials
from evaluate.samples import Samples
from evaluate.tasks import Task

EPOCHS, STEPS, BATCH = 25, 128, 256
RATES = (1e-4, 1e-3, 1e-2)

GRID = tuple(Configuration("linear", 0.0, learning_rate=rate, bias="none") for rate in RATES)
SCHEDULE = Schedule(
    max_steps=EPOCHS * STEPS, check_every=STEPS, patience=EPOCHS, min_gain=0.0, batch_size=BATCH
)


class Deezer(Protocol):
    """One linear layer without bias, 25 epochs of 128 batches of 256, best by valid loss.

    Args:
        schedule: When to look at valid and when to stop.
    """

    name: ClassVar[str] = "deezer"
    paper: ClassVar[str] = "Meseguer-Brocal et al., 2024"
    deviations = (
        "Optimiser and learning rate of the paper are unreleased: Adam here, its rate one of "
        "1e-4, 1e-3 and 1e-2, chosen by the loss on valid as the epoch is.",
        "Vectors are divided by one number, their root mean square on train, so that a rate means "
        "the same for every encoder; a layer without bias can learn the same either way.",
        "The paper judges tags; classes, keys and numbers are ours, numbers standardised by train.",
    )
    aggregation: ClassVar[str] = "A track's vector is the mean over its windows."

    def __init__(self, *, schedule: Schedule = SCHEDULE) -> None:
        self.schedule = schedule

    def decide(self, task: Task, train_: Samples, valid: Samples, terms: Terms) -> Decision:
        """The rate with the lowest loss on valid."""
        size = root_mean_square(train_.only)

        def prepare(vectors: np.ndarray) -> np.ndarray:
            return np.asarray(vectors / size)

        heads = train(
            GRID, task, train_, valid, schedule=self.schedule, terms=terms, prepare=prepare
        )
        best = min(heads, key=lambda head: head.valid_loss)
        more = {"divided_by": float(size)}
        return Decision(candidate(task, best, prepare=prepare, more=more), trials(heads))


def root_mean_square(features: np.ndarray) -> np.float32:
    """Of all features [n, D] together; 1 where all are zero."""
    return np.float32(np.sqrt(np.square(features, dtype=np.float64).mean()) or 1.0)
