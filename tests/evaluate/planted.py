"""An encoder of 13 layers at 50 Hz whose features are planted, and tracks that hold what is wanted.

Nothing is learnt: layer k tells how loud band k is, and nothing of the other bands. A track whose
label is the loudness of band k is therefore known by layer k and by no other; beats that are
bursts in band k are seen in layer k; and of the two pools the first, which is the default, is
noise, while the second holds all bands.

    levels = np.full(NUM_BANDS, 0.02)
    levels[7] = 0.3 if label else 0.02       # the label lies in layer 7
    track = planted_track(levels, seconds=2.0)
    track = with_beats(track, times_s, band=3)  # and its beats in layer 3

An encoder that `planted()` gives hears the bands. One that `build_encoder` gives has not been
trained: its gain is zero, and all its features are noise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from train.checkpoint import export_encoder
from train.encoders.encoder import Encoded, Encoder, Pool
from train.frontend import Frontend

RATE_HZ = 8000
FRAME_RATE_HZ = 50
NUM_BANDS = 13
BINS = 6
"""Of 50 Hz that make a band."""

LEVEL, RISE, NOISE = 0, 1, slice(2, 4)
"""Channels of a token: its band's loudness, how much that has risen, and two of noise."""


def band_hz(band: int) -> float:
    """A frequency in the middle of a band: 200, 500, … 3800 Hz."""
    return float(FRAME_RATE_HZ * (BINS * band + 4))


def planted_track(levels: np.ndarray, seconds: float, *, seed: int = 0) -> np.ndarray:
    """A tone a band with these amplitudes [13] in a little noise, int16 at 8 kHz.

    Amplitudes add up to less than 1, or the track is clipped.
    """
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    hz = np.array([band_hz(band) for band in range(NUM_BANDS)])
    phases = rng.uniform(0, 2 * np.pi, NUM_BANDS)
    tones = np.sin(2 * np.pi * hz * time_s[:, None] + phases) @ np.asarray(levels, float)
    samples = tones + 0.01 * rng.normal(size=len(time_s))
    return (32767 * samples.clip(-1, 1)).astype(np.int16)


def with_beats(
    track: np.ndarray, times_s: np.ndarray, *, band: int, level: float = 0.5
) -> np.ndarray:
    """A track with a burst of 60 ms in a band at each of these times, int16."""
    burst_s = np.arange(round(0.06 * RATE_HZ)) / RATE_HZ
    burst = level * np.sin(2 * np.pi * band_hz(band) * burst_s) * np.exp(-burst_s / 0.02)
    samples = track / 32767
    for time_s in times_s:
        at = round(float(time_s) * RATE_HZ)
        room = len(samples[at : at + len(burst)])
        samples[at : at + room] += burst[:room]
    return (32767 * samples.clip(-1, 1)).astype(np.int16)


class Bands(Frontend):
    """Loudness of 13 bands in frames of 20 ms, and 26 samples of each frame as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.sample_rate, self.hop_length = RATE_HZ, RATE_HZ // FRAME_RATE_HZ

    def num_frames(self, num_samples: int) -> int:
        """Whole frames."""
        return num_samples // self.hop_length

    def features(self, waveform: Tensor) -> Tensor:
        """Logarithms of power and raw samples [B, 39, N]; a frame is no other's neighbour."""
        pieces = waveform.unfold(1, self.hop_length, self.hop_length)  # [B, N, hop]
        power = torch.fft.rfft(pieces).abs().square()[..., 1 : 1 + NUM_BANDS * BINS]
        level = torch.log10(1 + power.unflatten(2, (NUM_BANDS, BINS)).sum(dim=3))
        return torch.cat([level, pieces[..., : 2 * NUM_BANDS]], dim=2).transpose(1, 2)


class Planted(Encoder):
    """Layer k is band k: its level, its rise, and noise.

    Args:
        clip_s: Native length of a clip.
    """

    name = "planted"

    def __init__(self, *, clip_s: float = 1.0) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"clip_s": clip_s}
        self.frontend = Bands()
        self.clip_frames = round(clip_s * RATE_HZ)
        self.dim = 2 * NUM_BANDS
        self.frame_rate_hz = float(FRAME_RATE_HZ)
        self.gain = nn.Parameter(torch.zeros(1))
        self.phase = nn.Parameter(10 * torch.randn(2 * NUM_BANDS))

    @property
    def pools(self) -> dict[str, Pool]:
        """Noise [B, 26], and the level of every band [B, 13]."""
        return {"first": _noise, "second": _levels}

    def trunk(self, features: Tensor, frames: Tensor) -> Encoded:
        """Layers [13, B, N, 4]."""
        level, samples = features.split([NUM_BANDS, 2 * NUM_BANDS], dim=1)
        # The last digits of a sample are as good as a die, and the same whatever the batch.
        noise = torch.sin(32768 * samples * self.phase[:, None])  # [B, 26, N]
        noise = noise.unflatten(1, (NUM_BANDS, 2))
        before = torch.cat([level[..., :1], level[..., :-1]], dim=2)
        heard = self.gain * torch.stack([level, level - before], dim=2)  # [B, 13, 2, N]
        tokens = torch.cat([heard + 0.1 * noise, noise], dim=2)  # [B, 13, 4, N]
        starts = torch.arange(tokens.shape[3], device=tokens.device) * self.frontend.hop_length
        mask = starts < frames[:, None]
        mask[:, 0] = True
        return Encoded(tokens.permute(1, 0, 3, 2), mask)


def _mean(encoded: Encoded) -> Tensor:
    """Mean over the tokens inside the clip, [B, K, D]."""
    weight = encoded.mask[None, :, :, None].to(encoded.layers.dtype)
    return ((encoded.layers * weight).sum(dim=2) / weight.sum(dim=2)).transpose(0, 1)


def _noise(encoded: Encoded) -> Tensor:
    return _mean(encoded)[..., NOISE].flatten(1)


def _levels(encoded: Encoded) -> Tensor:
    return _mean(encoded)[..., LEVEL]


def planted(*, clip_s: float = 1.0, seed: int = 0) -> Planted:
    """The encoder that hears its bands, in eval mode; it is as if it had been trained."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = Planted(clip_s=clip_s).eval()
    with torch.no_grad():
        encoder.gain.fill_(1.0)
    return encoder


def planted_run(folder: Path, *, clip_s: float = 1.0) -> Path:
    """A run with that encoder, for `load_encoder` where the fixture `planted_encoder` is used."""
    folder.mkdir(parents=True, exist_ok=True)
    export_encoder(planted(clip_s=clip_s), folder, card="")
    return folder
