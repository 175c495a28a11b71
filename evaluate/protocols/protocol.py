"""Protocol: what a paper does between embeddings and a score, up to the opening of test."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from evaluate.embed import Embedder
from evaluate.features import Feature
from evaluate.samples import Samples
from evaluate.tasks import Task

TRACK_LEVEL = ("class", "tags", "number", "key")
"""Kinds of labels that a head on vectors of tracks can learn."""


@dataclass(frozen=True)
class Candidate:
    """Something that predicts, fixed by train and valid.

    Args:
        predict: Samples → outputs [n] or [n, K] a track, as the metrics want them.
        facts: Plain values that say what it is; "title" is for a reader.
        valid_score: Primary metric on valid.
        sha256: Of all it learnt.
    """

    predict: Callable[[Samples], np.ndarray]
    facts: dict[str, Any]
    valid_score: float
    sha256: str


@dataclass(frozen=True)
class Beside:
    """A candidate that is scored beside the chosen one: one layer of a sweep, one draw of train."""

    title: str
    series: str
    facts: dict[str, Any]
    candidate: Candidate


@dataclass(frozen=True)
class Decision:
    """All that a protocol fixed before test opens.

    Args:
        chosen: What is judged; where a protocol selects on test, what did best on valid.
        trials: Plain values of all configurations it was chosen from, each with "valid_score".
        beside: Fixed as well and scored beside it.
        rivals: Where a protocol selects on test: those the test targets will choose from.
        rivals_by: Metric on test that chooses among them.
        facts: More to be written into the selection, e.g. which tracks were drawn.
    """

    chosen: Candidate
    trials: list[dict[str, Any]]
    beside: tuple[Beside, ...] = ()
    rivals: tuple[Candidate, ...] = ()
    rivals_by: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def candidates(self) -> list[Candidate]:
        """All that predict test: the chosen one, those beside it, the rivals."""
        return [self.chosen, *(one.candidate for one in self.beside), *self.rivals]


@dataclass(frozen=True)
class Terms:
    """Under which terms a protocol trains.

    Args:
        seed: Of first weights, batches, dropout and draws.
        device: Where heads are trained.
        state: Folder for what an interrupted training goes on from; None keeps nothing.
    """

    seed: int = 0
    device: str = "cpu"
    state: Path | None = None

    def below(self, name: str) -> Terms:
        """The same terms for a part of a protocol, which keeps its state apart."""
        return replace(self, state=self.state and self.state / name)


class Protocol(ABC):
    """Base of all protocols; constructor arguments are keyword-only and plain values."""

    name: ClassVar[str]
    paper: ClassVar[str]
    """Whose protocol it is, as a reader is told it."""
    deviations: tuple[str, ...]
    """In what it differs from that paper, and what the paper leaves open; a sentence each."""
    aggregation: ClassVar[str]
    """How windows become a track, in a sentence."""
    kinds: ClassVar[tuple[str, ...]] = TRACK_LEVEL
    unit: ClassVar[Literal["track", "window"]] = "track"
    window_s: ClassVar[float | None] = None
    """Length of a window; if None, what the labels ask for, or the encoder's own clip."""
    selects_on_test: ClassVar[bool] = False

    @property
    def settings(self) -> dict[str, Any]:
        """Plain values of the constructor's arguments."""
        return {}

    def features(self, encoder: Embedder) -> tuple[Feature, ...]:
        """What it wants extracted; an encoder with one vector and no layers gives that."""
        return (Feature(),)

    def objection(self, kind: str) -> str:
        """Why labels of this kind are not judged by it, "" if they are."""
        if kind in self.kinds:
            return ""
        return f"protocol {self.name} judges {', '.join(self.kinds)}, not {kind}"

    @abstractmethod
    def decide(self, task: Task, train: Samples, valid: Samples, terms: Terms) -> Decision:
        """Train on train, choose on valid, without a look at test."""
