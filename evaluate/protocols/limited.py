"""How much of train is enough: 1, 5, 10 and 20 % of it, four draws each, and all of it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from evaluate.protocols.deezer import Deezer
from evaluate.protocols.protocol import Beside, Candidate, Decision, Protocol, Terms
from evaluate.samples import Samples
from evaluate.tasks import Task

SHARES = (0.01, 0.05, 0.1, 0.2)
DRAWS = 4
SERIES = "share of train"


class Limited(Protocol):
    """A protocol on draws of train; valid and test stay whole, and all of train is what is judged.

    Args:
        inner: What trains on each draw.
    """

    name: ClassVar[str] = "limited"
    paper: ClassVar[str] = "Meseguer-Brocal et al., 2024, limited data"
    deviations = (
        "Draws of the paper are unseeded: seeds 0 to 3 here, and the index rows of every draw are "
        "in the selection file.",
        *Deezer.deviations,
    )
    aggregation: ClassVar[str] = Deezer.aggregation

    def __init__(self, *, inner: Protocol | None = None) -> None:
        self.inner = inner or Deezer()

    @property
    def settings(self) -> dict[str, Any]:
        """What trains on each draw."""
        return {"inner": self.inner.name}

    def decide(self, task: Task, train: Samples, valid: Samples, terms: Terms) -> Decision:
        """All of train, and each draw beside it."""
        whole = self.inner.decide(task, train, valid, terms)
        beside = []
        rows = {}
        for share in SHARES:
            for draw in range(DRAWS):
                tracks = drawn(len(train.rows), share, seed=draw)
                some = train.of_tracks(tracks)
                name = f"{share:.0%}, draw {draw}"
                mine = terms.below(f"{share:g}-{draw}")
                chosen = self.inner.decide(task, some, valid, mine).chosen
                facts = {"share": share, "draw": draw, "tracks": len(tracks)}
                beside.append(Beside(name, SERIES, facts, chosen))
                rows[name] = some.rows.tolist()
        chosen = _all_of_train(whole.chosen)
        return Decision(chosen, whole.trials, tuple(beside), facts={"drawn": rows})


def drawn(num_tracks: int, share: float, *, seed: int) -> np.ndarray:
    """⌊share · n⌋ positions of n tracks, at least one, not stratified, ascending."""
    count = max(1, int(share * num_tracks))
    return np.sort(np.random.default_rng(seed).permutation(num_tracks)[:count])


def _all_of_train(one: Candidate) -> Candidate:
    title = f"{one.facts['title']}, all of train"
    return Candidate(one.predict, {**one.facts, "title": title}, one.valid_score, one.sha256)
