"""Job: what is to be extracted, the hash of all it depends on, and where its parts lie."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from evaluate.embeddings import Parts, part_of_row
from evaluate.features import Feature
from evaluate.forward import Embedder, Extraction, source_of
from shards.files import write_json
from shards.index import Index
from shards.plan import WindowPlan

Unit = Literal["track", "window"]


@dataclass(frozen=True)
class Job:
    """What is extracted: features of an encoder over the windows of an archive.

    Args:
        encoder: In eval mode, on the extraction's device.
        index: The archive.
        features: What to keep of each forward pass.
        unit: Whether a vector belongs to a track, as the mean over its windows, or to a window.
        window_frames: Samples of a window at the archive's rate.
        hop_frames: From start to start.
        folder: Where folders of parts lie.
        extraction: How to read and compute.
    """

    encoder: Embedder
    index: Index
    features: tuple[Feature, ...]
    unit: Unit
    window_frames: int
    hop_frames: int
    folder: Path
    extraction: Extraction

    @cached_property
    def facts(self) -> dict[str, dict[str, object]]:
        """Feature's name → all that its vectors depend on."""
        shared = {
            "encoder": encoder_sha256(self.encoder),
            "versions": [version("wholetone"), torch.__version__],
            "archive": self.index.fingerprint,
            "window_frames": self.window_frames,
            "hop_frames": self.hop_frames,
            "unit": self.unit,
            "precision": self.extraction.precision,
        }
        return {f.name: {**shared, "feature": source_of(self.encoder, f)} for f in self.features}

    @cached_property
    def ids(self) -> dict[str, str]:
        """Feature's name → the hash of its facts."""
        return {name: _short_sha256(facts) for name, facts in self.facts.items()}

    @cached_property
    def parts(self) -> dict[str, Parts]:
        """Feature's name → its parts."""
        of_windows = self.unit == "window"
        return {
            name: Parts(self.folder / id_, of_windows=of_windows) for name, id_ in self.ids.items()
        }

    @cached_property
    def num_windows(self) -> np.ndarray:
        """Windows of every track of the archive, by index row."""
        every, hop = np.arange(len(self.index)), self.hop_frames
        plan = WindowPlan(self.index, every, clip_frames=self.window_frames, hop_frames=hop)
        return np.asarray(plan.num_windows)

    def by_part(self, rows: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """Rows [n], ascending, cut into (number of the part, its rows)."""
        numbers = self._part_of_row[rows]
        cuts = np.flatnonzero(np.diff(numbers)) + 1
        some = np.split(rows, cuts) if len(rows) else []
        return [(int(self._part_of_row[mine[0]]), mine) for mine in some]

    def size(self, rows: np.ndarray) -> int:
        """Number of vectors that index rows [n] have."""
        return len(rows) if self.unit == "track" else int(self.num_windows[rows].sum())

    @cached_property
    def _part_of_row(self) -> np.ndarray:
        return part_of_row(self.num_windows)

    def prepare(self) -> Path:
        """Make the folders of parts; returns the file by which processes claim them."""
        for name, parts in self.parts.items():
            parts.folder.mkdir(parents=True, exist_ok=True)
            facts = {**self.facts[name], "name": self.encoder.name}
            write_json(parts.folder / "embeddings.json", facts)
        facts = next(iter(self.facts.values()))
        return self.folder / f"{_short_sha256({**facts, 'feature': None})}.lock"


def encoder_sha256(encoder: Embedder) -> str:
    """SHA-256 over name, configuration, weights and buffers: equal hashes, equal embeddings."""
    facts = [encoder.name, encoder.config, encoder.sample_rate, encoder.clip_frames]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    if isinstance(encoder, nn.Module):
        weights = dict(encoder.named_parameters()) | dict(encoder.named_buffers())
        for name, weight in sorted(weights.items()):
            digest.update(f"{name} {weight.dtype} {[*weight.shape]}\n".encode())
            flat = weight.detach().cpu().contiguous().view(-1)
            digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _short_sha256(facts: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
