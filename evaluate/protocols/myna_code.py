"""Myna's released evaluator with its flaws: it SELECTS ON TEST, so its scores are too high.

It is here to tell how much of a published score is the protocol's. What it does: windows of 3 s
are samples of their own; each split is scaled by its own statistics, but valid not at all; only
hidden units drop out; and of 216 configurations the best by the test score is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np

from evaluate.heads import Configuration, Schedule
from evaluate.jukemir import GRID, SCHEDULE
from evaluate.protocols.protocol import Decision, Protocol, Terms
from evaluate.protocols.training import best_on_valid, candidate, train, trials
from evaluate.samples import Samples
from evaluate.scaler import Scaler
from evaluate.tasks import Task

DISTINCT = tuple(dict.fromkeys(replace(c, standardise=False, input_dropout=0.0) for c in GRID))
"""Of 216 configurations 72 differ, as neither the switch for scaling nor input dropout works."""


class MynaCode(Protocol):
    """The released evaluator of Yonay et al. (2025), repeated to be measured, not to be believed.

    Args:
        grid: Configurations.
        schedule: When to look at valid and when to stop.
    """

    name: ClassVar[str] = "myna-code"
    paper: ClassVar[str] = "released code of Yonay et al., 2025, which SELECTS ON TEST"
    deviations = (
        "As in the code, and against the paper's text: the configuration is chosen by its score on "
        "test, tags by macro average precision; train and test are each scaled by statistics of "
        "their own and valid is not scaled; only hidden units drop out; heads train on windows of "
        "3 s.",
        "72 of its 216 configurations differ; the others repeat them and are not trained again.",
        "Early stopping watches the metric of the labels; the mean of a track's outputs is its "
        "prediction.",
        f"Training ends after at most {SCHEDULE.max_steps} steps.",
    )
    aggregation: ClassVar[str] = (
        "Heads train on windows of 3 s; a track's outputs are the mean over its windows."
    )
    unit: ClassVar[Literal["track", "window"]] = "window"
    window_s: ClassVar[float | None] = 3.0
    selects_on_test: ClassVar[bool] = True

    def __init__(
        self, *, grid: Sequence[Configuration] = DISTINCT, schedule: Schedule = SCHEDULE
    ) -> None:
        self.grid, self.schedule = tuple(grid), schedule

    def decide(self, task: Task, train_: Samples, valid: Samples, terms: Terms) -> Decision:
        """All configurations as rivals: the test targets will choose."""
        heads = train(
            self.grid,
            task,
            train_,
            valid,
            schedule=self.schedule,
            terms=terms,
            prepare=scaled_by_itself,
            prepare_valid=np.asarray,
        )
        rivals = tuple(candidate(task, head, prepare=scaled_by_itself) for head in heads)
        by = "average_precision" if "average_precision" in task.metrics else task.metrics[0]
        return Decision(rivals[best_on_valid(heads)], trials(heads), rivals=rivals, rivals_by=by)


def scaled_by_itself(vectors: np.ndarray) -> np.ndarray:
    """Vectors [m, D] by their own mean and deviation: on test, statistics of the test tracks."""
    return np.asarray(Scaler.fit(vectors)(vectors).numpy())
