"""What is written of a trained head: plain facts, words for a reader, a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluate.heads import Configuration, Head, Schedule
from evaluate.tasks import Task


def outputs(task: Task, head: Head, features: Tensor) -> np.ndarray:
    """Outputs of a head as the metrics want them, computed where the head lies."""
    with torch.no_grad():
        found = head(features.to(head.weights[0].device))
    return task.decode(found.cpu().numpy().astype(np.float64))


def facts(head: Head) -> dict[str, Any]:
    """Plain values of a trained head, and its title."""
    return {
        **asdict(head.configuration),
        "steps": head.steps,
        "title": title(head.configuration),
    }


def title(configuration: Configuration) -> str:
    """A configuration in a few words, without what is usual."""
    mlp = f"MLP {configuration.hidden_dim}"
    words = ["linear" if configuration.head == "linear" else mlp]
    if configuration.layer is not None:
        sums = configuration.layer == "sum"
        words.append("weighted layers" if sums else f"layer {configuration.layer}")
    if configuration.bias == "none":
        words.append("no bias")
    words.append(f"λ {configuration.weight_decay:g}")
    if configuration.dropout or configuration.input_dropout:
        words.append(f"dropout {max(configuration.dropout, configuration.input_dropout):g}")
    if configuration.learning_rate is not None:
        words.append(f"rate {configuration.learning_rate:g}")
    if configuration.batch_size is not None:
        words.append(f"batch {configuration.batch_size}")
    if configuration.standardise:
        words.append("standardised")
    return ", ".join(words)


def grid_settings(
    grid: Sequence[Configuration], schedule: Schedule | Mapping[str, Schedule]
) -> dict[str, Any]:
    """How many configurations there are, and a hash that tells other ones apart."""
    some = dict(schedule) if isinstance(schedule, Mapping) else {"": schedule}
    facts = [[asdict(c) for c in grid], {name: asdict(one) for name, one in some.items()}]
    text = json.dumps(facts, sort_keys=True)
    return {
        "configurations": len(grid),
        "grid_sha256": hashlib.sha256(text.encode()).hexdigest()[:16],
    }


def weights_sha256(weights: Sequence[Tensor]) -> str:
    """SHA-256 of a head's weights."""
    digest = hashlib.sha256()
    for weight in weights:
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
