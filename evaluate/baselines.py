"""What every encoder is judged beside: itself untrained, and statistics of what one hears at once.

The statistics have front ends of their own, since `train.frontend` holds those of the methods.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchaudio.functional import create_dct, melscale_fbanks

from evaluate.embed import Embedder

LEAST_POWER = 1e-10
CHROMA_HZ = (128.0, 2100.0)
"""From C3 to C7: below, a frame does not tell semitones apart; above, overtones prevail."""


def untrained(encoder: Embedder, *, seed: int) -> Embedder:
    """The same architecture with the first weights that `seed` draws, in eval mode."""
    from train.encoders import build_encoder

    return build_encoder(encoder.name, encoder.config, seed).eval()


class Statistics(nn.Module):
    """Mean and standard deviation over time of what a spectrum says, [2 · D]; nothing is learnt.

    A frame counts if it lies inside the true samples, so that padding changes nothing; the first
    counts always.

    Args:
        sample_rate: Of the waveform, in Hz.
        clip_frames: Samples of the window it stands beside.
        frame_s: Length of a frame, rounded up to a power of two in samples; the hop is a quarter.
        dim: Values D a frame.
    """

    name: ClassVar[str]
    any_length = True

    window: Tensor
    bands: Tensor

    def __init__(self, *, sample_rate: int, clip_frames: int, frame_s: float, dim: int) -> None:
        super().__init__()
        self.sample_rate, self.clip_frames = sample_rate, clip_frames
        self.dim = 2 * dim
        self.fft_frames = 2 ** (round(frame_s * sample_rate) - 1).bit_length()
        self.hop_frames = self.fft_frames // 4
        self.config: dict[str, Any] = {"fft_frames": self.fft_frames}
        self.register_buffer("window", torch.hann_window(self.fft_frames), persistent=False)
        self.register_buffer("bands", self.filters(), persistent=False)

    def filters(self) -> Tensor:
        """Weights [bins, F] by which a power spectrum becomes bands."""
        raise NotImplementedError

    def describe(self, bands: Tensor) -> Tensor:
        """Values [B, N, D] of the power in bands [B, N, F]."""
        raise NotImplementedError

    def embed(self, waveform: Tensor, frames: Tensor) -> Tensor:
        """Mean and deviation [B, 2 · D] of waveforms [B, T]."""
        values = self.frames(waveform)
        last = ((frames - self.fft_frames) // self.hop_frames).clamp_min(0)
        inside = torch.arange(values.shape[1], device=frames.device) <= last[:, None]
        weight = (inside / inside.sum(dim=1, keepdim=True))[..., None]
        mean = (weight * values).sum(dim=1)
        variance = (weight * (values - mean[:, None]).square()).sum(dim=1)
        return torch.cat([mean, variance.sqrt()], dim=1)

    def frames(self, waveform: Tensor) -> Tensor:
        """Values of every frame, [B, N, D], float32 whatever the autocast."""
        with torch.autocast(waveform.device.type, enabled=False):
            short = max(0, self.fft_frames - waveform.shape[1])
            padded = nn.functional.pad(waveform.float(), (0, short))
            pieces = padded.unfold(1, self.fft_frames, self.hop_frames) * self.window
            power = torch.fft.rfft(pieces).abs().square()
            return self.describe(power @ self.bands)


class LogMelStatistics(Statistics):
    """Of a log-mel in dB: frames of about 128 ms, Slaney's scale and norm up to half the rate."""

    name = "log-mel statistics"

    def __init__(self, *, sample_rate: int, clip_frames: int, num_bands: int = 128) -> None:
        super().__init__(
            sample_rate=sample_rate, clip_frames=clip_frames, frame_s=0.128, dim=num_bands
        )
        self.config["num_bands"] = num_bands

    def filters(self) -> Tensor:
        """Triangles on the mel scale."""
        return _mel(self.fft_frames, self.sample_rate, num_bands=self.dim // 2)

    def describe(self, bands: Tensor) -> Tensor:
        """Level of every band in dB."""
        return _decibels(bands)


class MfccStatistics(Statistics):
    """Of 20 cepstral coefficients: the log-mel's 128 bands in dB under an orthonormal cosine."""

    name = "MFCC statistics"

    cosine: Tensor

    def __init__(self, *, sample_rate: int, clip_frames: int, num_coefficients: int = 20) -> None:
        super().__init__(
            sample_rate=sample_rate, clip_frames=clip_frames, frame_s=0.128, dim=num_coefficients
        )
        self.config["num_coefficients"] = num_coefficients
        cosine = create_dct(num_coefficients, self.bands.shape[1], norm="ortho")
        self.register_buffer("cosine", cosine, persistent=False)

    def filters(self) -> Tensor:
        """Triangles on the mel scale."""
        return _mel(self.fft_frames, self.sample_rate, num_bands=128)

    def describe(self, bands: Tensor) -> Tensor:
        """The first coefficients."""
        return _decibels(bands) @ self.cosine


class ChromaStatistics(Statistics):
    """Of the share of each pitch class, C to B with A at 440 Hz, in the power of 0.5 s and more."""

    name = "chroma statistics"

    def __init__(self, *, sample_rate: int, clip_frames: int) -> None:
        super().__init__(sample_rate=sample_rate, clip_frames=clip_frames, frame_s=0.5, dim=12)

    def filters(self) -> Tensor:
        """Each bin's power goes to the two nearest pitch classes, by its distance in semitones."""
        hz = torch.arange(1, self.fft_frames // 2 + 1) * self.sample_rate / self.fft_frames
        semitone = 12 * torch.log2(hz / 440.0) + 9  # above a C
        distance = (semitone[:, None] - torch.arange(12) + 6).remainder(12) - 6
        heard = ((hz > CHROMA_HZ[0]) & (hz < CHROMA_HZ[1]))[:, None]
        weight = (1 - distance.abs()).clamp_min(0) * heard
        return nn.functional.pad(weight, (0, 0, 1, 0))  # nothing of the mean

    def describe(self, bands: Tensor) -> Tensor:
        """Shares that sum to one, nothing in silence."""
        return bands / bands.sum(dim=2, keepdim=True).clamp_min(LEAST_POWER)


def _mel(fft_frames: int, sample_rate: int, num_bands: int) -> Tensor:
    """Triangles [bins, bands] from 0 Hz to half the rate, Slaney's scale and norm."""
    bands: Tensor = melscale_fbanks(
        fft_frames // 2 + 1,
        f_min=0.0,
        f_max=sample_rate / 2,
        n_mels=num_bands,
        sample_rate=sample_rate,
        norm="slaney",
        mel_scale="slaney",
    )
    return bands


def _decibels(power: Tensor) -> Tensor:
    return 10 * torch.log10(power.clamp_min(LEAST_POWER))
