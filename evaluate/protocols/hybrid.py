"""Every pool of the encoder, the best chosen on valid (Yonay et al., 2025, Myna's hybrid)."""

from __future__ import annotations

from typing import Any, ClassVar

from evaluate.embed import Embedder
from evaluate.features import Feature
from evaluate.protocols.jukemir import JukeMIR
from evaluate.protocols.protocol import Beside, Candidate, Decision, Protocol, Terms
from evaluate.samples import Samples
from evaluate.tasks import Task

SERIES = "pool"


class Hybrid(Protocol):
    """A protocol on the vector of every pool; the pool is chosen with the rest, on valid.

    Args:
        inner: What is run on each pool.
    """

    name: ClassVar[str] = "hybrid"
    paper: ClassVar[str] = "Yonay et al., 2025, Myna"
    deviations = (
        "The paper does not say on which split the pool is chosen: on valid here.",
        "Each pool gets JukeMIR's grid, as the paper's text says.",
        *JukeMIR.deviations,
    )
    aggregation: ClassVar[str] = "A track's vector is the mean over its windows, for every pool."

    def __init__(self, *, inner: Protocol | None = None) -> None:
        self.inner = inner or JukeMIR()

    @property
    def settings(self) -> dict[str, Any]:
        """What is run on each pool."""
        return {"inner": self.inner.name}

    def features(self, encoder: Embedder) -> tuple[Feature, ...]:
        """Every pool, or the one vector there is."""
        return every_pool(encoder)

    def decide(self, task: Task, train: Samples, valid: Samples, terms: Terms) -> Decision:
        """The pool and head that do best on valid; the best head of each pool stands beside it."""
        beside, trials = [], []
        for pool in train.vectors:
            found = self.inner.decide(
                task, train.of_feature(pool), valid.of_feature(pool), terms.below(pool)
            )
            trials += [{**trial, "pool": pool} for trial in found.trials]
            beside.append(Beside(pool, SERIES, {"pool": pool}, _of_pool(found.chosen, pool)))
        best = max(beside, key=lambda one: one.candidate.valid_score)
        return Decision(best.candidate, trials, tuple(beside) if len(beside) > 1 else ())


def every_pool(encoder: Embedder) -> tuple[Feature, ...]:
    """A feature a pool, the default first."""
    pools = list(getattr(encoder, "pools", {}))
    return tuple(Feature(pool) for pool in pools) or (Feature(),)


def _of_pool(one: Candidate, pool: str) -> Candidate:
    facts = {**one.facts, "pool": pool, "title": f"{one.facts['title']}, pool {pool}"}
    return Candidate(
        lambda some: one.predict(some.of_feature(pool)), facts, one.valid_score, one.sha256
    )
