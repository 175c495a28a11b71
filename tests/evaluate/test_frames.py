"""Tokens of windows, streamed: every sample of a track once, each token where it belongs."""

import numpy as np
import pytest
import torch

from evaluate.baselines import LogMelStatistics
from evaluate.embed import Extraction
from evaluate.frames import frames_of
from shards.errors import InputError
from shards.reader import read_track
from tests.evaluate.planted import LEVEL, RATE_HZ, RISE, planted, planted_track, with_beats

LENGTHS_S = [2.5, 0.4, 3.1]


@pytest.fixture
def index(archive):
    levels = np.full(13, 0.03)
    return archive([planted_track(levels, s, seed=i) for i, s in enumerate(LENGTHS_S)])


@pytest.mark.parametrize("layers", [False, True])
@pytest.mark.parametrize("batch_size", [1, 64])
def test_tokens_are_those_of_windows_end_to_end_up_to_a_tracks_end(index, layers, batch_size):
    encoder = planted()
    how = Extraction(batch_size=batch_size, num_workers=0)
    found = list(frames_of(encoder, index, np.array([2, 0, 1]), extraction=how, layers=layers))
    assert [(one.row, one.window) for one in found] == [
        *[(0, 0), (0, 1), (0, 2)],
        (1, 0),
        *[(2, 0), (2, 1), (2, 2), (2, 3)],
    ]
    for one in found:
        assert one.start_s == one.window
        samples = read_track(index, one.row)[one.window * RATE_HZ :][:RATE_HZ]
        padded = np.pad(samples.astype(np.float32) / 32768, (0, RATE_HZ - len(samples)))
        frames = torch.tensor([len(samples)])
        expected = encoder.trunk(encoder.frontend(torch.from_numpy(padded)[None]), frames)
        kept = expected.layers[:, 0] if layers else expected.layers[-1:, 0]
        assert one.tokens.shape == ((13 if layers else 1), 50, 4)
        np.testing.assert_allclose(one.tokens, kept.detach().numpy(), atol=2e-5)
        assert one.mask.sum() == -(-len(samples) // 160)


def test_tokens_of_a_longer_window_keep_their_time(archive):
    """Beats lie at the same time whatever the windows: start + n / 50 Hz."""
    times_s = np.array([0.4, 1.5, 2.6, 3.3])
    track = with_beats(planted_track(np.full(13, 0.02), 4.0), times_s, band=3)
    index = archive([track])
    for window_s in (0.5, 1.0, 4.0, 30.0):
        rises, at_s = [], []
        for one in frames_of(planted(), index, np.arange(1), window_s=window_s, layers=True):
            inside = np.flatnonzero(one.mask)
            rises.append(one.tokens[3, inside, RISE])
            at_s.append(one.start_s + inside / 50)
        at_s, rises = np.concatenate(at_s), np.concatenate(rises)
        np.testing.assert_allclose(at_s, np.arange(200) / 50, atol=1e-9)
        found = np.sort(at_s[np.argsort(rises)[-4:]])
        if window_s >= 1.0:  # a rise over the edge of a window is not seen
            np.testing.assert_allclose(found, times_s, atol=1e-9)


def test_an_encoder_without_tokens_in_time_is_refused_in_a_line(index):
    statistics = LogMelStatistics(sample_rate=RATE_HZ, clip_frames=RATE_HZ)
    with pytest.raises(InputError, match="gives no tokens in time"):
        frames_of(statistics, index, np.arange(3))
    encoder = planted()
    encoder.frame_rate_hz = None
    with pytest.raises(InputError, match="gives no tokens in time"):
        frames_of(encoder, index, np.arange(3))


def test_a_track_that_cannot_be_read_gives_no_tokens_and_costs_no_other(index):
    shard = index.shards[0]
    damaged = bytearray(shard.read_bytes())
    start = int(index.column("offset")[0])
    damaged[start : start + 200] = bytes(200)
    shard.write_bytes(damaged)
    found = list(frames_of(planted(), index, np.arange(3)))
    assert {one.row for one in found} == {1, 2}
    assert all(np.isfinite(one.tokens[..., LEVEL]).all() for one in found)


def test_left_early_it_leaves_nothing_running(index):
    tokens = frames_of(planted(), index, np.arange(3), extraction=Extraction(batch_size=1))
    next(tokens)
    tokens.close()
    assert list(tokens) == []
