"""One forward pass of an encoder, and all that is asked of it: pools, layers, tokens.

int16 clips → device → encoder's rate → front end, float32 → trunk, under autocast → float32
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from evaluate.features import Feature
from shards.errors import InputError
from train.encoders.encoder import Encoded, Encoder
from train.frontend import resampler

PRECISIONS = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Embedder(Protocol):
    """What is embedded with: an encoder of `train`, or anything that has these.

    With `any_length` true it takes clips shorter than its own, and a clip cut off behind its true
    samples gives the vector that the padded one gives.
    """

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
        batch_size: Windows a batch, of the encoder's own length; fewer of longer ones.
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


def device_of(name: str) -> str:
    """A device by its name; auto takes a GPU, of several processes each its own."""
    if name == "auto" and torch.cuda.is_available():
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        return f"cuda:{local_rank % torch.cuda.device_count()}" if local_rank else "cuda"
    try:
        return str(torch.empty(0, device="cpu" if name == "auto" else name).device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"No device {name!r} here; want cpu, cuda or cuda:N.") from error


def takes_any_length(encoder: Embedder) -> bool:
    """Whether clips need not be padded (see `Embedder`)."""
    return bool(getattr(encoder, "any_length", False))


def source_of(encoder: Embedder, feature: Feature) -> str:
    """Where a feature comes from: "layers", or a pool by its own name, also if it is the default.

    `InputError` if the encoder has no such thing.
    """
    pools = list(encoder.pools) if isinstance(encoder, Encoder) else ["default"]
    if feature.layers and not isinstance(encoder, Encoder):
        raise InputError(f"{encoder.name} has no layers, only one vector a clip: ask for that.")
    if feature.layers or not feature.pool:
        return "layers" if feature.layers else pools[0]
    if feature.pool not in pools:
        raise InputError(f"No pool {feature.pool!r} in {encoder.name}; there are {sorted(pools)}.")
    return feature.pool


class Forward:
    """Clips of an archive → what is asked of an encoder, on its device and at its rate."""

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
    def vectors(
        self, clips: np.ndarray, frames: np.ndarray, features: Sequence[Feature]
    ) -> dict[str, np.ndarray]:
        """Feature's name → vectors float32 [B, D], or [B, K, D] for layers, of one forward pass.

        Args:
            clips: int16 [B, T].
            frames: True samples of each, [B].
            features: What to take.
        """
        if not isinstance(self.encoder, Encoder):
            waveform, true = self._prepared(clips, frames)
            with self._autocast():
                vectors = self.encoder.embed(waveform, true)
            return {feature.name: _array(vectors) for feature in features}
        encoded, pools = self._encoded(self.encoder, clips, frames), self.encoder.pools
        return {
            feature.name: _array(
                mean_of_tokens(encoded)
                if feature.layers
                else pools[source_of(self.encoder, feature)](encoded)
            )
            for feature in features
        }

    @torch.inference_mode()
    def tokens(
        self, clips: np.ndarray, frames: np.ndarray, *, layers: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Tokens float32 [B, K, N, D] of all layers, or of the last (K = 1), and mask [B, N]."""
        assert isinstance(self.encoder, Encoder)
        encoded = self._encoded(self.encoder, clips, frames)
        kept = encoded.layers if layers else encoded.layers[-1:]
        return _array(kept.transpose(0, 1)), np.asarray(encoded.mask.cpu().numpy())

    def silence(self, features: Sequence[Feature]) -> dict[str, np.ndarray]:
        """Vectors [1, …] of a silent clip: what shape there is, where no clip could be read."""
        length = -(-self.encoder.clip_frames * self.sample_rate // self.encoder.sample_rate)
        return self.vectors(np.zeros((1, length), np.int16), np.array([length]), features)

    def _encoded(self, encoder: Encoder, clips: np.ndarray, frames: np.ndarray) -> Encoded:
        """What the trunk gives, float32 again, so that means and pools lose nothing."""
        waveform, true = self._prepared(clips, frames)
        prepared = encoder.frontend(waveform)
        with self._autocast():
            encoded = encoder.trunk(prepared, true)
        grid = None if encoded.grid is None else encoded.grid.float()
        return Encoded(encoded.layers.float(), encoded.mask, grid)

    def _prepared(self, clips: np.ndarray, frames: np.ndarray) -> tuple[Tensor, Tensor]:
        """Waveforms [B, T'] at the encoder's rate and true samples [B], on the device."""
        waveform = torch.from_numpy(clips).to(self.device).float() / 32768
        ratio = self.encoder.sample_rate / self.sample_rate
        true = np.maximum(1, np.floor(frames * ratio)).astype(np.int64)
        waveform = self.resample(waveform)
        if not takes_any_length(self.encoder):
            short = max(0, self.encoder.clip_frames - waveform.shape[1])
            waveform = nn.functional.pad(waveform, (0, short))
        return waveform, torch.from_numpy(true).to(self.device)

    def _autocast(self) -> AbstractContextManager[object]:
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)


def mean_of_tokens(encoded: Encoded) -> Tensor:
    """Every layer, mean over its tokens inside the clip, [B, K, D]."""
    weight = encoded.mask[None, :, :, None].to(encoded.layers.dtype)
    mean = (encoded.layers * weight).sum(dim=2) / weight.sum(dim=2)
    return mean.transpose(0, 1)


def _array(x: Tensor) -> np.ndarray:
    return np.asarray(x.float().cpu().numpy())
