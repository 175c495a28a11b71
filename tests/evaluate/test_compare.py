"""Methods compared by runs that were judged: who beats whom, and what is refused."""

import json

import numpy as np
import pytest

from evaluate import cli
from evaluate.compare import compare, differences, holm, two_sided
from evaluate.comparison import table
from evaluate.embed import Extraction
from evaluate.evaluation import evaluate
from evaluate.protocols.linear import LINEAR, Linear
from evaluate.results import FORMAT
from evaluate.verdict import Verdict
from shards.errors import InputError
from shards.files import read_json, write_json
from train.checkpoint import export_encoder
from train.encoders import build_encoder

NUM_TEST = 200
QUICK = Linear(grid=LINEAR[2:3])


def verdict(right: float, seed: int, *, rows: np.ndarray | None = None) -> Verdict:
    """Predictions of two classes, right for a share of the tracks, in groups of two."""
    rng = np.random.default_rng(seed)
    targets = np.arange(NUM_TEST) % 2
    answers = np.where(rng.random(NUM_TEST) < right, targets, 1 - targets)
    return Verdict(
        label="style",
        encoder="trained",
        kind="class",
        metrics=("accuracy",),
        rows=np.arange(NUM_TEST) if rows is None else rows,
        groups=np.array([f"g{i // 2}" for i in range(NUM_TEST)]),
        outputs=np.eye(2)[answers],
        targets=targets,
        counts={},
        embeddings="",
        chosen={"title": ""},
        valid_score=0.0,
        grid_size=1,
        selection_sha256="",
    )


def seeds(right: float, *numbers: int) -> list[Verdict]:
    return [verdict(right, number) for number in numbers]


def test_a_method_that_is_better_on_three_seeds_beats_the_other():
    methods = {"worse": seeds(0.6, 1, 2, 3), "better": seeds(0.9, 4, 5, 6)}
    (pair,) = compare({"style": methods}, draws=500)
    assert (pair.first.name, pair.second.name, pair.stands) == ("better", "worse", "beats")
    assert pair.difference.value == pytest.approx(pair.first.mean - pair.second.mean)
    assert 0 < pair.difference.low < pair.difference.value < pair.difference.high
    assert pair.p == pair.p_holm == pytest.approx(2 / 501)
    assert pair.survives
    assert "better beats worse, also after Holm" in table([pair])


def test_two_seeds_never_beat_and_equals_are_not_told_apart():
    (pair,) = compare({"style": {"a": seeds(0.6, 1, 2), "b": seeds(0.9, 4, 5, 6)}}, draws=200)
    assert pair.stands == "too few seeds"
    assert not pair.survives
    same = seeds(0.8, 1, 2, 3)
    (pair,) = compare({"style": {"a": same, "b": same}}, draws=200)
    assert pair.stands == "not told apart"
    assert pair.difference.value == 0
    assert pair.p == 1


def test_seeds_that_differ_widen_the_interval():
    steady = {"a": seeds(0.8, 1, 2, 3), "b": seeds(0.7, 4, 5, 6)}
    restless = {"a": [*seeds(0.99, 1), *seeds(0.8, 2), *seeds(0.61, 3)], "b": steady["b"]}
    widths = []
    for methods in (steady, restless):
        (pair,) = compare({"style": methods}, draws=500)
        widths.append(pair.difference.high - pair.difference.low)
    assert widths[1] > 2 * widths[0]


def test_differences_equal_the_naive_loop():
    first, second = seeds(0.8, 1, 2, 3), seeds(0.7, 4, 5)
    (found,) = differences(first, second, draws=7, seed=3)
    from evaluate.bootstrap import group_weights

    (weights,) = group_weights(first[0].groups, draws=7, seed=3)
    rng = np.random.default_rng([3, 1])
    at = [rng.integers(len(side), size=(len(side), 7)) for side in (first, second)]
    for s in range(7):
        means = []
        for side, chosen in zip((first, second), at, strict=True):
            scores = []
            for run in chosen[:, s]:
                right = side[run].outputs.argmax(axis=1) == side[run].targets
                scores.append(sum(w * r for w, r in zip(weights[s], right, strict=True)))
            means.append(np.mean(scores) / weights[s].sum())
        assert found[s] == pytest.approx(means[0] - means[1])


def test_holm_corrects_as_published():
    """The example of Holm's step-down: each p times the number still standing, never falling."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.01, float("nan")])[0] == 0.01
    assert holm([]) == []


def test_p_counts_the_rarer_side_and_is_never_zero():
    assert two_sided(np.array([1.0, 2.0, 3.0])) == pytest.approx(0.5)
    assert two_sided(np.array([1.0, -1.0])) == 1.0
    assert two_sided(np.ones(999)) == pytest.approx(2 / 1000)


def test_runs_on_other_test_tracks_are_not_paired():
    other = [verdict(0.8, 1, rows=np.arange(1, NUM_TEST + 1))]
    with pytest.raises(InputError, match="different test tracks"):
        compare({"style": {"a": seeds(0.8, 1), "b": other}}, draws=10)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two methods of three seeds each, tiny and untrained."""
    folder = tmp_path_factory.mktemp("runs")
    for method, dim in (("wide", 16), ("narrow", 8)):
        for seed in range(3):
            settings = {"clip_s": 1.0, "width": 8, "layers": [1, 1, 1, 1], "num_heads": 2}
            encoder = build_encoder("resnet", {**settings, "dim": dim}, seed=seed)
            (folder / f"{method}-{seed}").mkdir()
            export_encoder(encoder, folder / f"{method}-{seed}", card="")
            write_json(
                folder / f"{method}-{seed}" / "run.json", {"run": {"method": method, "seed": seed}}
            )
    return folder


@pytest.fixture
def index(archive, targets, music):
    index = archive([music(300 * (1 + i % 4), 1.0, seed=i) for i in range(48)])
    splits = [("train", "train", "valid", "test")[i // 4 % 4] for i in range(48)]
    targets(index, "height", "number", [float(i % 4) for i in range(48)], splits=splits)
    return index


def test_runs_are_judged_if_need_be_grouped_by_method_and_compared(
    index, runs, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(Linear.__init__.__kwdefaults__, "grid", QUICK.grid)
    names = [str(runs / f"{m}-{s}") for m in ("wide", "narrow") for s in range(3)]
    for name in names[:5]:
        evaluate(index.path, name, protocol=QUICK, extraction=Extraction(num_workers=0))
    out = tmp_path / "comparison"
    flags = ["--shards", str(index.path), "--out", str(out), "--draws", "200"]
    assert cli.main(["compare", *names, *flags]) == 0
    said = capsys.readouterr().out
    assert "height" in said
    assert "(3 seeds)" in said
    assert said.rstrip().endswith(f"report: {out / 'comparison.html'}")
    found = json.loads((out / "comparison.json").read_text())
    assert {name: len(some) for name, some in found["methods"].items()} == {"wide": 3, "narrow": 3}
    (pair,) = found["pairs"]
    assert pair["label"] == "height"
    assert len(pair["first"]["scores"]) == 3
    page = (out / "comparison.html").read_text()
    assert "A beats B" in page
    assert "default-src 'none'" in page

    again = ["compare", *names[:3], "--group", f"second={','.join(names[3:])}", *flags]
    assert cli.main(again) == 0
    assert "second" in capsys.readouterr().out
    assert cli.main(["compare", *names[:3], "--untrained", *flags]) == 0
    found = json.loads((out / "comparison.json").read_text())
    assert list(found["methods"]) == ["wide", "wide, untrained"]
    # these encoders are what their seeds drew, so that nothing can lie between them
    assert found["pairs"][0]["difference"]["value"] == 0
    assert found["pairs"][0]["stands"] == "not told apart"
    capsys.readouterr()
    refused(["compare", *names[:3], *flags], "Want runs of at least 2 methods", capsys)
    refused(["compare", names[0], *names, *flags], "the same weights", capsys)
    refused(["compare", *names, "--labels", "x", *flags], "was not judged on labels x", capsys)
    refused(["compare", *names, "--group", "x", *flags], "Want --group NAME=RUN", capsys)

    changed = runs / "wide-0/evaluation/results.json"
    before = read_json(changed)
    archive = {**before["archive"], "fingerprint": "other"}
    protocol = {**before["protocol"], "name": "other"}
    label = [{**before["labels"][0], "label_sha256": "other"}]
    for change, why in (
        ({"archive": archive}, "other tracks cannot be paired"),
        ({"protocol": protocol}, "follows protocol linear"),
        ({"labels": label}, "other targets or another split"),
        ({"format": FORMAT - 1}, "of another version"),
    ):
        write_json(changed, {**before, **change})
        refused(["compare", *names, *flags], why, capsys)
    write_json(changed, before)


def refused(args: list[str], why: str, capsys) -> None:
    assert cli.main(args) == 2
    said = capsys.readouterr().err
    assert why in said
    assert said.count("\n") == 1
