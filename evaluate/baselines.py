"""What every encoder is judged beside: itself untrained, and statistics of the log-mel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from evaluate.embed import Embedder


def untrained(encoder: Embedder, *, seed: int) -> Embedder:
    """The same architecture with the first weights that `seed` draws, in eval mode."""
    from train.encoders import build_encoder

    return build_encoder(encoder.name, encoder.config, seed).eval()


class LogMelStatistics(nn.Module):
    """Mean and standard deviation over time of a log-mel, [2 · bands]; nothing is learnt.

    Frames of about 128 ms every 32 ms; a frame counts if it lies inside the true samples, so that
    padding changes nothing.

    Args:
        sample_rate: Of the waveform, in Hz.
        clip_frames: Samples of the window it stands beside.
        num_bands: Mel bands from 0 Hz to half the rate (Slaney's scale and norm).
    """

    name = "log-mel statistics"
    any_length = True

    window: Tensor
    bands: Tensor

    def __init__(self, *, sample_rate: int, clip_frames: int, num_bands: int = 128) -> None:
        super().__init__()
        self.sample_rate, self.clip_frames = sample_rate, clip_frames
        self.dim = 2 * num_bands
        self.fft_frames = 2 ** (round(0.128 * sample_rate) - 1).bit_length()
        self.hop_frames = self.fft_frames // 4
        self.config = {"num_bands": num_bands, "fft_frames": self.fft_frames}
        bands = melscale_fbanks(
            self.fft_frames // 2 + 1,
            f_min=0.0,
            f_max=sample_rate / 2,
            n_mels=num_bands,
            sample_rate=sample_rate,
            norm="slaney",
            mel_scale="slaney",
        )
        self.register_buffer("window", torch.hann_window(self.fft_frames), persistent=False)
        self.register_buffer("bands", bands, persistent=False)

    def embed(self, waveform: Tensor, frames: Tensor) -> Tensor:
        """Mean and deviation in dB [B, 2 · bands] of waveforms [B, T]."""
        level_db = self.log_mel(waveform)  # [B, N, bands]
        last = ((frames - self.fft_frames) // self.hop_frames).clamp_min(0)  # the first counts
        inside = torch.arange(level_db.shape[1], device=frames.device) <= last[:, None]
        weight = (inside / inside.sum(dim=1, keepdim=True))[..., None]
        mean = (weight * level_db).sum(dim=1)
        variance = (weight * (level_db - mean[:, None]).square()).sum(dim=1)
        return torch.cat([mean, variance.sqrt()], dim=1)

    def log_mel(self, waveform: Tensor) -> Tensor:
        """Level of every band in dB, [B, N, bands], float32 whatever the autocast."""
        with torch.autocast(waveform.device.type, enabled=False):
            short = max(0, self.fft_frames - waveform.shape[1])
            padded = nn.functional.pad(waveform.float(), (0, short))
            pieces = padded.unfold(1, self.fft_frames, self.hop_frames) * self.window
            power = torch.fft.rfft(pieces).abs().square()
            return 10 * torch.log10((power @ self.bands).clamp_min(1e-10))
