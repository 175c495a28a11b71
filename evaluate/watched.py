"""What a look at valid means to the heads of a stack: better, gaining, slower, or at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluate.configuration import Schedule
from evaluate.stack import Stack


@dataclass(frozen=True)
class Result:
    """A head whose training has ended.

    Args:
        place: Of its configuration in the program.
        weights: The best.
        steps: Until these.
        trained_steps: Until the end.
        cut_short: Whether the schedule's last step ended it.
    """

    place: int
    weights: tuple[Tensor, ...]
    steps: int
    trained_steps: int
    cut_short: bool


class Watched:
    """A stack, the best weights of each head so far, and since when it has gained nothing.

    Args:
        stack: Heads in training.
        places: Of their configurations in the program.
    """

    def __init__(self, stack: Stack, places: list[int]) -> None:
        self.stack, self.places = stack, list(places)
        count = len(places)
        self.weights = [w.clone() for w in stack.weights]
        self.best = np.full(count, np.nan)
        self.steps = np.zeros(count, np.int64)
        self.mark, self.mark_step = np.full(count, np.nan), np.zeros(count, np.int64)
        self.unit = np.ones(count)
        self.stale = np.zeros(count, np.int64)

    def look(self, goodness: Tensor, step: int, schedule: Schedule) -> list[Result]:
        """Take the goodness [C] on valid after a step; heads that have stopped gaining end."""
        good = goodness.double().cpu().numpy()
        if step == 0 and schedule.watch == "loss":
            self.unit = np.abs(good)
        always = not schedule.early_stopping
        better = always | _above(good, self.best)
        gained = always | _above(good - schedule.min_gain * self.unit, self.mark)
        self._note(better, gained, good, step)
        if schedule.plateau is not None:
            self._slow(gained, schedule.plateau, step)
        waiting = step - self.mark_step
        return self._leave(waiting < schedule.patience * schedule.check_every, step)

    def _note(self, better: np.ndarray, gained: np.ndarray, good: np.ndarray, step: int) -> None:
        at = torch.from_numpy(np.flatnonzero(better))
        for best, w in zip(self.weights, self.stack.weights, strict=True):
            best[at.to(w.device)] = w[at.to(w.device)]
        self.best[better], self.steps[better] = good[better], step
        self.mark[gained], self.mark_step[gained] = good[gained], step

    def _slow(self, gained: np.ndarray, plateau: int, step: int) -> None:
        """Halve the rate of who has borne too many looks without a gain."""
        self.stale = np.where(gained | (step == 0), 0, self.stale + 1)
        slower = self.stale > plateau
        self.stale[slower] = 0
        if slower.any() and self.stack.descent is not None:
            self.stack.descent.slow(np.flatnonzero(slower).tolist())

    def _leave(self, on: np.ndarray, step: int) -> list[Result]:
        if on.all():
            return []
        gone = [self._result(int(c), step, cut_short=False) for c in np.flatnonzero(~on)]
        self.places = [place for place, stays in zip(self.places, on, strict=True) if stays]
        at = torch.from_numpy(np.flatnonzero(on)).to(self.weights[0].device)
        self.weights = [w[at] for w in self.weights]
        for name in ARRAYS:
            setattr(self, name, getattr(self, name)[on])
        if self.places:
            self.stack.keep(at)
        return gone

    def end(self, step: int) -> list[Result]:
        """All heads that are left, as the schedule's last step leaves them."""
        return [self._result(c, step, cut_short=True) for c in range(len(self.places))]

    def _result(self, c: int, step: int, *, cut_short: bool) -> Result:
        weights = tuple(w[c].clone() for w in self.weights)
        return Result(self.places[c], weights, int(self.steps[c]), step, cut_short)

    def state(self) -> dict[str, Any]:
        """All that it needs to go on, as tensors and plain values."""
        assert self.stack.descent is not None
        return {
            "places": self.places,
            "weights": self.stack.weights,
            "best_weights": self.weights,
            "descent": self.stack.descent.state(),
            **{name: torch.from_numpy(getattr(self, name)) for name in ARRAYS},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state; heads that had ended leave."""
        at = [self.places.index(place) for place in state["places"]]
        on = torch.tensor(at, dtype=torch.int64, device=self.weights[0].device)
        self.places, self.weights = list(state["places"]), [w[on] for w in self.weights]
        self.stack.keep(on)
        for to, x in zip(self.stack.weights, state["weights"], strict=True):
            to.copy_(x)
        for to, x in zip(self.weights, state["best_weights"], strict=True):
            to.copy_(x)
        assert self.stack.descent is not None
        self.stack.descent.restore(state["descent"])
        for name in ARRAYS:
            setattr(self, name, state[name].numpy())


ARRAYS = ("best", "steps", "mark", "mark_step", "unit", "stale")


def _above(value: np.ndarray, mark: np.ndarray) -> np.ndarray:
    """Where a value is above a mark, or the first that is a number."""
    return np.asarray((value > mark) | (np.isnan(mark) & ~np.isnan(value)))
