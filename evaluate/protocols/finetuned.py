"""The head that fine-tuning left beside its encoder, judged as it is."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from evaluate.embed import Embedder
from evaluate.features import Feature
from evaluate.metrics import METRICS
from evaluate.protocols.linear import Linear
from evaluate.protocols.protocol import Candidate, Decision, Protocol, Terms
from evaluate.samples import Samples
from evaluate.tasks import Task
from evaluate.windows import Owners
from shards.errors import InputError
from shards.files import read_json, shown
from shards.labels import Labels
from train.methods.finetune import head, objection


class Finetuned(Protocol):
    """Nothing is trained: the run's own head answers every window, and answers are averaged.

    Baselines have no head of their own: theirs are those of `linear`, on all of train.

    Args:
        run: Folder of a run of `--method finetune`.
    """

    name: ClassVar[str] = "finetuned"
    paper: ClassVar[str] = "MART and Meseguer-Brocal et al., 2024, fine-tuning"
    deviations = (
        "Head, optimiser and schedule are unstated in both papers: those of the run stand in its "
        "run.json. The weights are the last ones; valid chose nothing.",
        "Baselines are not fine-tuned: linear heads on all of train. For a model trained from "
        "nothing, train it without --init and compare.",
    )
    aggregation: ClassVar[str] = "A track's output is the mean of the head's outputs on windows."
    unit: ClassVar[Any] = "window"

    def __init__(self, *, run: Path | str = "") -> None:
        folder = Path(run) / "head"
        if not run or not (folder / "head.json").is_file():
            raise InputError(
                f"{shown(run)!r} holds no head: want --encoder RUN of a run that was made by "
                "`train/run.py --method finetune`."
            )
        self.facts = read_json(folder / "head.json")
        self.weights = load_file(folder / "model.safetensors")

    @property
    def settings(self) -> dict[str, Any]:
        """What the head was made for, and its hash."""
        return {**self.facts, "head_sha256": self._sha256}

    def features(self, encoder: Embedder) -> tuple[Feature, ...]:
        """The pool that the head was trained on, where the encoder has it."""
        named = self.facts["pool"] in getattr(encoder, "pools", {})
        return (Feature(pool=self.facts["pool"]),) if named else (Feature(),)

    def refuses(self, labels: Labels) -> str:
        """The head answers the labels it has learnt."""
        return self.objection(labels.kind) or objection(labels, self.facts)

    def decide(self, task: Task, train: Samples, valid: Samples, terms: Terms) -> Decision:
        """The head for the encoder it belongs to."""
        if terms.contender != "trained":
            return Linear().decide(task, averaged(train), averaged(valid), terms)
        score = METRICS[task.metrics[0]].score(self._predict(task, valid), valid.known_targets)
        facts = {"title": f"its own head, trained on {self.facts['tracks']} tracks", **self.facts}
        chosen = Candidate(lambda samples: self._predict(task, samples), facts, score, self._sha256)
        return Decision(chosen, [{**facts, "valid_score": score}])

    def _predict(self, task: Task, samples: Samples) -> np.ndarray:
        """Outputs a track."""
        with torch.no_grad():
            found = self._head(samples.only.shape[1])(torch.from_numpy(samples.only)).numpy()
        means = mean_of_windows(found.astype(np.float64), samples)
        if self.facts["kind"] == "number":
            return np.asarray(means[:, 0] * self.facts["std"] + self.facts["mean"])
        return means

    def _head(self, width: int) -> nn.Sequential:
        made = head(width, self.facts["outputs"], hidden=self.facts["hidden"])
        made.load_state_dict(self.weights)
        return made.eval()

    @property
    def _sha256(self) -> str:
        digest = hashlib.sha256()
        for name in sorted(self.weights):
            digest.update(self.weights[name].numpy().tobytes())
        return digest.hexdigest()


def averaged(samples: Samples) -> Samples:
    """The same tracks with the mean vector of their windows."""
    vectors = {
        name: mean_of_windows(x, samples).astype(np.float32) for name, x in samples.vectors.items()
    }
    return replace(samples, vectors=vectors, owner=np.arange(len(samples.rows)))


def mean_of_windows(values: np.ndarray, samples: Samples) -> np.ndarray:
    """Means [n, D] of what the windows of each track have, [m, D]."""
    owners = Owners(torch.from_numpy(samples.owner), len(samples.rows))
    return np.asarray(owners.mean(torch.from_numpy(values).T).T)
