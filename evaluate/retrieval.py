"""The judge of `group` labels: versions of a piece found by the cosine of vectors, none learnt.

Order of events as in `evaluate.probe`: of several vectors the best on valid is chosen, the choice
is written, and only then do the test targets open.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evaluate.embeddings import Embeddings
from evaluate.metrics import METRICS
from evaluate.probe import MIN_TEST_TRACKS, asked_for, embeddings_id, known_rows, selection_path
from evaluate.ranking import PIECE_SCORES, rankings
from evaluate.verdict import Verdict
from shards.errors import InputError
from shards.files import write_json
from shards.labels import SPLITS, Labels

PRIMARY = "map"


def objection(labels: Labels, known: np.ndarray) -> str:
    """Why pieces cannot be looked for among tracks `known` (bool, by index row), "" if they can."""
    at = known[labels.rows("test")]
    if at.sum() < MIN_TEST_TRACKS:
        return f"{at.sum()} test tracks, want at least {MIN_TEST_TRACKS}"
    _, sizes = np.unique(labels.groups("test")[at], return_counts=True)
    return "" if sizes.max() > 1 else "no piece has two versions in test"


def judge_pieces(
    labels: Labels, features: Mapping[str, Embeddings], *, encoder: str, folder: Path
) -> Verdict:
    """Choose a vector by valid, write the choice to `folder`, then open test and rank its tracks.

    Args:
        labels: Of kind `group`.
        features: Name of a feature → its vectors [n, D], or [n, K, D]: then each layer is a choice.
        encoder: Id of the contender.
        folder: Of selections.
    """
    rows = known_rows(labels, features)
    vectors = {split: _vectors(features, rows[split]) for split in ("valid", "test")}
    _check_finite(labels.name, encoder, vectors)
    pieces = labels.targets("valid")[np.isin(labels.rows("valid"), rows["valid"])]
    trials = [
        {**facts, "valid_score": _score(rankings(x, pieces), pieces)}
        for facts, x in zip(_choices(features), vectors["valid"], strict=True)
    ]
    chosen = _best(trials, labels.name)
    path = selection_path(folder, labels.name, encoder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, _selection(labels, features, encoder, trials, chosen))
    targets, sha256 = labels.test_targets(path)
    judged = np.isin(labels.rows("test"), rows["test"])
    return Verdict(
        label=labels.name,
        encoder=encoder,
        kind=labels.kind,
        metrics=tuple(PIECE_SCORES),
        rows=rows["test"],
        groups=labels.groups("test")[judged],
        outputs=rankings(vectors["test"][chosen], targets[judged]),
        targets=targets[judged],
        counts={split: len(rows[split]) for split in SPLITS},
        embeddings=embeddings_id(features),
        chosen=trials[chosen],
        valid_score=trials[chosen]["valid_score"],
        grid_size=len(trials),
        selection_sha256=sha256,
    )


def _choices(features: Mapping[str, Embeddings]) -> list[dict[str, Any]]:
    """Every vector there is, in plain values."""
    choices: list[dict[str, Any]] = []
    for name, one in features.items():
        if one.vectors.ndim == 2:
            choices.append({"feature": name, "layer": None, "title": f"cosine, {name}"})
            continue
        for layer in range(one.vectors.shape[1]):
            title = f"cosine, layer {layer}"
            choices.append({"feature": name, "layer": layer, "title": title})
    return choices


def _vectors(features: Mapping[str, Embeddings], rows: np.ndarray) -> list[np.ndarray]:
    """Vectors [n, D] of the rows for each of the choices."""
    found = []
    for one in features.values():
        x = one.of(rows)
        found += [x] if x.ndim == 2 else [x[:, layer] for layer in range(x.shape[1])]
    return found


def _score(results: np.ndarray, pieces: np.ndarray) -> float:
    return METRICS[PRIMARY].score(results, pieces)


def _best(trials: list[dict[str, Any]], label: str) -> int:
    """The trial that did best on valid, the first of equals; one alone needs no valid."""
    scores = [trial["valid_score"] for trial in trials]
    if len(trials) > 1 and np.isnan(scores).any():
        raise InputError(
            f"Labels {label!r} have no piece with two versions in valid to choose among "
            f"{len(trials)} vectors by. Ask for one vector, or split with pieces in valid."
        )
    return int(np.argmax(scores)) if len(trials) > 1 else 0


def _selection(
    labels: Labels,
    features: Mapping[str, Embeddings],
    encoder: str,
    trials: list[dict[str, Any]],
    chosen: int,
) -> dict[str, Any]:
    """What is fixed before test targets open; its SHA-256 stands beside the score."""
    return {
        **asked_for(labels, encoder, embeddings_id(features)),
        "protocol": {"name": "cosine"},
        "selects_on_test": False,
        "metric": PRIMARY,
        "chosen": _plain(trials[chosen]),
        "grid": [_plain(trial) for trial in trials],
    }


def _plain(trial: dict[str, Any]) -> dict[str, Any]:
    """A trial as JSON has it: a score that is not defined is null."""
    undefined = np.isnan(trial["valid_score"])
    return {**trial, "valid_score": None if undefined else trial["valid_score"]}


def _check_finite(label: str, encoder: str, vectors: dict[str, list[np.ndarray]]) -> None:
    for split, some in vectors.items():
        broken = max(int((~np.isfinite(x).all(axis=1)).sum()) for x in some)
        if broken:
            raise InputError(
                f"Encoder {encoder!r} gives NaN or infinity for {broken} of {len(some[0])} tracks "
                f"in {split} of labels {label!r}: its training diverged. Train with a lower --lr."
            )
