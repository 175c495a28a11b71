"""Nine real tracks whose beats are known from their scores, judged by grouped cross-validation."""

import csv

import numpy as np
import pytest
import soundfile
import soxr

from evaluate.beats.scores import beat_results
from evaluate.beats_probe import cross_validate_beats, metronome
from evaluate.embed import Extraction
from evaluate.frame_heads import FrameConfiguration
from evaluate.frame_probe import FrameSchedule
from evaluate.metrics import METRICS
from evaluate.token_tracks import token_tracks
from tests.evaluate.planted import RATE_HZ, with_beats

EXCERPT_S = 30.0
BAND = 9


@pytest.fixture(scope="module")
def scored(real_audio):
    """Excerpts at 8 kHz, their beats in seconds, and which are arrangements of one piece."""
    folder = real_audio / "supertux-scores"
    with open(folder / "labels.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["beats_file"]]
    excerpts, beats, groups = [], [], []
    for row in rows:
        info = soundfile.info(folder / row["path"])
        samples, rate = soundfile.read(
            folder / row["path"], frames=round(EXCERPT_S * info.samplerate), dtype="float32"
        )
        samples = soxr.resample(samples.mean(axis=1), rate, RATE_HZ)
        excerpts.append((32767 * samples.clip(-1, 1)).astype(np.int16))
        times_s = np.loadtxt(folder / row["beats_file"], skiprows=1)
        beats.append(times_s[times_s < EXCERPT_S])
        groups.append(row["version_group"] or row["path"])
    return excerpts, beats, groups


def held_out(excerpts, beats, groups, archive, targets, encoder, folder, *, layers):
    """Results for every track by heads that heard no arrangement of it."""
    index = archive(excerpts)
    cells = [[{"start_s": t, "end_s": t, "value": ""} for t in some] for some in beats]
    labels = targets(index, "beats", "beats", cells, groups=groups)
    found = cross_validate_beats(
        labels,
        token_tracks(encoder, index, extraction=Extraction(num_workers=0)),
        encoder="e",
        folder=folder,
        num_folds=3,
        configurations=[FrameConfiguration("mlp", layer) for layer in layers],
        schedule=FrameSchedule(max_epochs=20, patience=8),
    )
    assert found.rows.tolist() == list(range(9))
    for group in set(groups):
        assert len(set(found.fold[found.groups == group].tolist())) == 1
    return METRICS["f70"].score(found.outputs, found.targets)


def test_beats_planted_in_real_music_are_found(scored, archive, targets, planted_encoder, tmp_path):
    excerpts, beats, groups = scored
    quiet = [(samples // 8).astype(np.int16) for samples in excerpts]
    planted = [with_beats(a, b, band=BAND) for a, b in zip(quiet, beats, strict=True)]
    score = held_out(
        planted, beats, groups, archive, targets, planted_encoder, tmp_path, layers=[BAND]
    )
    assert score > 0.95


def test_beats_of_real_music_are_heard_better_than_a_metronome_guesses_them(
    scored, archive, targets, planted_encoder, tmp_path
):
    """Thirteen bands that nobody trained; the metronome even knows the usual tempo of all nine."""
    score = held_out(*scored, archive, targets, planted_encoder, tmp_path, layers=[None])
    _, beats, _ = scored
    guessed = beat_results(beats, metronome(dict(enumerate(beats)), beats))
    assert score > METRICS["f70"].score(guessed, guessed) + 0.05
