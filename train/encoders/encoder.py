"""Encoder = front end + trunk: what is kept when pre-training ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from train.frontend import Frontend


@dataclass(frozen=True)
class Encoded:
    """What a trunk gives.

    Args:
        layers: [K, B, N, D], N tokens in time order, tokens of one time averaged over frequency.
        mask: bool [B, N], True where a token lies inside the clip's true samples.
        grid: [B, D, F, N], the last layer before frequencies were averaged; None if it has none.
    """

    layers: Tensor
    mask: Tensor
    grid: Tensor | None = None


Pool = Callable[[Encoded], Tensor]


class Encoder(nn.Module, PyTorchModelHubMixin):
    """Base of all encoders. Constructor arguments are keyword-only and plain values.

    A subclass sets `frontend` and `pools`, and defines `trunk`. `pools` maps a name to what makes
    one vector [B, D'] of an `Encoded` and ignores padding; the first is the default.
    """

    name: ClassVar[str]
    frontend: Frontend
    config: dict[str, Any]
    clip_frames: int
    dim: int
    frame_rate_hz: float | None

    def trunk(self, features: Tensor, frames: Tensor) -> Encoded:
        """Layers of features [B, F, N'] of clips with true samples [B]."""
        raise NotImplementedError

    @property
    def pools(self) -> dict[str, Pool]:
        """Name → pool, the default first."""
        raise NotImplementedError

    @property
    def sample_rate(self) -> int:
        """Of the waveforms wanted, in Hz."""
        return self.frontend.sample_rate

    def forward(self, features: Tensor, frames: Tensor) -> Tensor:
        """Embeddings [B, D] of the front end's features [B, F, N']."""
        return next(iter(self.pools.values()))(self.trunk(features, frames))

    def encode(self, waveform: Tensor, frames: Tensor) -> Tensor:
        """Layers [K, B, N, D] of waveforms [B, T] with true samples [B]."""
        return self.trunk(self.frontend(waveform), frames).layers

    def embed(self, waveform: Tensor, frames: Tensor, *, pool: str | None = None) -> Tensor:
        """One vector a clip [B, D] of waveforms [B, T]; `pool` by name, the default if None."""
        encoded = self.trunk(self.frontend(waveform), frames)
        return self.pools[pool or next(iter(self.pools))](encoded)
