"""Beats and segments through the whole of an evaluation, from an archive to its report."""

import json

import numpy as np
import pytest

from evaluate.embed import Extraction
from evaluate.evaluation import evaluate
from evaluate.protocols import build_protocol
from tests.evaluate.planted import NUM_BANDS, planted_run, planted_track, with_beats

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


@pytest.mark.slow
@pytest.mark.usefixtures("planted_encoder")
def test_beats_and_segments_are_judged_beside_an_untrained_encoder(labelled, tmp_path):
    found = evaluate(
        labelled.path,
        planted_run(tmp_path / "run"),
        out=tmp_path / "out",
        protocol=build_protocol("hybrid"),
        extraction=Extraction(num_workers=0),
    )
    assert found.skipped == {}
    beats, parts = found.labels
    assert (beats.name, parts.name) == ("beats", "parts")
    assert beats.trained.scores["f70"] > 0.95
    assert beats.constant < 0.6
    assert {score.encoder for score in beats.scores} == {"trained", "untrained"}
    assert all(score.behind_trained.low > 0 for score in beats.baselines)
    sweep = {
        other.facts["layer"]: other.scores["f70"]
        for other in beats.trained.others
        if other.series == "layer"
    }
    assert beats.trained.chosen["layer"] == 5
    assert sweep[0] < 0.8
    assert parts.trained.scores["window_accuracy"] > 0.95
    assert parts.scores[1].scores["window_accuracy"] < 0.8
    written = json.loads((tmp_path / "out/results.json").read_text())
    assert [label["metric"] for label in written["labels"]] == ["f70", "window_accuracy"]
    assert "F, 70 ms" in (tmp_path / "out/report.html").read_text()
