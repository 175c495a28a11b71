"""A head on tokens: one logit a frame, from a layer or from a learnt sum of all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from evaluate.configuration import HIDDEN_DIM
from evaluate.token_tracks import TokenTrack
from shards.errors import InputError


@dataclass(frozen=True)
class FrameConfiguration:
    """A head on frames and what its training may vary.

    Args:
        head: "linear", or "mlp": one hidden layer of 512 units with ReLU.
        layer: Number of the layer it hears, from the front; None is a learnt sum of all.
        dropout: Of the hidden units.
        learning_rate: Of Adam.
    """

    head: str = "mlp"
    layer: int | None = None
    dropout: float = 0.2
    learning_rate: float = 1e-3

    @property
    def title(self) -> str:
        """As a reader is told it."""
        heard = "the sum of all layers" if self.layer is None else f"layer {self.layer}"
        return f"{'MLP' if self.head == 'mlp' else 'linear head'} on {heard}"


@dataclass(frozen=True, eq=False)
class TokenScaler:
    """Mean and deviation of every feature of every layer over frames of train, [K, D]."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def fit(cls, tracks: Iterable[TokenTrack]) -> TokenScaler:
        """The scaler of whole tracks, merged one by one (Chan et al., 1983, eq. 2.1)."""
        count, mean, square = 0, np.zeros(()), np.zeros(())
        for track in tracks:
            frames = track.tokens[:, track.mask].astype(np.float64)
            if not np.isfinite(frames).all():
                raise InputError(
                    f"The encoder gives NaN or infinity for the track in row {track.row}: its "
                    "training diverged. Train with a lower --lr."
                )
            here = frames.mean(axis=1)
            share = frames.shape[1] / (count + frames.shape[1])
            square = square + ((frames - here[:, None]) ** 2).sum(axis=1)
            square = square + (here - mean) ** 2 * count * share
            mean = mean + (here - mean) * share
            count += frames.shape[1]
        std = np.sqrt(square / max(1, count))
        return cls(mean, np.where(std <= 1e-7 * np.abs(mean), 1.0, std))


class FrameHead(nn.Module):
    """Logits [B, n] of tokens [B, K, n, D].

    All luck is drawn from generators of its own, so that it comes out the same whatever is trained
    beside it.

    Args:
        configuration: What it is.
        scaler: Applied to tokens first; its [K, D] are the shape of what is heard.
        seed: Of first weights and dropout.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self, configuration: FrameConfiguration, scaler: TokenScaler, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.configuration = configuration
        self.luck = torch.Generator().manual_seed(seed)
        self.register_buffer("shift", torch.from_numpy(scaler.mean).float())
        self.register_buffer("scale", torch.from_numpy(1 / scaler.std).float())
        num_layers, dim = scaler.mean.shape
        self.mix = nn.Parameter(torch.zeros(num_layers)) if configuration.layer is None else None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.into = nn.Linear(dim, HIDDEN_DIM) if configuration.head == "mlp" else None
            self.out = nn.Linear(HIDDEN_DIM if self.into is not None else dim, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """One logit a frame."""
        x = self._heard(tokens)
        if self.into is not None:
            x = self._dropped(self.into(x).relu())
        return torch.as_tensor(self.out(x)).squeeze(-1)

    def _heard(self, tokens: Tensor) -> Tensor:
        """Scaled features [B, n, D] of its layer, or of the softmax-weighted sum of all."""
        if self.mix is None:
            layer = self.configuration.layer
            assert layer is not None
            return (tokens[:, layer] - self.shift[layer]) * self.scale[layer]
        weight = self.mix.softmax(dim=0)[:, None] * self.scale
        return torch.einsum("kd,bknd->bnd", weight, tokens) - (weight * self.shift).sum(dim=0)

    def _dropped(self, x: Tensor) -> Tensor:
        kept = 1 - self.configuration.dropout
        if not self.training or kept == 1:
            return x
        noise = torch.rand(x.shape, generator=self.luck).to(x.device)
        return x * (noise < kept) / kept

    @torch.no_grad()
    def logits(self, track: TokenTrack) -> np.ndarray:
        """Logits float64 [N] of a whole track, as it is judged."""
        self.eval()
        tokens = torch.from_numpy(track.tokens)[None].to(self.shift.device)
        return self(tokens)[0].double().cpu().numpy()  # type: ignore[no-any-return]

    @property
    def sha256(self) -> str:
        """Of its weights."""
        digest = hashlib.sha256()
        for name, weight in sorted(self.state_dict().items()):
            digest.update(name.encode() + weight.cpu().numpy().tobytes())
        return digest.hexdigest()


def activation(logits: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Probability of a beat in each frame, float64 [N]; 0 where nothing was heard."""
    with np.errstate(over="ignore"):
        return np.asarray(np.where(mask, 1 / (1 + np.exp(-logits)), 0.0))
