"""JukeMIR's grid: 216 heads, the best on valid (Castellon et al., 2021, arXiv:2107.05677)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from evaluate.heads import Configuration, Schedule
from evaluate.jukemir import GRID, SCHEDULE
from evaluate.protocols.protocol import Decision, Protocol, Terms
from evaluate.protocols.training import best_on_valid, candidate, train, trials
from evaluate.samples import Samples
from evaluate.tasks import Task


class JukeMIR(Protocol):
    """Scaled or not, linear or MLP, batch, rate, dropout and weight decay; chosen by the metric.

    Args:
        grid: Configurations.
        schedule: When to look at valid and when to stop.
    """

    name: ClassVar[str] = "jukemir"
    paper: ClassVar[str] = "Castellon et al., 2021, JukeMIR"
    deviations = (
        f"Training ends after at most {SCHEDULE.max_steps} steps; the paper's code has no last "
        "step. A head whose end that was bears cut_short.",
        "All 216 heads share first weights, batches and dropout's noise, so that they differ by "
        "their configuration alone.",
    )
    aggregation: ClassVar[str] = "A track's vector is the mean over its windows."

    def __init__(
        self, *, grid: Sequence[Configuration] = GRID, schedule: Schedule = SCHEDULE
    ) -> None:
        self.grid, self.schedule = tuple(grid), schedule

    def decide(self, task: Task, train_: Samples, valid: Samples, terms: Terms) -> Decision:
        """The configuration with the best metric on valid."""
        heads = train(self.grid, task, train_, valid, schedule=self.schedule, terms=terms)
        return Decision(candidate(task, heads[best_on_valid(heads)]), trials(heads))
