"""One embedding a track: the mean over its windows, streamed, kept in parts, resumed after a kill.

rows of label sets → WindowPlan (position → row, window) → stream → encoder.embed → mean → part
"""

from __future__ import annotations

import hashlib
import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from evaluate.embeddings import Embeddings, Parts, by_part
from shards.errors import InputError
from shards.files import write_json
from shards.index import Index
from shards.plan import WindowPlan
from shards.progress import Progress
from shards.stream import stream
from train.frontend import resampler

PRECISIONS = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Embedder(Protocol):
    """What is embedded with: an encoder of `train`, or anything that has these."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def config(self) -> dict[str, Any]:
        """Plain values that, with the name, say how it is built."""
        ...

    @property
    def sample_rate(self) -> int:
        """Of the waveforms wanted, in Hz."""
        ...

    @property
    def clip_frames(self) -> int:
        """Native window in samples."""
        ...

    @property
    def dim(self) -> int:
        """Width D of an embedding."""
        ...

    def embed(self, waveform: Tensor, frames: Tensor) -> Tensor:
        """Embeddings [B, D] of waveforms [B, T] of which `frames` [B] samples are true."""
        ...


@dataclass(frozen=True)
class Extraction:
    """How windows are read and embedded; nothing here but precision changes a vector's meaning.

    Args:
        batch_size: Windows a batch.
        backend: "inline" reads in worker processes of its own, "ray" in tasks of Ray.
        num_workers: Processes, or tasks at a time; inline, 0 reads in this process.
        device: Where the encoder runs.
        precision: "no", or autocast of the trunk to "bf16" or "fp16".
    """

    batch_size: int = 64
    backend: str = "inline"
    num_workers: int = 2
    device: str = "cpu"
    precision: str = "no"


def embed_tracks(
    encoder: Embedder,
    index: Index,
    rows: np.ndarray,
    *,
    folder: Path,
    window_s: float | None = None,
    extraction: Extraction | None = None,
) -> Embeddings:
    """Embeddings of index rows; parts already in `folder` are not computed again.

    Args:
        encoder: In eval mode, on the extraction's device.
        index: The archive.
        rows: Index rows wanted, in any order.
        folder: Where folders of parts lie, one for each thing that can change a vector.
        window_s: Length of a window; the encoder's own clip if None.
        extraction: How to read and compute.
    """
    extraction = extraction or Extraction()
    window = window_frames(encoder, index, window_s)
    facts = {
        "encoder": encoder_sha256(encoder),
        "versions": [version("wholetone"), torch.__version__],
        "archive": index.fingerprint,
        "window_frames": window,
        "hop_frames": window,
        "pooling": "mean",
        "precision": extraction.precision,
    }
    id_ = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
    rows = np.unique(np.asarray(rows, np.int64))
    parts = Parts(folder / id_, encoder.dim)
    parts.folder.mkdir(parents=True, exist_ok=True)
    write_json(parts.folder / "embeddings.json", {**facts, "name": encoder.name})
    todo = [(number, parts.missing(number, some)) for number, some in by_part(rows)]
    plans = [(n, WindowPlan(index, some, clip_frames=window)) for n, some in todo if len(some)]
    total = sum(plan.stop for _, plan in plans)
    with Progress(f"embed, {encoder.name}", total=total, unit="windows") as bar:
        for number, plan in plans:
            parts.add(number, plan.rows, *_mean_of_windows(encoder, plan, extraction, bar))
    return parts.read(id_, rows)


def window_frames(encoder: Embedder, index: Index, window_s: float | None = None) -> int:
    """Samples of a window at the archive's rate."""
    if window_s is not None:
        return max(1, round(window_s * index.sample_rate))
    return max(1, round(encoder.clip_frames * index.sample_rate / encoder.sample_rate))


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


def _mean_of_windows(
    encoder: Embedder, plan: WindowPlan, extraction: Extraction, bar: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """Mean vectors float32 [n, D] of a plan's tracks and how many windows each had, [n]."""
    sums = np.zeros((len(plan.rows), encoder.dim))
    windows = np.zeros(len(plan.rows), np.int32)
    forward = Forward(encoder, plan.selection.sample_rate, extraction)
    with stream(
        plan,
        batch_size=min(extraction.batch_size, plan.stop),
        backend=extraction.backend,
        num_workers=extraction.num_workers,
    ) as batches:
        for batch in batches:
            read = batch.valid
            if read.any():
                place = np.searchsorted(plan.rows, batch.row[read])
                np.add.at(sums, place, forward(batch.clips[read, 0], batch.frames[read, 0]))
                np.add.at(windows, place, 1)
            bar.update(int((batch.position < plan.stop).sum()))
    return (sums / np.maximum(windows, 1)[:, None]).astype(np.float32), windows


class Forward:
    """int16 clips of an archive → vectors of an encoder, on its device and at its rate."""

    def __init__(self, encoder: Embedder, sample_rate: int, extraction: Extraction) -> None:
        if extraction.precision not in PRECISIONS:
            raise InputError(
                f"Want a precision of {sorted(PRECISIONS)}, got {extraction.precision!r}."
            )
        self.encoder, self.sample_rate = encoder, sample_rate
        self.device = torch.device(extraction.device)
        self.dtype = PRECISIONS[extraction.precision]
        self.resample = resampler(sample_rate, encoder.sample_rate).to(self.device)

    @torch.inference_mode()
    def __call__(self, clips: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Vectors float32 [B, D] of clips [B, T] of which `frames` [B] samples are true."""
        waveform = torch.from_numpy(clips).to(self.device).float() / 32768
        ratio = self.encoder.sample_rate / self.sample_rate
        true = np.maximum(1, np.floor(frames * ratio)).astype(np.int64)
        waveform = self.resample(waveform)
        # An encoder need not take less than its own clip, and knows what of it is true.
        short = max(0, self.encoder.clip_frames - waveform.shape[1])
        waveform = nn.functional.pad(waveform, (0, short))
        with self._autocast():
            vectors = self.encoder.embed(waveform, torch.from_numpy(true).to(self.device))
        return np.asarray(vectors.float().cpu().numpy())

    def _autocast(self) -> AbstractContextManager[object]:
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)
