"""The planted encoder is what other tests take it for."""

import numpy as np
import pytest
import torch

from evaluate.baselines import untrained
from tests.evaluate.planted import (
    LEVEL,
    NOISE,
    NUM_BANDS,
    RATE_HZ,
    RISE,
    planted,
    planted_run,
    planted_track,
    with_beats,
)
from train.checkpoint import load_encoder


def heard(encoder, tracks) -> tuple[torch.Tensor, torch.Tensor]:
    """Waveforms [B, T] and true samples [B] of int16 tracks of one length."""
    waveform = torch.from_numpy(np.stack(tracks).astype(np.float32) / 32768)
    return waveform, torch.full((len(tracks),), waveform.shape[1])


@pytest.mark.parametrize("band", [0, 7, 12])
def test_a_band_is_heard_in_its_layer_and_in_no_other(band):
    quiet = np.full(NUM_BANDS, 0.02)
    loud = quiet.copy()
    loud[band] = 0.3
    encoder = planted()
    layers = encoder.encode(*heard(encoder, [planted_track(x, 1.0) for x in (quiet, loud)]))
    assert layers.shape == (13, 2, 50, 4)
    gain = (layers[:, 1, :, LEVEL] - layers[:, 0, :, LEVEL]).mean(dim=1)
    assert int(gain.argmax()) == band
    assert gain[band] > 1.5
    assert gain[torch.arange(NUM_BANDS) != band].abs().max() < 0.6


def test_beats_rise_in_their_layer_where_they_are():
    times_s = np.array([0.2, 0.7, 1.3])
    track = with_beats(planted_track(np.full(NUM_BANDS, 0.02), 2.0), times_s, band=4)
    encoder = planted(clip_s=2.0)
    layers = encoder.encode(*heard(encoder, [track]))
    rise = layers[4, 0, :, RISE]
    assert sorted((torch.topk(rise, 3).indices / 50).tolist()) == pytest.approx(times_s.tolist())
    assert rise.max() > 3 * layers[9, 0, :, RISE].max()


def test_the_first_pool_is_noise_and_the_second_every_band():
    levels = np.tile(np.full(NUM_BANDS, 0.02), (2, 1))
    levels[1, 5] = 0.3
    encoder = planted()
    waveform, frames = heard(encoder, [planted_track(x, 1.0) for x in levels])
    first, second = (encoder.embed(waveform, frames, pool=name) for name in ("first", "second"))
    assert (first.shape, second.shape) == ((2, 26), (2, 13))
    assert first.abs().max() < 0.6  # a mean over 50 draws
    assert int((second[1] - second[0]).argmax()) == 5


def test_it_is_loaded_from_a_folder_and_untrained_it_hears_nothing(planted_encoder, tmp_path):
    loaded = load_encoder(planted_run(tmp_path))
    tracks = [planted_track(np.full(NUM_BANDS, x), 1.0) for x in (0.01, 0.06)]
    waveform, frames = heard(loaded, tracks)
    assert torch.equal(loaded.encode(waveform, frames), planted_encoder.encode(waveform, frames))
    origin = untrained(loaded, seed=3).encode(waveform, frames)
    levels = origin[..., LEVEL].mean(dim=2)
    assert (levels[:, 1] - levels[:, 0]).abs().max() < 0.1
    assert (origin[..., NOISE].abs() <= 1).all()


def test_what_is_past_the_end_changes_nothing():
    encoder = planted()
    waveform, _ = heard(encoder, [planted_track(np.full(NUM_BANDS, 0.05), 1.0)])
    frames = torch.tensor([RATE_HZ // 2])
    other = waveform.clone()
    other[:, RATE_HZ // 2 :] = 0.5
    for name in ("first", "second"):
        both = [encoder.embed(x, frames, pool=name) for x in (waveform, other)]
        assert torch.equal(*both)
