"""The judge of one label set on one encoder's vectors; test is opened when all is chosen.

Order of events: the protocol sees train and valid and fixes its candidates; the choice is written;
test is predicted; only then does `Labels.test_targets` open, for the written choice. A protocol
that selects on test, as some published code does, says so in what is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from evaluate.embeddings import Embeddings
from evaluate.metrics import METRICS
from evaluate.protocols.linear import Linear
from evaluate.protocols.protocol import Candidate, Decision, Protocol, Terms
from evaluate.results import plain
from evaluate.samples import Samples
from evaluate.tasks import TASKS, Task
from evaluate.verdict import Other, Verdict
from shards.errors import InputError
from shards.files import write_json
from shards.labels import SPLITS, Labels

MIN_TEST_TRACKS = 10

ON_TEST = "what does best on test: SELECTS ON TEST"


def objection(labels: Labels, known: np.ndarray) -> str:
    """Why a label set cannot be judged by tracks `known` (bool, by index row), "" if it can."""
    if labels.kind not in TASKS:
        return f"labels of kind {labels.kind!r} are not judged yet"
    if scarce := scarcity(labels, known):
        return scarce
    train, valid = (labels.targets(s)[known[labels.rows(s)]] for s in ("train", "valid"))
    return TASKS[labels.kind].objection(train, valid)


def scarcity(labels: Labels, known: np.ndarray) -> str:
    """Which split has too few tracks that are known (bool, by index row), "" if none has."""
    counts = {split: int(known[labels.rows(split)].sum()) for split in SPLITS}
    empty = [split for split, count in counts.items() if not count]
    if empty:
        return f"no readable track in {' and '.join(empty)}"
    few = counts["test"] < MIN_TEST_TRACKS
    return f"{counts['test']} test tracks, want at least {MIN_TEST_TRACKS}" if few else ""


def judge(
    labels: Labels,
    features: Mapping[str, Embeddings],
    *,
    encoder: str,
    folder: Path,
    protocol: Protocol | None = None,
    terms: Terms | None = None,
) -> Verdict:
    """Choose, write the choice to `folder`, predict test, then open the test targets once.

    Args:
        labels: The label set.
        features: Name of a feature → its vectors, all that the protocol asked for.
        encoder: Id of the contender.
        folder: Of selections.
        protocol: `linear` if None.
        terms: Seed and device.
    """
    protocol, terms = protocol or Linear(), replace(terms or Terms(), contender=encoder)
    rows = known_rows(labels, features)
    samples = {s: split_samples(labels, features, s, rows[s], protocol.unit) for s in SPLITS}
    _check_finite(labels.name, encoder, samples)
    task = TASKS[labels.kind](samples["train"].known_targets, len(labels.classes))
    decision = protocol.decide(task, samples["train"], samples["valid"], terms)
    outputs = [candidate.predict(samples["test"]) for candidate in decision.candidates]
    path = selection_path(folder, labels.name, encoder)
    folder.mkdir(parents=True, exist_ok=True)
    written = selection(labels, features, encoder, task, protocol, decision, terms.seed)
    write_json(path, plain(written))
    targets, sha256 = labels.test_targets(path)
    judged = np.isin(labels.rows("test"), rows["test"])
    targets = targets[judged]
    at = _on_test(decision, outputs, targets) if protocol.selects_on_test else 0
    return Verdict(
        label=labels.name,
        encoder=encoder,
        kind=labels.kind,
        metrics=task.metrics,
        rows=rows["test"],
        groups=labels.groups("test")[judged],
        outputs=outputs[at],
        targets=targets,
        counts={split: len(rows[split]) for split in SPLITS},
        embeddings=embeddings_id(features),
        chosen=decision.candidates[at].facts,
        valid_score=decision.candidates[at].valid_score,
        grid_size=len(decision.trials),
        selection_sha256=sha256,
        constant=METRICS[task.metrics[0]].score(task.constant(len(targets)), targets),
        others=_others(task, decision, outputs, targets),
    )


def _on_test(decision: Decision, outputs: list[np.ndarray], targets: np.ndarray) -> int:
    """Which rival does best by the test targets, for a protocol that selects on test."""
    first = len(outputs) - len(decision.rivals)
    score = METRICS[decision.rivals_by].score
    return first + int(np.nanargmax([score(one, targets) for one in outputs[first:]]))


def _others(
    task: Task, decision: Decision, outputs: list[np.ndarray], targets: np.ndarray
) -> tuple[Other, ...]:
    """Scores of what was fixed beside the choice."""
    return tuple(
        Other(
            title=one.title,
            series=one.series,
            facts=one.facts,
            valid_score=one.candidate.valid_score,
            scores={name: METRICS[name].score(found, targets) for name in task.metrics},
        )
        for one, found in zip(decision.beside, outputs[1:], strict=False)
    )


def selection_path(folder: Path, label: str, encoder: str) -> Path:
    """File of a choice."""
    return folder / f"{label}--{encoder}.json"


def embeddings_id(features: Mapping[str, Embeddings]) -> str:
    """Ids of the embeddings a judge was given, in the order of their names."""
    return " ".join(features[name].id for name in sorted(features))


def asked_for(labels: Labels, encoder: str, embeddings: str) -> dict[str, Any]:
    """What every selection begins with: the targets it may open, and whose vectors it is for."""
    return {
        "label": labels.name,
        "label_sha256": labels.info["sha256"],
        "encoder": encoder,
        "embeddings": embeddings,
    }


def selection(
    labels: Labels,
    features: Mapping[str, Embeddings],
    encoder: str,
    task: Task,
    protocol: Protocol,
    decision: Decision,
    seed: int,
) -> dict[str, Any]:
    """What is fixed before test targets open; its SHA-256 stands beside the score."""
    return {
        **asked_for(labels, encoder, embeddings_id(features)),
        "protocol": {"name": protocol.name, **protocol.settings},
        "selects_on_test": protocol.selects_on_test,
        "metric": task.metrics[0],
        "seed": seed,
        "chosen": ON_TEST if protocol.selects_on_test else decision.chosen.facts,
        "head_sha256": decision.chosen.sha256,
        "valid_score": decision.chosen.valid_score,
        "beside": [
            {**one.facts, "series": one.series, **_fixed(one.candidate)} for one in decision.beside
        ],
        "rivals": [{**one.facts, **_fixed(one)} for one in decision.rivals],
        "grid": decision.trials,
        **decision.facts,
    }


def _fixed(candidate: Candidate) -> dict[str, Any]:
    return {"head_sha256": candidate.sha256, "valid_score": candidate.valid_score}


def known_rows(labels: Labels, features: Mapping[str, Embeddings]) -> dict[str, np.ndarray]:
    """Index rows of each split that every feature has a vector for."""
    rows = {split: labels.rows(split) for split in SPLITS}
    return {
        split: some[np.all([one.known(some) for one in features.values()], axis=0)]
        for split, some in rows.items()
    }


def split_samples(
    labels: Labels,
    features: Mapping[str, Embeddings],
    split: str,
    rows: np.ndarray,
    unit: Literal["track", "window"] = "track",
) -> Samples:
    """Vectors of these rows of a split, and their targets unless it is test."""
    targets = None
    if split != "test":
        targets = labels.targets(split)[np.isin(labels.rows(split), rows)]
    if unit == "track":
        vectors = {name: one.of(rows) for name, one in features.items()}
        return Samples(vectors, np.arange(len(rows)), rows, targets)
    windows = {name: one.of_windows(rows) for name, one in features.items()}
    _, owner = next(iter(windows.values()))
    return Samples({name: found[0] for name, found in windows.items()}, owner, rows, targets)


def _check_finite(label: str, encoder: str, samples: Mapping[str, Samples]) -> None:
    for split, some in samples.items():
        for x in some.vectors.values():
            broken = int((~np.isfinite(x.reshape(len(x), -1)).all(axis=1)).sum())
            if broken:
                raise InputError(
                    f"Encoder {encoder!r} gives NaN or infinity for {broken} of {len(x)} tracks in "
                    f"{split} of labels {label!r}: its training diverged. Train with a lower --lr."
                )
