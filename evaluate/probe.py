"""The probe of one label set on one encoder's embeddings; test is opened when all is chosen.

Order of events: scaler and heads see train; the configuration is chosen on valid; the choice is
written; test is predicted; only then does `Labels.test_targets` open, for the written choice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluate.embeddings import Embeddings
from evaluate.heads import Configuration, Head, Schedule, train_heads
from evaluate.metrics import METRICS
from evaluate.tasks import TASKS, Task
from shards.errors import InputError
from shards.files import write_json
from shards.labels import SPLITS, Labels

MIN_TEST_TRACKS = 10

LINEAR = tuple(Configuration("linear", 10.0**power, learning_rate=None) for power in range(-4, 3))
"""Penalties from next to none to one that rules."""

MLP = tuple(
    Configuration("mlp", weight_decay, dropout)
    for weight_decay in (1e-4, 1e-2)
    for dropout in (0.25, 0.75)
)
"""A corner of JukeMIR's grid (Castellon et al., 2021): 512 units, Adam at 1e-3."""

GRID = LINEAR + MLP

SCHEDULES = {
    "linear": Schedule(min_gain=0.001),  # steps are cheap and the loss is convex
    "mlp": Schedule(min_gain=0.01),
}


@dataclass(frozen=True)
class Scaler:
    """Zero mean and unit deviation a feature, by the tracks it was fitted on."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray) -> Scaler:
        """The scaler of features [n, D]; a constant feature is only centred."""
        wide = features.astype(np.float64)
        std = wide.std(axis=0)
        constant = std <= 1e-7 * np.abs(wide).max(axis=0, initial=0.0)
        return cls(wide.mean(axis=0), np.where(constant, 1.0, std))

    def __call__(self, features: np.ndarray) -> Tensor:
        """Features [n, D], scaled, float32."""
        return torch.from_numpy(((features - self.mean) / self.std).astype(np.float32))


@dataclass(frozen=True)
class Trial:
    """A configuration of the grid and how it did on valid."""

    configuration: Configuration
    valid_score: float
    valid_loss: float
    steps: int


@dataclass(frozen=True)
class Choice:
    """The head that did best on valid, and all it was chosen from."""

    task: Task
    scaler: Scaler
    head: Head
    valid_score: float
    trials: tuple[Trial, ...]

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Outputs for features [n, D], as the metrics want them."""
        return self.task.decode(self.head(self.scaler(features)).numpy().astype(np.float64))

    @property
    def sha256(self) -> str:
        """Of the weights of the chosen head."""
        digest = hashlib.sha256()
        for weight in self.head.weights:
            digest.update(weight.numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Verdict:
    """Predictions for the test tracks of a label set, and the truth they were opened for."""

    label: str
    encoder: str
    choice: Choice
    rows: np.ndarray
    groups: np.ndarray
    outputs: np.ndarray
    targets: np.ndarray
    counts: dict[str, int]
    embeddings: str
    selection_sha256: str


def objection(labels: Labels, known: np.ndarray) -> str:
    """Why a label set cannot be judged by tracks `known` (bool, by index row), "" if it can."""
    if labels.kind not in TASKS:
        return f"labels of kind {labels.kind!r} are not judged yet"
    counts = {split: int(known[labels.rows(split)].sum()) for split in SPLITS}
    empty = [split for split, count in counts.items() if not count]
    if empty:
        return f"no readable track in {' and '.join(empty)}"
    if counts["test"] < MIN_TEST_TRACKS:
        return f"{counts['test']} test tracks, want at least {MIN_TEST_TRACKS}"
    train, valid = (labels.targets(s)[known[labels.rows(s)]] for s in ("train", "valid"))
    return TASKS[labels.kind].objection(train, valid)


def choose(
    task: Task,
    train: tuple[np.ndarray, np.ndarray],
    valid: tuple[np.ndarray, np.ndarray],
    *,
    grid: Sequence[Configuration] = GRID,
    schedule: Schedule | None = None,
    seed: int = 0,
) -> Choice:
    """Train the grid on (features [n, D], targets) and choose on valid, a tie by its loss."""
    scaler = Scaler.fit(train[0])
    tensors = [(scaler(x), task.encode(y, torch.float32)) for x, y in (train, valid)]
    kinds = dict.fromkeys(c.head for c in grid)
    heads: list[Head] = []
    for kind in kinds:
        some = [c for c in grid if c.head == kind]
        how = schedule or SCHEDULES[kind]
        heads += train_heads(some, task, tensors[0], tensors[1], schedule=how, seed=seed)
    score = METRICS[task.metrics[0]].score
    scores = [
        score(task.decode(head(tensors[1][0]).numpy().astype(np.float64)), valid[1])
        for head in heads
    ]
    best = max(range(len(heads)), key=lambda i: (scores[i], -heads[i].valid_loss))
    trials = tuple(
        Trial(head.configuration, value, head.valid_loss, head.steps)
        for head, value in zip(heads, scores, strict=True)
    )
    return Choice(task, scaler, heads[best], scores[best], trials)


def judge(
    labels: Labels,
    embeddings: Embeddings,
    *,
    encoder: str,
    folder: Path,
    grid: Sequence[Configuration] = GRID,
    schedule: Schedule | None = None,
    seed: int = 0,
) -> Verdict:
    """Choose, write the choice to `folder`, predict test, then open the test targets once."""
    rows = {split: labels.rows(split) for split in SPLITS}
    known = {split: embeddings.known(rows[split]) for split in rows}
    features = {split: embeddings.of(rows[split][known[split]]) for split in rows}
    targets = {split: labels.targets(split)[known[split]] for split in ("train", "valid")}
    _check_finite(labels.name, encoder, features)
    task = TASKS[labels.kind](targets["train"], len(labels.classes))
    choice = choose(
        task,
        (features["train"], targets["train"]),
        (features["valid"], targets["valid"]),
        grid=grid,
        schedule=schedule,
        seed=seed,
    )
    outputs = choice.predict(features["test"])
    path = folder / f"{labels.name}--{encoder}.json"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, selection(labels, embeddings, encoder, choice, seed))
    test, sha256 = labels.test_targets(path)
    return Verdict(
        label=labels.name,
        encoder=encoder,
        choice=choice,
        rows=rows["test"][known["test"]],
        groups=labels.groups("test")[known["test"]],
        outputs=outputs,
        targets=test[known["test"]],
        counts={split: len(x) for split, x in features.items()},
        embeddings=embeddings.id,
        selection_sha256=sha256,
    )


def selection(
    labels: Labels, embeddings: Embeddings, encoder: str, choice: Choice, seed: int
) -> dict[str, Any]:
    """What is fixed before test targets open; its SHA-256 stands beside the score."""
    return {
        "label": labels.name,
        "label_sha256": labels.info["sha256"],
        "encoder": encoder,
        "embeddings": embeddings.id,
        "metric": choice.task.metrics[0],
        "seed": seed,
        "chosen": {**asdict(choice.head.configuration), "steps": choice.head.steps},
        "head_sha256": choice.sha256,
        "valid_score": choice.valid_score,
        "grid": [
            {
                **asdict(trial.configuration),
                "steps": trial.steps,
                "valid_score": trial.valid_score,
                "valid_loss": trial.valid_loss,
            }
            for trial in choice.trials
        ],
    }


def _check_finite(label: str, encoder: str, features: dict[str, np.ndarray]) -> None:
    for split, x in features.items():
        broken = int((~np.isfinite(x).all(axis=1)).sum())
        if broken:
            raise InputError(
                f"Encoder {encoder!r} gives NaN or infinity for {broken} of {len(x)} tracks in "
                f"{split} of labels {label!r}: its training diverged. Train with a lower --lr."
            )
