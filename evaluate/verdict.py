"""Verdict: what every judge hands over, whatever the kind of label; plain values and arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Other:
    """Something fixed by the same selection and scored beside what was chosen: a layer, a draw.

    Args:
        title: As a reader is told it; others of one `series` make a curve or a table.
        series: What it is one of, e.g. "layer" or "share of train".
        facts: Plain values: the layer, the share, the draw, …
        valid_score: Primary metric on valid.
        scores: Metric → score on test.
    """

    title: str
    series: str
    facts: dict[str, Any]
    valid_score: float
    scores: dict[str, float]


@dataclass(frozen=True)
class Verdict:
    """Predictions for the test tracks of a label set, and the truth they were opened for.

    Args:
        label: Name of the label set.
        encoder: Id of the contender.
        kind: Of the labels.
        metrics: Names in METRICS; the first is primary.
        rows: Index rows [n] of the test tracks that were judged, ascending.
        groups: Group of each.
        outputs: [n] or [n, K] as the metrics want them; per-track results [n, m] where a score is
            no function of outputs and targets (retrieval, beats).
        targets: [n] or [n, K], as `Labels.test_targets` gave them.
        counts: Tracks judged in train, valid and test.
        embeddings: Ids of the embeddings, one a feature.
        chosen: Plain values that say what was chosen, with a "title" for a reader.
        valid_score: Primary metric of the choice on valid.
        grid_size: Configurations it was chosen from.
        selection_sha256: Of the file that was written before the test targets opened.
        constant: Score of the best answer that ignores the audio, NaN where there is none.
        others: What was scored beside the choice.
    """

    label: str
    encoder: str
    kind: str
    metrics: tuple[str, ...]
    rows: np.ndarray
    groups: np.ndarray
    outputs: np.ndarray
    targets: np.ndarray
    counts: dict[str, int]
    embeddings: str
    chosen: dict[str, Any]
    valid_score: float
    grid_size: int
    selection_sha256: str
    constant: float = float("nan")
    others: tuple[Other, ...] = field(default=())
