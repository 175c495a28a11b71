"""Weighted sums of layers and sweeps over single layers (music2vec's evaluation).

An MLP of 512 units with ReLU and dropout .2 on layers summed by a softmax; Adam at 1e-3, batches of
64, the rate halved on plateaus, early stopping. The paper sums 13 layers, the convolutions' output
and 12 of the transformer; its code leaves out the first and begins at random weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from evaluate.configuration import Configuration, Schedule

SCHEDULE = Schedule(
    max_steps=20_000,
    check_every=50,
    patience=20,
    min_gain=0.0,
    watch="score",
    plateau=5,
    batch_size=64,
)
"""Rate halved and training ended after so many looks without a gain: figures of ours, the paper
gives none."""

RATE = 1e-3


def layer_grid(
    layers: Sequence[int],
    *,
    rates: Sequence[float] = (RATE,),
    start: Literal["zeros", "random"] = "zeros",
    standardise: bool = False,
) -> list[Configuration]:
    """The sum of all layers, then each of `layers` alone, at every rate."""
    every: list[int | Literal["sum"]] = ["sum", *layers]
    return [
        Configuration(
            "mlp",
            0.0,
            0.2,
            rate,
            standardise=standardise,
            bias="penalised",
            layer=layer,
            layer_start=start,
        )
        for layer in every
        for rate in rates
    ]
