"""Front ends equal the paper's library called clip by clip, and keep clips apart."""

import pytest
import torch
import torchaudio

from shards.errors import InputError
from train import frontend
from train.frontend import LogMel, peak_normalised, resampler


def clips(count=5, samples=64_000):
    torch.manual_seed(0)
    loudness = torch.tensor([1.0, 0.01, 0.3, 1e-4, 0.0])[:count, None]
    return loudness * torch.randn(count, samples).clamp(-3, 3) / 3


def test_log_mel_equals_torchaudio_clip_by_clip():
    mel = torchaudio.transforms.MelSpectrogram(
        16_000, n_fft=1024, f_max=8_000.0, n_mels=128, normalized=True, mel_scale="slaney"
    )
    to_db = torchaudio.transforms.AmplitudeToDB(top_db=100)
    waves = clips()
    ours = LogMel()(waves)
    assert ours.shape == (5, 128, 126)
    for clip, features in zip(waves, ours, strict=True):
        alone = to_db(mel(clip / clip.abs().max().clamp(min=1e-8)))
        torch.testing.assert_close(features, alone, atol=1e-4, rtol=1e-4)


def test_a_clip_does_not_see_its_neighbour():
    waves = clips()
    louder = waves.clone()
    louder[0] *= 1000
    before, after = LogMel()(waves), LogMel()(louder)
    torch.testing.assert_close(before[1:], after[1:], atol=0, rtol=0)


def test_gain_does_not_matter():
    waves = clips(3)
    torch.testing.assert_close(LogMel()(waves), LogMel()(0.3 * waves), atol=1e-2, rtol=1e-3)


def test_slices_change_nothing(monkeypatch):
    waves = clips()
    whole = LogMel()(waves)
    monkeypatch.setattr(frontend, "SLICE_SAMPLES", 2 * 64_000)
    torch.testing.assert_close(LogMel()(waves), whole, atol=1e-5, rtol=1e-5)


def test_no_band_is_empty_but_with_the_authors_f_max():
    def empty_bands(**settings):
        return int((LogMel(**settings).mel.mel_scale.fb.sum(0) == 0).sum())

    assert empty_bands() == 0
    assert empty_bands(f_max=11_025.0) == 11  # above the Nyquist frequency of 16 kHz


def test_it_stays_out_of_the_graph_and_of_autocast():
    waves = clips(2).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = LogMel()(waves)
    assert features.dtype == torch.float32
    assert not features.requires_grad


def test_silence_stays_silence():
    assert not peak_normalised(torch.zeros(2, 10)).isnan().any()
    assert not LogMel()(torch.zeros(2, 16_000)).isnan().any()


def test_resampling_by_a_small_ratio_only():
    waves = torch.sin(2 * torch.pi * 440 * torch.arange(44_100) / 44_100)[None]
    at_16k = resampler(44_100, 16_000)(waves)
    wanted = torch.sin(2 * torch.pi * 440 * torch.arange(16_000) / 16_000)[None]
    torch.testing.assert_close(at_16k[:, 100:-100], wanted[:, 100:-100], atol=2e-3, rtol=0)
    assert resampler(16_000, 16_000)(waves) is waves
    with pytest.raises(InputError, match="no small ratio"):
        resampler(44_101, 24_000)
