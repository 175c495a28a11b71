import inspect

import mir_eval.key
import numpy as np
import pytest
from sklearn import metrics as sk

from evaluate import keys, metrics, weighted
from evaluate.beats.scores import BEAT_SCORES
from evaluate.metrics import METRICS
from evaluate.ranking import PIECE_SCORES
from evaluate.segments_scores import SEGMENT_SCORES
from evaluate.tasks import TASKS
from shards.labels import METRICS as METRIC_OF_KIND
from shards.targets import KEYS


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def tags(rng: np.random.Generator, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    targets = (rng.random((n, 5)) < [0.5, 0.2, 0.05, 0.7, 0.3]).astype(np.float32)
    outputs = np.round(rng.normal(size=(n, 5)) + targets, 1)  # rounded: many ties
    targets[:, 4] = 0  # no positive at all
    return outputs, targets


def naive_area(outputs: np.ndarray, positive: np.ndarray) -> float:
    wins = [
        (a > b) + (a == b) / 2 for a in outputs[positive] for b in outputs[~positive]
    ]  # every pair
    return float(np.mean(wins))


def naive_precision(outputs: np.ndarray, positive: np.ndarray) -> float:
    total = 0.0
    for value in outputs[positive]:
        drawn = outputs >= value
        total += (drawn & positive).sum() / drawn.sum()
    return total / positive.sum()


def test_roc_auc_and_map_equal_loops_over_pairs_and_drop_tags_without_positives(rng):
    outputs, targets = tags(rng)
    kept = [k for k in range(5) if 0 < targets[:, k].sum() < len(targets)]
    assert 4 not in kept
    assert metrics.judged(targets).nonzero()[0].tolist() == kept
    pairs = [(outputs[:, k], targets[:, k] > 0) for k in kept]
    assert metrics.roc_auc(outputs, targets) == pytest.approx(
        np.mean([naive_area(*pair) for pair in pairs]), abs=1e-12
    )
    assert metrics.average_precision(outputs, targets) == pytest.approx(
        np.mean([naive_precision(*pair) for pair in pairs]), abs=1e-12
    )


def test_numbers_and_classes_equal_their_formulas(rng):
    targets, outputs = rng.normal(size=50), rng.normal(size=50)
    expected = 1 - ((outputs - targets) ** 2).sum() / ((targets - targets.mean()) ** 2).sum()
    assert metrics.r2(outputs, targets) == pytest.approx(expected, abs=1e-12)
    assert metrics.mae(outputs, targets) == pytest.approx(np.abs(outputs - targets).mean())
    logits, classes = rng.normal(size=(50, 3)), rng.integers(3, size=50)
    hits = [int(np.argmax(row)) == c for row, c in zip(logits, classes, strict=True)]
    assert metrics.accuracy(logits, classes) == np.mean(hits)


def test_scores_without_a_definition_are_nan():
    assert np.isnan(metrics.roc_auc(np.zeros((4, 2)), np.zeros((4, 2))))
    assert np.isnan(metrics.average_precision(np.zeros((4, 2)), np.ones((4, 2))))
    assert np.isnan(metrics.r2(np.arange(4.0), np.full(4, 120.0)))


def beat_results(rng: np.random.Generator) -> np.ndarray:
    """F-measures, and counts of which a few are zero."""
    return np.hstack([rng.random((60, 3)), rng.integers(9, size=(60, 6))])


def cases(rng: np.random.Generator) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    outputs, targets = tags(rng)
    numbers = 120 + 30 * rng.normal(size=60)
    rankings = rng.random((60, 3))
    rankings[::7] = np.nan  # these do not ask
    return {
        "accuracy": (rng.normal(size=(60, 4)), rng.integers(4, size=60)),
        "roc_auc": (outputs, targets),
        "average_precision": (outputs, targets),
        "r2": (numbers + rng.normal(size=60), numbers),
        "mae": (numbers + rng.normal(size=60), numbers),
        "key_score": (rng.normal(size=(60, 24)), rng.integers(24, size=60)),
        **dict.fromkeys(PIECE_SCORES, (rankings, np.zeros(60))),
        **dict.fromkeys(BEAT_SCORES, (beat_results(rng), np.zeros(60))),
        **dict.fromkeys(SEGMENT_SCORES, (rng.integers((0, 5), (5, 9), (60, 2)), np.zeros(60))),
    }


@pytest.mark.parametrize("name", sorted(METRICS))
def test_weighted_scores_equal_scikit_learn_on_the_drawn_tracks(name, rng):
    outputs, targets = cases(rng)[name]
    weights = rng.multinomial(60, np.full(60, 1 / 60), size=40)
    found = METRICS[name].weighted(outputs, targets, weights.astype(float))
    for score, counts in zip(found, weights, strict=True):
        drawn = np.repeat(np.arange(60), counts)
        expected = METRICS[name].score(outputs[drawn], targets[drawn])
        assert score == pytest.approx(expected, abs=1e-9, nan_ok=True)
    ones = METRICS[name].weighted(outputs, targets, np.ones((1, 60)))
    assert ones[0] == pytest.approx(METRICS[name].score(outputs, targets), abs=1e-12)


def test_weighted_r2_survives_targets_far_from_zero_and_marks_constant_draws():
    targets = np.array([1e6, 1e6 + 1, 1e6 + 2, 1e6 + 4])
    outputs = targets + np.array([0.1, -0.2, 0.3, 0.0])
    found = weighted.r2(outputs, targets, np.array([[1.0, 1, 1, 1], [3, 0, 0, 0]]))
    assert found[0] == pytest.approx(sk.r2_score(targets, outputs), abs=1e-9)
    assert np.isnan(found[1])


# Keys


def mir_eval_score(true: str, found: str) -> float:
    """Without points for a fifth down, which mir_eval means to give by default one day."""
    options = inspect.signature(mir_eval.key.weighted_score).parameters
    no_descent = {"allow_descending_fifths": False} if "allow_descending_fifths" in options else {}
    return float(mir_eval.key.weighted_score(true, found, **no_descent))


def test_points_for_keys_are_those_of_mir_eval_and_a_fifth_down_earns_none():
    expected = [[mir_eval_score(true, found) for found in KEYS] for true in KEYS]
    np.testing.assert_array_equal(keys.SCORES, expected)
    c, f, g = (KEYS.index(f"{tonic} major") for tonic in "CFG")
    assert (keys.SCORES[c, g], keys.SCORES[c, f]) == (0.5, 0.0)


def test_the_constant_key_is_the_best_of_train_by_points_and_not_the_commonest():
    names = ["C major"] * 5 + ["G major"] * 4 + ["E minor"] * 4  # G is a fifth above C
    targets = np.array([KEYS.index(name) for name in names])
    constant = TASKS["key"](targets, len(KEYS)).constant(3)
    assert [KEYS[k] for k in constant.argmax(axis=1)] == ["G major"] * 3
    assert constant.max() == pytest.approx((5 * 0.5 + 4 + 4 * 0.3) / 13)
    by_class = TASKS["class"](targets, len(KEYS)).constant(1)
    assert KEYS[int(by_class.argmax())] == "C major"


# Traps


def test_logits_keep_their_order_where_float32_sigmoids_become_ties(rng):
    targets = (rng.random((200, 1)) < 0.3).astype(np.float32)
    logits = 20 + rng.normal(size=(200, 1)) + 2 * targets  # sigmoid: 1 to float32
    saturated = (1 / (1 + np.exp(-logits))).astype(np.float32)
    assert len(np.unique(saturated)) < 10
    assert metrics.average_precision(logits, targets) > 0.8
    assert metrics.average_precision(saturated, targets) < 0.5
    shuffled = rng.permutation(200)
    for score in (metrics.average_precision, metrics.roc_auc):  # ties have no order to profit by
        assert score(saturated[shuffled], targets[shuffled]) == score(saturated, targets)


def test_a_tag_that_no_track_bears_neither_counts_as_zero_nor_as_nan(rng):
    targets = np.zeros((50, 3), np.float32)
    targets[:20, 0] = targets[10:30, 1] = 1
    outputs = rng.normal(size=(50, 3))
    for score, oracle in (
        (metrics.roc_auc, sk.roc_auc_score),
        (metrics.average_precision, sk.average_precision_score),
    ):
        alone = [oracle(targets[:, k], outputs[:, k]) for k in (0, 1)]
        assert score(outputs, targets) == pytest.approx(np.mean(alone), abs=1e-12)


def test_the_metric_that_a_label_set_names_is_the_one_it_is_judged_by():
    judged_by = {kind: task.metrics[0] for kind, task in TASKS.items()}
    of_results = {"group": PIECE_SCORES, "beats": BEAT_SCORES, "segments": SEGMENT_SCORES}
    judged_by |= {kind: next(iter(scores)) for kind, scores in of_results.items()}
    assert judged_by == METRIC_OF_KIND
    assert set(METRIC_OF_KIND.values()) <= set(METRICS)
