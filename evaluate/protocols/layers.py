"""A learnt sum of all layers, and each layer alone: music2vec's evaluation."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch

from evaluate.embed import Embedder
from evaluate.features import Feature
from evaluate.heads import Head, Schedule
from evaluate.layers import SCHEDULE, layer_grid
from evaluate.protocols.candidates import grid_settings
from evaluate.protocols.protocol import Beside, Decision, Protocol, Terms
from evaluate.protocols.training import best_on_valid, candidate, train, trials
from evaluate.samples import Samples
from evaluate.tasks import Task

SERIES = "layer"


class Layers(Protocol):
    """An MLP of 512 units on layers weighted by a softmax, and on each single layer.

    What does best on valid is judged; the sum and every layer are scored beside it.

    Args:
        drop_first_layer: Leave out layer 0, the convolutions' output: 12 of 13, as the code has it.
        schedule: When to look at valid and when to stop.
    """

    name: ClassVar[str] = "layers"
    paper: ClassVar[str] = "Ma et al., 2023, music2vec and MusicHuBERT"
    deviations: tuple[str, ...] = (
        "Looks between a halved rate and the end are ours, the paper gives none.",
        "The sum and the single layers are one grid, chosen on valid; the paper reports the sum.",
        "Rate 1e-3 alone; the released sweep tries six.",
    )
    aggregation: ClassVar[str] = (
        "A track's vectors, one a layer, are means over the tokens of a window, then over windows."
    )

    def __init__(self, *, drop_first_layer: bool = False, schedule: Schedule = SCHEDULE) -> None:
        self.first, self.schedule = int(drop_first_layer), schedule
        if drop_first_layer:
            text = "Layer 0 is left out and the sum begins at random weights, as in the code."
            self.deviations = (text, *self.deviations)

    @property
    def settings(self) -> dict[str, Any]:
        """Which layers, trained for how long."""
        grid = layer_grid((), start=self.start)
        return {"drop_first_layer": bool(self.first), **grid_settings(grid, self.schedule)}

    def features(self, encoder: Embedder) -> tuple[Feature, ...]:
        """All layers; what has none gives its one vector."""
        return (Feature(layers=hasattr(encoder, "trunk")),)

    @property
    def start(self) -> Literal["zeros", "random"]:
        """Of the weights of the sum."""
        return "random" if self.first else "zeros"

    def decide(self, task: Task, train_: Samples, valid: Samples, terms: Terms) -> Decision:
        """The sum or the layer with the best metric on valid."""
        num_layers = self.prepare(train_.only[:1]).shape[1]
        grid = layer_grid(range(num_layers), start=self.start)
        heads = train(
            grid, task, train_, valid, schedule=self.schedule, terms=terms, prepare=self.prepare
        )
        candidates = [
            candidate(task, head, prepare=self.prepare, more=self.facts(head)) for head in heads
        ]
        beside = [Beside(one.facts["title"], SERIES, one.facts, one) for one in candidates]
        return Decision(candidates[best_on_valid(heads)], trials(heads), tuple(beside))

    def prepare(self, vectors: np.ndarray) -> np.ndarray:
        """Layers [n, K, D] that are looked at; one vector [n, D] is one layer."""
        if vectors.ndim == 2:
            return vectors[:, None]
        return vectors[:, self.first :] if vectors.shape[1] > 1 else vectors

    def facts(self, head: Head) -> dict[str, Any]:
        """Which layer by its number in the encoder, or how much of each is in the sum."""
        layer = head.configuration.layer
        if layer == "sum":
            shares = torch.softmax(head.weights[-1].detach().flatten(), dim=0)
            return {"title": "weighted sum of layers", "layer_shares": shares.tolist()}
        assert isinstance(layer, int)
        return {"title": f"layer {layer + self.first}", "layer": layer + self.first}
