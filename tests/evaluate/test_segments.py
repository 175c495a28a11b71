"""Segments: which class a window has, and the judge on windows whose class is planted."""

import json

import numpy as np
import pytest

from evaluate.embeddings import Embeddings
from evaluate.metrics import METRICS
from evaluate.protocols.linear import LINEAR, Linear
from evaluate.segments_probe import judge_segments, objection, segment_classes
from evaluate.segments_scores import segment_results
from shards.errors import InputError
from shards.labels import Labels
from shards.targets import Events

CLASSES = ("chorus", "solo", "verse")
WINDOW_S = 2.0


def events(*spans):
    start_s, end_s, value = (np.array(column) for column in zip(*spans, strict=True))
    return Events(start_s.astype(float), end_s.astype(float), value.astype(np.int64))


def test_a_window_has_the_class_of_the_event_that_covers_most_of_it():
    found = events((0.0, 3.0, 2), (3.0, 3.5, 0), (3.5, 3.9, 0), (6.0, 9.0, 1))
    start_s = np.array([0.0, 2.0, 3.0, 4.0, 5.0, 8.5, 10.0])
    assert segment_classes(found, start_s, 2.0).tolist() == [2, 2, 0, -1, 1, 1, -1]
    assert segment_classes(events((0.0, 1.0, 0), (1.0, 2.0, 1)), np.zeros(1), 2.0).tolist() == [0]
    assert segment_classes(Events(*[np.empty(0)] * 3), start_s, 2.0).tolist() == [-1] * 7


def test_the_class_of_a_window_is_that_of_most_of_its_instants():
    rng = np.random.default_rng(0)
    borders = np.append(np.sort(rng.uniform(0, 30, 9)), 30)
    whole = events(*zip(np.append(0, borders[:-1]), borders, range(10), strict=True))
    start_s = rng.uniform(0, 28, 50)
    instants = start_s[:, None] + np.linspace(0, 2, 20_001)[:-1] + 5e-5
    number = np.searchsorted(borders, instants)
    expected = [np.bincount(row).argmax() for row in number]
    assert segment_classes(whole, start_s, 2.0).tolist() == expected


def test_scores_count_windows_that_have_a_class():
    truth = [np.array([0, 1, -1, 1]), np.array([-1, -1]), np.array([2])]
    found = [np.array([0, 0, 0, 1]), np.array([0, 1]), np.array([2])]
    results = segment_results(truth, found)
    assert results.tolist() == [[2, 3], [0, 0], [1, 1]]
    assert METRICS["window_accuracy"].score(results, results) == 3 / 4
    assert METRICS["track_accuracy"].score(results, results) == pytest.approx((2 / 3 + 1) / 2)
    weights = np.array([[0, 1, 0], [2, 0, 1]], float)
    scores = METRICS["window_accuracy"].weighted(results, results, weights)
    assert np.isnan(scores[0])
    assert scores[1] == pytest.approx(5 / 7)


@pytest.fixture
def planted(archive, targets):
    """Thirty tracks of twelve windows of 2 s, each with a class, but for two without any."""
    rng = np.random.default_rng(1)
    index = archive([np.zeros(16, np.int16)] * 30)
    true = rng.integers(3, size=(30, 12))
    cells = [
        [
            {"start_s": WINDOW_S * i, "end_s": WINDOW_S * (i + 1), "value": CLASSES[value]}
            for i, value in enumerate(row[:10])
        ]
        for row in true
    ]
    splits = [("train", "train", "valid", "test", "test")[i % 5] for i in range(30)]
    labels = targets(index, "form", "segments", cells, splits=splits)
    vectors = rng.normal(size=(30, 12, 16)) + 6 * np.eye(16)[true]
    return labels, vectors.astype(np.float32)


def embeddings(vectors):
    num_tracks, num_windows, dim = vectors.shape
    rows = np.repeat(np.arange(num_tracks), num_windows)
    number = np.tile(np.arange(num_windows), num_tracks)
    ones = np.ones(len(rows), np.int32)
    return Embeddings("planted", rows, vectors.reshape(-1, dim), ones, number)


def judged(labels, vectors, folder):
    return judge_segments(
        labels,
        {"default": vectors},
        window_s=WINDOW_S,
        hop_s=WINDOW_S,
        encoder="e",
        folder=folder,
        protocol=Linear(grid=LINEAR),
    )


def test_planted_segments_are_found(planted, tmp_path):
    labels, vectors = planted
    verdict = judged(labels, embeddings(vectors), tmp_path)
    assert METRICS["window_accuracy"].score(verdict.outputs, verdict.targets) > 0.97
    assert verdict.outputs[:, 1].tolist() == [10] * 12
    assert verdict.counts == {"train": 12, "valid": 6, "test": 12}
    assert 0.2 < verdict.constant < 0.5


def test_segments_told_by_noise_are_guessed(planted, tmp_path):
    labels, vectors = planted
    noise = np.random.default_rng(7).normal(size=vectors.shape).astype(np.float32)
    verdict = judged(labels, embeddings(noise), tmp_path)
    score = METRICS["window_accuracy"].score(verdict.outputs, verdict.targets)
    assert abs(score - 1 / 3) < 4 * np.sqrt(2 / 9 / 120)


def test_windows_that_could_not_be_read_count_nowhere(planted, tmp_path):
    labels, vectors = planted
    some = embeddings(vectors)
    row = labels.rows("test")[0]
    some.windows[(some.rows == row) & (some.window < 4)] = 0
    some.vectors[some.windows == 0] = np.nan
    verdict = judged(labels, some, tmp_path)
    assert verdict.outputs[0, 1] == 6
    assert METRICS["window_accuracy"].score(verdict.outputs, verdict.targets) > 0.97


def test_the_selection_is_written_before_the_segments_of_test_are_opened(
    planted, tmp_path, monkeypatch
):
    labels, vectors = planted
    seen, opened = [], Labels.test_targets

    def watched(self, selection_file):
        seen.append(json.loads(selection_file.read_text()))
        return opened(self, selection_file)

    monkeypatch.setattr(Labels, "test_targets", watched)
    verdict = judged(labels, embeddings(vectors), tmp_path)
    (selection,) = seen
    assert selection["chosen"] == verdict.chosen
    assert selection["label_sha256"] == labels.info["sha256"]


def test_a_protocol_that_selects_on_test_judges_no_segments(planted, tmp_path):
    labels, vectors = planted

    class Cheat(Linear):
        name = "cheat"
        selects_on_test = True

    with pytest.raises(InputError, match="cheat selects on test"):
        judge_segments(
            labels,
            {"default": embeddings(vectors)},
            window_s=WINDOW_S,
            hop_s=WINDOW_S,
            encoder="e",
            folder=tmp_path,
            protocol=Cheat(),
        )


def test_segments_of_one_class_cannot_be_judged():
    one, two = events((0.0, 1.0, 1)), events((0.0, 1.0, 0), (1.0, 2.0, 1))
    assert objection([one], [two]) == "want segments of at least 2 classes in train, got 1"
    assert objection([two], [Events(*[np.empty(0)] * 3)]) == "no segment in valid"
    assert objection([two], [one]) == ""


def test_segments_that_no_window_meets_and_vectors_that_are_no_numbers_are_refused(
    planted, tmp_path
):
    labels, vectors = planted
    late = embeddings(vectors)
    late.window[:] += 100
    with pytest.raises(InputError, match="none of 144 does"):
        judged(labels, late, tmp_path)
    vectors[0, 0, 0] = np.inf
    with pytest.raises(InputError, match="training diverged"):
        judged(labels, embeddings(vectors), tmp_path)
