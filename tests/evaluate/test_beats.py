"""Decoder, peaks and scores of beats against naive ones, madmom's answers and mir_eval."""

import gzip
import json
import os
from pathlib import Path

import mir_eval
import numpy as np
import pytest

from evaluate.beats import DECODERS, decode_beats, pick_peaks
from evaluate.beats.decoder import best_path, state_space
from evaluate.beats.scores import COLUMNS, beat_results
from evaluate.metrics import METRICS
from shards.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def madmoms_answers():
    """Activations and the beats that madmom's DBNBeatTrackingProcessor finds in them."""
    folder = Path(os.environ.get("WHOLETONE_BENCHMARKS", ROOT / "../shared/benchmarks"))
    path = folder / "gtzan_rhythm/dbn_reference.json.gz"
    if not path.is_file():
        pytest.skip("no reference vectors here: set WHOLETONE_BENCHMARKS to a folder of them")
    return json.loads(gzip.decompress(path.read_bytes()))["cases"]


def pulse(bpm, seconds, rate_hz, *, seed=0, jitter_s=0.0):
    """True beats, and an activation that is high near them and noise elsewhere."""
    rng = np.random.default_rng(seed)
    times_s = np.arange(0.3, seconds - 0.1, 60 / bpm)
    times_s = np.sort(times_s + jitter_s * rng.normal(size=len(times_s)))
    frame_s = np.arange(round(seconds * rate_hz)) / rate_hz
    near = np.exp(-((frame_s[:, None] - times_s) ** 2) / (2 * 0.015**2)).max(axis=1)
    return times_s, 0.05 + 0.1 * rng.random(len(frame_s)) + 0.75 * near


def test_the_decoder_answers_as_madmom_does(madmoms_answers):
    assert len(madmoms_answers) > 0
    for case in madmoms_answers:
        found = decode_beats(np.array(case["activation"]), rate_hz=case["fps"])
        np.testing.assert_array_equal(np.round(found, 5), case["beats"])  # of so many digits


def naive_path(states, log_density):
    """Viterbi over the full transition matrix, one state at a time."""
    num_states = len(states.is_beat)
    move = np.full((num_states, num_states), -np.inf)  # [from, to]
    for state in range(num_states):
        if state in states.last:
            of = list(states.last).index(state)
            for to, first in enumerate(states.first):
                move[state, first] = states.log_change[to, of]
        else:
            move[state, state + 1] = 0.0
    score = np.zeros(num_states)
    came_of = []
    for density in log_density:
        reached = score[:, None] + move
        came_of.append(reached.argmax(axis=0))
        score = reached.max(axis=0) + density[states.is_beat]
    path = [int(score.argmax())]
    for back in came_of[:0:-1]:
        path.append(int(back[path[-1]]))
    return np.array(path[::-1])


@pytest.mark.parametrize("seed", range(4))
def test_the_path_is_that_of_a_viterbi_over_all_transitions(seed):
    states = state_space(10.0, 55.0, 215.0, 5.0, 4)
    log_density = np.log(np.random.default_rng(seed).uniform(0.01, 1, (80, 2)))
    np.testing.assert_array_equal(best_path(states, log_density), naive_path(states, log_density))


def test_probabilities_of_the_next_interval_add_up_to_one_and_favour_the_same():
    states = state_space(50.0, 55.0, 215.0, 100.0, 16)
    np.testing.assert_allclose(np.exp(states.log_change).sum(axis=0), 1)
    assert (states.log_change.argmax(axis=0) == np.arange(len(states.first))).all()
    assert len(states.first) == 55 - 14 + 1
    assert len(states.is_beat) == sum(range(14, 56))


@pytest.mark.parametrize("decoder", sorted(DECODERS))
@pytest.mark.parametrize("rate_hz", [50, 75, 100])
def test_a_clear_pulse_is_found_to_the_frame(decoder, rate_hz):
    times_s, activation = pulse(120, 12, rate_hz)
    found = DECODERS[decoder](activation, rate_hz=rate_hz)
    assert len(found) == len(times_s)
    np.testing.assert_allclose(found, times_s, atol=1 / rate_hz)


def test_the_decoder_hears_a_beat_that_is_missing_and_peaks_do_not():
    times_s, activation = pulse(100, 12, 50)
    at = round(times_s[8] * 50)
    activation[at - 4 : at + 5] = 0.1
    assert len(pick_peaks(activation, rate_hz=50)) == len(times_s) - 1
    found = decode_beats(activation, rate_hz=50)
    assert np.abs(found - times_s[8]).min() < 0.05


@pytest.mark.parametrize("decoder", sorted(DECODERS))
def test_silence_has_no_beats(decoder):
    assert DECODERS[decoder](np.zeros(100), rate_hz=50).shape == (0,)


def test_an_activation_that_is_no_number_is_refused():
    with pytest.raises(InputError, match="finite"):
        decode_beats(np.array([0.1, np.nan]), rate_hz=50)


def test_tempi_that_no_frame_rate_can_tell_are_refused():
    with pytest.raises(InputError, match="slowest first"):
        decode_beats(np.ones(10), rate_hz=50, min_bpm=200, max_bpm=100)


def test_peaks_are_the_highest_of_seven_frames_and_equal_neighbours_are_one():
    rng = np.random.default_rng(1)
    activation = np.round(rng.random(400), 1)  # ties abound
    expected, run = [], []
    for i in range(len(activation)):
        around = activation[max(0, i - 3) : i + 4]
        if activation[i] > 0.5 and activation[i] == around.max():
            run.append(i)
        elif run:
            expected.append(sum(run) / len(run) / 50)
            run = []
    expected += [sum(run) / len(run) / 50] if run else []
    np.testing.assert_allclose(pick_peaks(activation, rate_hz=50), expected)


def random_tracks(count, seed=0):
    """True and found beats of tracks, some found well, some badly, one not at all."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        truth = np.sort(rng.uniform(0, 30, rng.integers(20, 60)))
        kept = truth[rng.random(len(truth)) < 0.8]
        found = kept + rng.normal(0, 0.04, len(kept))
        found = np.sort(np.append(found, rng.uniform(0, 30, 5)).clip(0))
        yield truth, found if i else np.empty(0)


@pytest.mark.filterwarnings("ignore:Estimated beats are empty")
def test_scores_are_those_of_mir_eval():
    truth, found = zip(*random_tracks(40), strict=True)
    results = beat_results(truth, found)
    for name, tolerance_s in (("f20", 0.02), ("f70", 0.07)):
        expected = [
            mir_eval.beat.f_measure(a, b, f_measure_threshold=tolerance_s)
            for a, b in zip(truth, found, strict=True)
        ]
        np.testing.assert_allclose(results[:, COLUMNS.index(name)], expected, rtol=0, atol=1e-9)
        assert METRICS[name].score(results, results) == pytest.approx(np.mean(expected), abs=1e-9)
    trimmed = [
        mir_eval.beat.f_measure(mir_eval.beat.trim_beats(a), mir_eval.beat.trim_beats(b))
        for a, b in zip(truth, found, strict=True)
    ]
    score = METRICS["f70_trimmed"].score(results, results)
    assert score == pytest.approx(np.mean(trimmed), abs=1e-9)


def test_pooled_scores_count_the_beats_of_all_tracks_together():
    truth, found = zip(*random_tracks(20, seed=3), strict=True)
    results = beat_results(truth, found)
    hits = sum(
        len(mir_eval.util.match_events(a, b, 0.07)) for a, b in zip(truth, found, strict=True)
    )
    expected = 2 * hits / (sum(map(len, truth)) + sum(map(len, found)))
    assert METRICS["f70_pooled"].score(results, results) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["f70", "f20", "f70_pooled", "f20_pooled", "f70_trimmed"])
def test_a_weight_is_a_track_that_stands_there_as_often(name):
    truth, found = zip(*random_tracks(6, seed=5), strict=True)
    results = beat_results(truth, found)
    weights = np.array([[1, 1, 1, 1, 1, 1], [3, 0, 1, 2, 0, 1], [6, 0, 0, 0, 0, 0]], float)
    scores = METRICS[name].weighted(results, results, weights)
    for some, score in zip(weights.astype(int), scores, strict=True):
        repeated = np.repeat(results, some, axis=0)
        assert score == pytest.approx(METRICS[name].score(repeated, repeated), abs=1e-12)


def test_two_beats_close_together_are_not_both_found_by_one():
    results = beat_results([np.array([1.0, 1.05])], [np.array([1.02])])
    assert results[0, COLUMNS.index("tp70")] == 1
    assert results[0, COLUMNS.index("fn70")] == 1
