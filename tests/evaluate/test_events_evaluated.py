"""Beats and segments through the whole of an evaluation, from an archive to its report."""

import json

import numpy as np
import pytest

from evaluate.beats import MIN_RATE_HZ
from evaluate.embed import Extraction
from evaluate.evaluation import evaluate
from evaluate.protocols.linear import LINEAR, Linear
from tests.evaluate.planted import NUM_BANDS, planted_run, planted_track, with_beats
from train.checkpoint import export_encoder
from train.encoders import build_encoder

PARTS = {"low": 2, "high": 9}


@pytest.fixture
def labelled(archive, targets):
    """Thirty tracks of 4 s: parts of a second in which one of two bands is loud, beats in a third.

    The encoder's default pool is noise; of layers 2 and 9 either tells parts, layer 5 beats.
    """
    rng = np.random.default_rng(3)
    tracks, beats, parts = [], [], []
    for i in range(30):
        names = rng.choice(list(PARTS), 4)
        seconds = []
        for number, name in enumerate(names):
            levels = np.full(NUM_BANDS, 0.01)
            levels[PARTS[name]] = 0.2
            seconds.append(planted_track(levels, 1.0, seed=10 * i + number))
        times_s = np.arange(rng.uniform(0.05, 0.3), 3.9, 60 / rng.uniform(90, 180))
        tracks.append(with_beats(np.concatenate(seconds), times_s, band=5, level=0.3))
        beats.append([{"start_s": t, "end_s": t, "value": ""} for t in times_s.tolist()])
        parts.append(
            [
                {"start_s": float(s), "end_s": s + 1.0, "value": name}
                for s, name in enumerate(names.tolist())
            ]
        )
    index = archive(tracks)
    splits = [("train", "valid", "test")[i % 3] for i in range(30)]
    targets(index, "beats", "beats", beats, splits=splits)
    targets(index, "parts", "segments", parts, splits=splits)
    return index


def judged(index, tmp_path, run, name):
    """The only result of an evaluation, and the page."""
    found = evaluate(
        index.path,
        run,
        labels=[name],
        out=tmp_path / "out",
        protocol=Linear(grid=LINEAR),
        extraction=Extraction(num_workers=0),
    )
    assert found.skipped == {}
    (result,) = found.labels
    written = json.loads((tmp_path / "out/results.json").read_text())
    assert written["labels"][0]["metric"] == result.metric
    return result, (tmp_path / "out/report.html").read_text()


@pytest.mark.usefixtures("planted_encoder")
def test_segments_are_judged_beside_every_baseline(labelled, tmp_path):
    result, page = judged(labelled, tmp_path, planted_run(tmp_path / "run"), "parts")
    assert result.metric == "window_accuracy"
    assert result.counts == {"train": 10, "valid": 10, "test": 10}
    accuracy = {score.encoder: score.scores["window_accuracy"] for score in result.scores}
    assert accuracy["log-mel"] > 0.95
    assert accuracy["trained"] < 0.8  # its default pool is noise
    assert "accuracy of windows" in page


def test_beats_are_not_judged_by_an_encoder_of_a_token_a_second(labelled, tmp_path):
    settings = {"clip_s": 1.0, "width": 8, "layers": [1, 1, 1, 1], "num_heads": 2, "dim": 12}
    encoder = build_encoder("resnet", settings, seed=1)
    assert encoder.frame_rate_hz < MIN_RATE_HZ
    (tmp_path / "run").mkdir()
    export_encoder(encoder, tmp_path / "run", card="")
    found = evaluate(
        labelled.path,
        tmp_path / "run",
        labels=["beats"],
        out=tmp_path / "out",
        extraction=Extraction(num_workers=0),
    )
    assert found.labels == []
    assert "fewer than 10 a second" in found.skipped["beats"]
