import json

import numpy as np
import pytest

from evaluate.embeddings import Embeddings
from evaluate.grouped_cv import cross_validate, gain
from evaluate.heads import Schedule
from evaluate.metrics import METRICS
from evaluate.probe import judge, objection
from evaluate.protocols.linear import GRID, LINEAR, Linear, choose
from evaluate.scaler import Scaler
from evaluate.tasks import TASKS
from shards.errors import InputError
from shards.labels import Labels

QUICK = Schedule(max_steps=200)
FAST = Linear(grid=LINEAR)
SHORT = Linear(schedule=QUICK)


def embeddings(vectors: np.ndarray) -> dict[str, Embeddings]:
    rows = np.arange(len(vectors))
    one = Embeddings("planted", rows, vectors.astype(np.float32), np.ones(len(rows), np.int32))
    return {"default": one}


@pytest.fixture
def index(archive):
    return archive([np.zeros(16, np.int16)] * 240)


@pytest.fixture
def planted(index, targets):
    """Labels of each kind and embeddings that hold them: 5 classes, 4 tags, a number."""
    rng = np.random.default_rng(0)
    classes = rng.integers(5, size=240)
    tags = rng.random((240, 4)) < [0.5, 0.3, 0.2, 0.1]
    numbers = rng.normal(size=240)
    vectors = rng.normal(size=(240, 64))
    vectors[:, :5] += 9 * np.eye(5)[classes]
    vectors[:, 5:9] += 9 * tags
    vectors[:, 9] = 100 * numbers + 7 + 30 * rng.normal(size=240)
    names = np.array(["a", "b", "c", "d"])
    groups = [f"g{i // 2}" for i in range(240)]
    splits = [("train", "train", "train", "valid", "test")[i // 2 % 5] for i in range(240)]
    how = {"groups": groups, "splits": splits}
    sets = {
        "class": targets(index, "style", "class", [f"c{c}" for c in classes], **how),
        "tags": targets(index, "mood", "tags", [list(names[row]) for row in tags], **how),
        "number": targets(index, "tempo", "number", (120 + 30 * numbers).tolist(), **how),
    }
    return sets, embeddings(vectors)


@pytest.mark.parametrize(
    ("kind", "low", "high"), [("class", 0.97, 1.0), ("tags", 0.97, 1.0), ("number", 0.75, 0.97)]
)
def test_planted_features_recover_the_planted_score(planted, tmp_path, kind, low, high):
    sets, vectors = planted
    verdict = judge(sets[kind], vectors, encoder="planted", folder=tmp_path)
    score = METRICS[verdict.metrics[0]].score(verdict.outputs, verdict.targets)
    assert low <= score <= high  # the number's noise leaves 1 / (1 + 0.3²) = 0.92 at best


def test_shuffled_labels_sit_at_chance(index, targets, tmp_path):
    rng = np.random.default_rng(0)
    splits = [("train", "valid", "test")[i % 3] for i in range(240)]
    vectors = embeddings(rng.normal(size=(240, 64)))
    names = [f"c{c}" for c in rng.integers(4, size=240)]
    classes = targets(index, "shuffled", "class", names, splits=splits)
    verdict = judge(classes, vectors, encoder="noise", folder=tmp_path, protocol=SHORT)
    score = METRICS["accuracy"].score(verdict.outputs, verdict.targets)
    assert abs(score - 0.25) < 3 * np.sqrt(0.25 * 0.75 / 80)
    number = targets(index, "noise", "number", rng.normal(size=240).tolist(), splits=splits)
    verdict = judge(number, vectors, encoder="noise", folder=tmp_path, protocol=SHORT)
    assert METRICS["r2"].score(verdict.outputs, verdict.targets) < 0.1


@pytest.mark.parametrize("kind", ["class", "tags", "number"])
def test_the_choice_depends_on_neither_scale_nor_shift_of_features(planted, kind):
    sets, vectors = planted
    labels = sets[kind]
    rows = {split: labels.rows(split) for split in ("train", "valid")}
    y = {split: labels.targets(split) for split in rows}
    task = TASKS[kind](y["train"], len(labels.classes))
    scores = []
    clean = vectors["default"].vectors
    for x in (clean, clean.astype(np.float64) * 1000 - 5):
        pairs = [(x[rows[split]], y[split]) for split in rows]
        scores.append(choose(task, pairs[0], pairs[1], grid=LINEAR, schedule=QUICK).valid_score)
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def test_the_scaler_sees_train_only_and_a_track_is_predicted_alone(planted):
    sets, vectors = planted
    labels, x = sets["class"], vectors["default"].vectors
    train, valid, test = (labels.rows(split) for split in ("train", "valid", "test"))
    y = [labels.targets(split) for split in ("train", "valid")]
    task = TASKS["class"](y[0], len(labels.classes))
    choice = choose(task, (x[train], y[0]), (1000 * x[valid], y[1]), grid=LINEAR)
    expected = x[train].astype(np.float64)
    np.testing.assert_array_equal(choice.scaler.mean, expected.mean(axis=0))
    np.testing.assert_array_equal(choice.scaler.std, expected.std(axis=0))
    alone = choice.predict(1000 * x[test[:1]])
    beside_others = choice.predict(np.concatenate([1000 * x[test[:1]], x[test[1:]]]))[:1]
    np.testing.assert_allclose(alone, beside_others, rtol=1e-4)


def test_a_constant_feature_is_only_centred():
    features = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    features[:, 1] = 0.1
    scaled = Scaler.fit(features)(features).numpy()
    np.testing.assert_allclose(scaled[:, 1], 0, atol=1e-6)
    np.testing.assert_allclose(scaled[:, 0].std(), 1, rtol=1e-5)


def test_the_selection_is_written_before_test_targets_are_opened(planted, tmp_path, monkeypatch):
    sets, vectors = planted
    labels, seen = sets["class"], []
    opened = Labels.test_targets

    def watched(self, selection_file):
        seen.append(json.loads(selection_file.read_text()))
        return opened(self, selection_file)

    monkeypatch.setattr(Labels, "test_targets", watched)
    verdict = judge(labels, vectors, encoder="e", folder=tmp_path, protocol=FAST)
    (selection,) = seen
    assert selection["label"] == "style"
    assert selection["label_sha256"] == labels.info["sha256"]
    assert selection["embeddings"] == "planted"
    assert len(selection["grid"]) == len(LINEAR)
    best = max(trial["valid_score"] for trial in selection["grid"])
    assert selection["valid_score"] == best == verdict.valid_score
    assert len(verdict.selection_sha256) == 64


def test_test_targets_stay_shut_without_a_selection_or_with_another_labels(planted, tmp_path):
    sets, vectors = planted
    with pytest.raises(InputError, match="choose first"):
        sets["class"].test_targets(tmp_path / "nothing.json")
    judge(sets["class"], vectors, encoder="e", folder=tmp_path, protocol=Linear(grid=LINEAR[:1]))
    with pytest.raises(InputError, match="chooses nothing"):
        sets["number"].test_targets(tmp_path / "style--e.json")
    with pytest.raises(InputError):
        sets["class"].targets("test")


def test_a_choice_is_the_same_every_time(planted, tmp_path):
    sets, vectors = planted
    shas = {
        judge(sets["tags"], vectors, encoder="e", folder=tmp_path, protocol=SHORT).selection_sha256
        for _ in range(2)
    }
    assert len(shas) == 1


def test_an_encoder_that_diverged_is_named(planted, tmp_path):
    sets, vectors = planted
    vectors["default"].vectors[sets["class"].rows("valid")[0], 3] = np.nan
    with pytest.raises(InputError, match=r"'e' gives NaN or infinity for 1 of 48 tracks in valid"):
        judge(sets["class"], vectors, encoder="e", folder=tmp_path)


def test_tracks_without_a_vector_count_nowhere(planted, tmp_path):
    sets, vectors = planted
    lost = sets["class"].rows("test")[:3]
    vectors["default"].windows[lost] = 0
    verdict = judge(sets["class"], vectors, encoder="e", folder=tmp_path, protocol=FAST)
    assert len(verdict.rows) == len(verdict.targets) == len(verdict.outputs) == 45
    assert not np.isin(lost, verdict.rows).any()
    assert METRICS["accuracy"].score(verdict.outputs, verdict.targets) > 0.95


@pytest.mark.parametrize(
    ("kind", "values", "splits", "words"),
    [
        ("class", ["a"] * 40, None, "at least 2 classes in train, got 1"),
        ("class", ["a", "b"] * 20, ["train"] * 20 + ["test"] * 20, "no readable track in valid"),
        ("class", ["a", "b", "c", "d"] * 4, None, "want at least 10"),
        ("number", [120.0] * 80, None, "all targets in train are 120"),
        ("tags", [["x"]] * 80, None, "no tag has both"),
        ("class", ["a", "b", "b"] * 20, None, ""),
    ],
)
def test_labels_that_cannot_be_judged_say_why(index, targets, kind, values, splits, words):
    labels = targets(index, "labels", kind, values, splits=splits)
    found = objection(labels, np.ones(240, bool))
    assert words in found
    assert bool(words) == bool(found)


def test_cross_validation_predicts_every_track_once_and_parts_no_group(planted, tmp_path):
    sets, vectors = planted
    found = cross_validate(sets["class"], vectors, encoder="e", folder=tmp_path, protocol=FAST)
    assert found.rows.tolist() == list(range(240))
    for group in np.unique(found.groups):
        assert len(np.unique(found.fold[found.groups == group])) == 1
    assert np.bincount(found.fold).min() >= 46
    assert found.score(np.ones((1, 240)))[0] > 0.97
    assert len(set(found.selections)) == 5


def test_folds_spread_classes_and_open_for_their_own_selection_only(planted, tmp_path):
    sets, vectors = planted
    labels = sets["class"]
    folds = labels.folds(5, seed=1)
    judge(folds[0], vectors, encoder="e", folder=tmp_path, protocol=Linear(grid=LINEAR[:1]))
    for other in (folds[1], labels, labels.folds(5, seed=2)[0]):
        with pytest.raises(InputError, match="chooses nothing"):
            other.test_targets(tmp_path / "style--e.json")
    with pytest.raises(InputError):
        folds[0].targets("test")
    for fold in folds:
        rows = [set(fold.rows(split)) for split in ("train", "valid", "test")]
        assert sum(map(len, rows)) == len(set.union(*rows)) == 240
        assert len(np.unique(fold.targets("valid"))) == 5
    with pytest.raises(InputError, match="do not make 200 folds"):
        labels.folds(200)


def test_gain_is_zero_for_the_same_predictions_and_found_where_it_was_planted(planted, tmp_path):
    sets, vectors = planted
    rng = np.random.default_rng(5)

    def held_out(name: str, noise: float):
        clean = vectors["default"].vectors
        blurred = embeddings(clean + noise * rng.normal(size=clean.shape))
        return cross_validate(
            sets["tags"],
            blurred,
            encoder=name,
            folder=tmp_path,
            protocol=Linear(grid=LINEAR[2:4]),
            num_folds=3,
        )

    pairs = [(held_out(f"t{seed}", 1.0), held_out(f"u{seed}", 8.0)) for seed in range(3)]
    found = gain(pairs, draws=300)
    assert found.seeds == 3
    assert found.metric == "roc_auc"
    assert found.difference.value == pytest.approx(found.trained - found.untrained)
    assert 0 < found.difference.low < found.difference.value < found.difference.high
    same = gain([(one, one) for one, _ in pairs], draws=300)
    assert (same.difference.value, same.difference.low, same.difference.high) == (0, 0, 0)


def test_the_grid_holds_both_kinds_of_head():
    assert {c.head for c in GRID} == {"linear", "mlp"}
    assert len(set(GRID)) == len(GRID)
