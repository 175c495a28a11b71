"""Configuration and Schedule: what the training of a head may vary, and when it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evaluate.inputs import Sight
from evaluate.windows import Aggregate

HIDDEN_DIM = 512
"""Width of the MLP's hidden layer (Castellon et al., 2021, JukeMIR; also MARBLE's)."""


@dataclass(frozen=True)
class Configuration:
    """A head and what its training may vary.

    Args:
        head: "linear", or "mlp": one hidden layer with ReLU.
        weight_decay: λ of the penalty λ/2 · |W|² beside the mean loss.
        dropout: Of the hidden units.
        learning_rate: Of Adam; None, for linear heads, is accelerated gradient descent, whose
            rate follows from the curvature and whose steps see all of train.
        input_dropout: Of the features.
        standardise: Features by mean and deviation of train; else they are taken as given.
        batch_size: Tracks or windows a step; the schedule's if None.
        bias: "free" of the penalty, "penalised" like the weights (as torch's optimisers do), or
            "none".
        start: First weights of linear heads; those of MLPs are always random, in ±1/√fan-in.
        layer: Of features [n, L, D]: its number, or "sum" for all of them, weighted by a softmax
            that is learnt with the head.
        layer_start: Of that softmax: zeros is the mean of the layers, random is normal.
        hidden_dim: Units of an MLP's hidden layer.
    """

    head: str
    weight_decay: float
    dropout: float = 0.0
    learning_rate: float | None = 1e-3
    input_dropout: float = 0.0
    standardise: bool = False
    batch_size: int | None = None
    bias: Literal["free", "penalised", "none"] = "free"
    start: Literal["zeros", "random"] = "zeros"
    layer: int | Literal["sum"] | None = None
    layer_start: Literal["zeros", "random"] = "zeros"
    hidden_dim: int = HIDDEN_DIM

    @property
    def sight(self) -> Sight:
        """How it sees features."""
        return Sight(self.standardise, self.input_dropout, self.layer)


@dataclass(frozen=True)
class Schedule:
    """When to look at valid and when to stop.

    Args:
        max_steps: Steps of the longest training.
        check_every: Steps between two looks at valid.
        patience: Looks in a row without a gain until a configuration stops.
        min_gain: What counts as a gain: of the primary metric, or as part of the loss before the
            first step; the best weights are kept whatever their lead.
        batch_size: Tracks or windows a step, drawn without replacement; all of them if there are
            no more.
        early_stopping: Keep the best weights on valid, else the last ones.
        watch: By what they are best on valid: the lowest loss, or the highest primary metric.
        plateau: Looks in a row without a gain that are borne before Adam's rate is halved (torch's
            ReduceLROnPlateau); None never halves it.
        aggregate: How outputs of windows become a track's before the primary metric sees them;
            the loss is that of the windows.
    """

    max_steps: int = 1000
    check_every: int = 8
    patience: int = 5
    min_gain: float = 0.01
    batch_size: int = 256
    early_stopping: bool = True
    watch: Literal["loss", "score"] = "loss"
    plateau: int | None = None
    aggregate: Aggregate = "mean"
