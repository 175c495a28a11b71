"""Versions of a piece: rankings by brute force, the judge, and the traps of other libraries."""

import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from evaluate.embeddings import Embeddings
from evaluate.metrics import METRICS
from evaluate.ranking import rankings
from evaluate.retrieval import judge_pieces, objection
from shards.errors import InputError
from shards.labels import Labels


def embeddings(vectors, name="planted"):
    rows = np.arange(len(vectors))
    return Embeddings(name, rows, vectors.astype(np.float32), np.ones(len(rows), np.int32))


def naive(vectors, pieces):
    """AP, hits among ten and rank of the first version of every track, one after another."""
    rows = []
    for query in range(len(vectors)):
        cosines = []
        for other in range(len(vectors)):
            if other != query:
                dot = float(np.dot(vectors[query], vectors[other]))
                norms = float(np.linalg.norm(vectors[query]) * np.linalg.norm(vectors[other]))
                cosines.append((-dot / norms, pieces[other] == pieces[query]))
        ranked = [is_version for _, is_version in sorted(cosines)]
        if not any(ranked):
            rows.append([np.nan] * 3)
            continue
        places = [place for place, is_version in enumerate(ranked, 1) if is_version]
        precisions = [found / place for found, place in enumerate(places, 1)]
        rows.append([np.mean(precisions), sum(ranked[:10]), places[0]])
    return np.array(rows)


def test_rankings_equal_a_loop_over_pairs_whatever_the_sign_of_a_cosine():
    rng = np.random.default_rng(0)
    pieces = rng.integers(25, size=60)
    pieces[0] = 99  # a piece alone
    vectors = rng.normal(size=(60, 5)) + rng.normal(size=(100, 5))[pieces]
    found, expected = rankings(vectors, pieces), naive(vectors, pieces)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert np.isnan(found[0]).all()
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    first = int(np.flatnonzero(pieces == pieces[1])[1])
    assert (units @ units[first] < 0).any(), "cosines below zero rank like all others"


def test_average_precision_of_a_query_is_that_of_scikit_learn():
    rng = np.random.default_rng(1)
    pieces, vectors = rng.integers(8, size=40), rng.normal(size=(40, 6))
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for query, (precision, _, _) in enumerate(rankings(vectors, pieces)):
        others = np.arange(40) != query
        is_version = pieces[others] == pieces[query]
        if is_version.any():
            expected = average_precision_score(is_version, (units @ units[query])[others])
            assert precision == pytest.approx(expected, abs=1e-12)


def test_equal_vectors_earn_the_least_and_not_the_order_of_the_tracks():
    pieces = np.repeat(np.arange(6), 2)
    worst = rankings(np.ones((12, 3)), pieces)
    np.testing.assert_allclose(worst, np.tile([1 / 11, 0, 11], (12, 1)))
    np.testing.assert_array_equal(rankings(np.zeros((12, 3)), pieces), worst)
    scaled = rankings(np.ones((12, 3)) * np.arange(1, 13)[:, None] / 7, pieces)
    np.testing.assert_array_equal(scaled, worst)  # equal but for rounding


def test_metrics_are_means_over_the_tracks_that_ask():
    results = np.array([[1.0, 2, 1], [0.5, 1, 3], [np.nan] * 3])
    pieces = np.array([0, 0, 1])
    assert METRICS["map"].score(results, pieces) == 0.75
    assert METRICS["p10"].score(results, pieces) == pytest.approx(0.15)
    assert METRICS["mr1"].score(results, pieces) == 2
    assert np.isnan(METRICS["mr1"].score(results[2:], pieces[2:]))
    nobody = METRICS["map"].weighted(results, pieces, np.array([[0.0, 0, 1]]))
    assert np.isnan(nobody).all()


# The judge


@pytest.fixture
def index(archive):
    return archive([np.zeros(16, np.int16)] * 120)


@pytest.fixture
def planted(index, targets):
    """Pieces of three versions, a vector that holds the piece and one that is noise."""
    rng = np.random.default_rng(0)
    pieces = np.arange(120) // 3
    labels = targets(index, "work", "group", [f"piece {p}" for p in pieces])
    noise = rng.normal(size=(120, 16))
    told = rng.normal(size=(40, 16))[pieces] + 0.1 * noise
    return labels, told, noise


def test_planted_versions_are_found_and_noise_is_not(planted, tmp_path):
    labels, told, noise = planted
    scores = []
    for vectors in (told, noise):
        features = {"default": embeddings(vectors)}
        verdict = judge_pieces(labels, features, encoder="e", folder=tmp_path)
        scores.append([METRICS[m].score(verdict.outputs, None) for m in verdict.metrics])
    assert scores[0] == pytest.approx([1.0, 0.2, 1.0])
    by_chance = np.mean([1 / (1 + k) for k in range(29)])  # about: a version anywhere among 29
    assert scores[1][0] < 2 * by_chance
    assert scores[1][2] > 5


def test_the_vector_is_chosen_on_valid_and_written_before_test_opens(
    planted, tmp_path, monkeypatch
):
    labels, told, noise = planted
    lying = told.copy()  # best on test, where nobody may look, and noise on valid
    lying[labels.rows("valid")] = noise[labels.rows("valid")]
    weak = told + noise
    weak[labels.rows("test")] = noise[labels.rows("test")]
    seen, opened = [], Labels.test_targets

    def watched(self, selection_file):
        seen.append(json.loads(selection_file.read_text()))
        return opened(self, selection_file)

    monkeypatch.setattr(Labels, "test_targets", watched)
    features = {"lying": embeddings(lying, "a"), "weak": embeddings(weak, "b")}
    verdict = judge_pieces(labels, features, encoder="e", folder=tmp_path)
    (selection,) = seen
    assert selection["chosen"]["feature"] == verdict.chosen["feature"] == "weak"
    assert len(selection["grid"]) == verdict.grid_size == 2
    assert selection["embeddings"] == "a b"
    assert verdict.valid_score == max(one["valid_score"] for one in selection["grid"])
    assert METRICS["map"].score(verdict.outputs, verdict.targets) < 0.5


def test_every_layer_is_a_choice(planted, tmp_path):
    labels, told, noise = planted
    layers = embeddings(np.stack([noise, told, noise[::-1]], axis=1))
    verdict = judge_pieces(labels, {"layers": layers}, encoder="e", folder=tmp_path)
    assert (verdict.grid_size, verdict.chosen["layer"]) == (3, 1)


def test_a_split_that_is_all_test_takes_one_vector(index, targets, tmp_path):
    rng = np.random.default_rng(0)
    pieces = [f"piece {n // 2}" for n in range(20)]
    labels = targets(index, "work", "group", pieces, splits=["test"] * 20)
    features = {name: embeddings(rng.normal(size=(120, 4)), name) for name in "ab"}
    assert objection(labels, np.ones(120, bool)) == ""
    only = {"a": features["a"]}
    verdict = judge_pieces(labels, only, encoder="e", folder=tmp_path)
    assert np.isnan(verdict.valid_score)
    assert json.loads((tmp_path / "work--e.json").read_text())["chosen"]["valid_score"] is None
    with pytest.raises(InputError, match="no piece with two versions in valid"):
        judge_pieces(labels, features, encoder="e", folder=tmp_path)


def test_pieces_that_cannot_be_looked_for_say_why(index, targets):
    alone = targets(index, "alone", "group", [f"p{n}" for n in range(60)])
    known = np.ones(120, bool)
    assert "no piece has two versions" in objection(alone, known)
    few = targets(index, "few", "group", [f"p{n // 2}" for n in range(24)])
    assert "want at least 10" in objection(few, known)


def test_tracks_without_a_vector_are_neither_asked_nor_found(planted, tmp_path):
    labels, told, _ = planted
    vectors = embeddings(told)
    vectors.windows[labels.rows("test")[:3]] = 0
    verdict = judge_pieces(labels, {"default": vectors}, encoder="e", folder=tmp_path)
    assert len(verdict.rows) == len(verdict.outputs) == 27
    vectors.vectors[labels.rows("test")[3]] = np.nan
    with pytest.raises(InputError, match="NaN or infinity for 1 of 27 tracks in test"):
        judge_pieces(labels, {"default": vectors}, encoder="e", folder=tmp_path)


def test_over_folds_every_track_asks_once_beside_all_its_versions(planted, tmp_path):
    labels, told, _ = planted
    verdicts = [
        judge_pieces(fold, {"default": embeddings(told)}, encoder=f"fold{i}", folder=tmp_path)
        for i, fold in enumerate(labels.folds(4))
    ]
    assert sorted(np.concatenate([verdict.rows for verdict in verdicts])) == list(range(120))
    for verdict in verdicts:
        assert (np.bincount(verdict.targets)[verdict.targets] == 3).all()
        assert METRICS["map"].score(verdict.outputs, verdict.targets) == 1
