"""From waveforms to what a trunk reads: parameter-free, float32, each clip by itself."""

from __future__ import annotations

import math
import warnings

import torch
import torchaudio
from torch import Tensor, nn

from shards.errors import InputError

SLICE_SAMPLES = 64 * 160_000
"""Waveform samples turned at a time: the complex STFT of thousands of clips would be gigabytes."""

MAX_RESAMPLING_KERNEL = 2**22


class Frontend(nn.Module):
    """Waveforms [B, T] → features [B, F, N]; never part of the graph, never under autocast."""

    sample_rate: int
    hop_length: int

    def features(self, waveform: Tensor) -> Tensor:
        """Features [B, F, N] of a slice of clips [B, T]."""
        raise NotImplementedError

    def num_frames(self, num_samples: int) -> int:
        """Number N of feature frames of a clip."""
        raise NotImplementedError

    @torch.no_grad()
    def forward(self, waveform: Tensor) -> Tensor:
        """Features of all clips, computed in slices of bounded memory."""
        with torch.autocast(waveform.device.type, enabled=False):
            size = max(1, SLICE_SAMPLES // waveform.shape[1])
            return torch.cat([self.features(part.float()) for part in torch.split(waveform, size)])


class LogMel(Frontend):
    """Decibels of a mel spectrogram of the peak-normalised clip (Meseguer-Brocal et al., 2024).

    torchaudio's MelSpectrogram (window normalised, Slaney's scale, no area normalisation) and
    AmplitudeToDB, as the authors released them, with two mends. Their `f_max` of 11 025 Hz lies
    above the Nyquist frequency and leaves 11 of the 128 bands empty for good: 8 000 here, 11 025
    to load their weights. And torchaudio takes the maximum for `top_db` over what it believes to
    be channels: here every clip is its own.

    Args:
        sample_rate: In Hz.
        n_fft: Window in samples; the hop is half of it.
        n_mels: Mel bands F.
        f_max: Upper end of the bands in Hz.
        top_db: Range below each clip's maximum.
    """

    def __init__(
        self,
        *,
        sample_rate: int = 16_000,
        n_fft: int = 1024,
        n_mels: int = 128,
        f_max: float = 8_000.0,
        top_db: float = 100.0,
    ) -> None:
        super().__init__()
        self.sample_rate, self.n_mels, self.hop_length = sample_rate, n_mels, n_fft // 2
        with warnings.catch_warnings():  # of empty bands: known where f_max is the authors'
            warnings.filterwarnings("ignore", "At least one mel filterbank")
            self.mel = torchaudio.transforms.MelSpectrogram(
                sample_rate=sample_rate,
                n_fft=n_fft,
                hop_length=self.hop_length,
                f_max=f_max,
                n_mels=n_mels,
                normalized=True,
                mel_scale="slaney",
            )
        self.to_db = torchaudio.transforms.AmplitudeToDB(stype="power", top_db=top_db)
        _keep_out_of_weights(self.mel)

    def num_frames(self, num_samples: int) -> int:
        """Frames of a centred STFT."""
        return num_samples // self.hop_length + 1

    def features(self, waveform: Tensor) -> Tensor:
        """Decibels [B, n_mels, N]."""
        mel = self.mel(peak_normalised(waveform))
        decibels: Tensor = self.to_db(mel.unsqueeze(1)).squeeze(1)  # [B, 1, F, N]: own maximum
        return decibels


def _keep_out_of_weights(module: nn.Module) -> None:
    """Windows and filters follow from the settings: they are computed, never stored."""
    for part in module.modules():
        for name, buffer in list(part.named_buffers(recurse=False)):
            part.register_buffer(name, buffer.clone(), persistent=False)


def peak_normalised(waveform: Tensor) -> Tensor:
    """Each clip [B, T] scaled to a peak of 1; silence stays silence."""
    return waveform / waveform.abs().amax(dim=1, keepdim=True).clamp(min=1e-8)


def resampler(from_hz: int, to_hz: int) -> nn.Module:
    """A function [B, T] → [B, T'] between two fixed rates, the identity if they are one."""
    if from_hz == to_hz:
        return nn.Identity()
    shared = math.gcd(from_hz, to_hz)
    if (from_hz // shared) * (to_hz // shared) > MAX_RESAMPLING_KERNEL:
        raise InputError(
            f"From {from_hz} to {to_hz} Hz is no small ratio: its filters would fill the memory. "
            f"Pack the audio with `ingest build-shards --sample-rate {to_hz}`."
        )
    resample: nn.Module = torchaudio.transforms.Resample(from_hz, to_hz)
    return resample
