"""Heads trained on samples, one vector a track or one a window, and candidates made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluate.heads import Configuration, Head, Schedule, train_heads
from evaluate.protocols.candidates import facts, weights_sha256
from evaluate.protocols.protocol import Candidate, Terms
from evaluate.samples import Samples
from evaluate.tasks import Task
from evaluate.windows import Aggregate, track_outputs

Prepare = Callable[[np.ndarray], np.ndarray]
"""Vectors [m, …] as they were extracted → as heads see them."""


def train(
    configurations: Sequence[Configuration],
    task: Task,
    train: Samples,
    valid: Samples,
    *,
    schedule: Schedule,
    terms: Terms,
    prepare: Prepare = np.asarray,
    prepare_valid: Prepare | None = None,
) -> list[Head]:
    """Heads of all configurations, trained together; tracks of valid are scored as wholes."""
    valid_owner = None if valid.one_each else torch.from_numpy(valid.owner).to(terms.device)
    return train_heads(
        configurations,
        task,
        (
            _tensor(prepare(train.only), terms),
            task.encode(train.window_targets(), torch.float32).to(terms.device),
        ),
        (
            _tensor((prepare_valid or prepare)(valid.only), terms),
            task.encode(valid.known_targets, torch.float32).to(terms.device),
        ),
        schedule=schedule,
        seed=terms.seed,
        valid_owner=valid_owner,
        state=terms.state,
    )


def best_on_valid(heads: Sequence[Head]) -> int:
    """The head with the highest score on valid, a tie by its loss there."""
    return max(range(len(heads)), key=lambda i: (heads[i].valid_score, -heads[i].valid_loss))


def candidate(
    task: Task,
    head: Head,
    *,
    prepare: Prepare = np.asarray,
    aggregate: Aggregate = "mean",
    more: dict[str, Any] | None = None,
) -> Candidate:
    """A head that predicts tracks; `more` facts stand beside its own."""

    def predict(samples: Samples) -> np.ndarray:
        at = head.weights[0].device
        with torch.no_grad():
            x = torch.from_numpy(np.ascontiguousarray(prepare(samples.only), np.float32))
            outputs = head(x.to(at)).cpu()
            if not samples.one_each:
                owner = torch.from_numpy(samples.owner)
                outputs = track_outputs(outputs, owner, how=aggregate, task=task)
        return task.decode(outputs.numpy().astype(np.float64))

    return Candidate(
        predict=predict,
        facts={**facts(head), "cut_short": head.cut_short, **(more or {})},
        valid_score=head.valid_score,
        sha256=weights_sha256(head.weights),
    )


def trials(heads: Sequence[Head]) -> list[dict[str, Any]]:
    """Plain values of all heads, for the selection."""
    return [
        {
            **facts(head),
            "valid_score": head.valid_score,
            "valid_loss": head.valid_loss,
            "cut_short": head.cut_short,
        }
        for head in heads
    ]


def _tensor(x: np.ndarray, terms: Terms) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x, np.float32)).to(terms.device)
