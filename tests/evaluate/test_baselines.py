"""Statistics of what one hears at once: equal to plain loops, deaf to padding and to neighbours."""

import numpy as np
import pytest
import scipy.fft
import torch

from evaluate.baselines import ChromaStatistics, LogMelStatistics, MfccStatistics

RATE = 8000
STATISTICS = (LogMelStatistics, MfccStatistics, ChromaStatistics)
PITCH_CLASSES = "C Db D Eb E F Gb G Ab A Bb B".split()


def tone(*hz: float, seconds: float = 4.0) -> torch.Tensor:
    time_s = np.arange(int(seconds * RATE)) / RATE
    samples = sum(np.sin(2 * np.pi * one * time_s) for one in hz)
    return torch.from_numpy(0.2 * samples.astype(np.float32))


@pytest.mark.parametrize("build", STATISTICS)
def test_statistics_depend_on_neither_padding_nor_neighbours(build):
    encoder = build(sample_rate=RATE, clip_frames=4 * RATE)
    noise = torch.randn(2, 4 * RATE, generator=torch.Generator().manual_seed(0))
    short = noise[0].clone()
    short[3 * RATE :] = 0
    batch = encoder.embed(torch.stack([short, 50 * noise[1]]), torch.tensor([3 * RATE, 4 * RATE]))
    alone = encoder.embed(noise[:1, : 3 * RATE], torch.tensor([3 * RATE]))
    assert batch.shape == (2, encoder.dim)
    torch.testing.assert_close(batch[0], alone[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("build", STATISTICS)
def test_silence_and_a_track_shorter_than_a_frame_have_statistics(build):
    encoder = build(sample_rate=RATE, clip_frames=RATE)
    for waveform in (torch.zeros(1, RATE), tone(440, seconds=0.05)[None]):
        assert torch.isfinite(encoder.embed(waveform, torch.tensor([waveform.shape[1]]))).all()


def test_mfcc_are_the_cosine_transform_of_the_log_mel():
    mfcc = MfccStatistics(sample_rate=RATE, clip_frames=RATE)
    log_mel = LogMelStatistics(sample_rate=RATE, clip_frames=RATE)
    waveform = torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    expected = scipy.fft.dct(log_mel.frames(waveform).numpy(), norm="ortho")[..., :20]
    np.testing.assert_allclose(mfcc.frames(waveform).numpy(), expected, atol=1e-3)


@pytest.mark.parametrize("pitch", range(48, 84))
def test_a_tone_is_heard_as_its_pitch_class_in_every_octave(pitch):
    chroma = ChromaStatistics(sample_rate=RATE, clip_frames=4 * RATE)
    hz = 440 * 2 ** ((pitch - 69) / 12)
    mean = chroma.embed(tone(hz)[None], torch.tensor([4 * RATE]))[0, :12]
    assert int(mean.argmax()) == pitch % 12
    assert mean.max() > 0.6
    assert mean.sum() == pytest.approx(1, abs=1e-4)


def test_a_chord_is_its_notes_and_a_transposed_one_is_turned():
    chroma = ChromaStatistics(sample_rate=RATE, clip_frames=4 * RATE)
    c_major = np.array([261.63, 329.63, 392.0])
    found = [
        chroma.embed(tone(*(c_major * 2 ** (steps / 12)))[None], torch.tensor([4 * RATE]))[0, :12]
        for steps in (0, 5)
    ]
    notes = [{PITCH_CLASSES[k] for k in one.topk(3).indices} for one in found]
    assert notes == [{"C", "E", "G"}, {"F", "A", "C"}]
    torch.testing.assert_close(found[1], found[0].roll(5), rtol=0, atol=0.1)
