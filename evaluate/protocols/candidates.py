"""From trained heads to candidates: outputs, plain facts and words for a reader, a hash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluate.heads import Configuration, Head
from evaluate.tasks import Task


def outputs(task: Task, head: Head, features: Tensor) -> np.ndarray:
    """Outputs of a head as the metrics want them, computed where the head lies."""
    at = head.weights[0].device
    with torch.no_grad():
        return task.decode(head(features.to(at)).cpu().numpy().astype(np.float64))


def facts(head: Head) -> dict[str, Any]:
    """Plain values of a trained head, and its title."""
    return {
        **asdict(head.configuration),
        "steps": head.steps,
        "title": title(head.configuration),
    }


def title(configuration: Configuration) -> str:
    """A configuration in a few words."""
    head = "linear" if configuration.head == "linear" else "MLP 512"
    dropout = f", dropout {configuration.dropout:g}" if configuration.dropout else ""
    return f"{head}, λ {configuration.weight_decay:g}{dropout}"


def weights_sha256(weights: Sequence[Tensor]) -> str:
    """SHA-256 of a head's weights."""
    digest = hashlib.sha256()
    for weight in weights:
        digest.update(weight.detach().cpu().numpy().tobytes())
    return digest.hexdigest()
