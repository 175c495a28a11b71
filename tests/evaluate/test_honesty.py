"""What an evaluation must say of itself: leaks, choices made on test, and what it kept."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest

from evaluate import judging
from evaluate.embed import Extraction
from evaluate.evaluation import evaluate
from evaluate.heads import Configuration, Schedule
from evaluate.leaks import clusters, leaks
from evaluate.predictions import FOLDER, read_predictions, write_predictions
from evaluate.probe import judge
from evaluate.protocols.limited import Limited
from evaluate.protocols.linear import LINEAR, Linear
from evaluate.protocols.myna_code import MynaCode
from shards.errors import InputError
from shards.files import read_parquet, write_parquet
from shards.index import Index
from shards.labels import Labels
from shards.names import INDEX
from tests.evaluate.test_probe import embeddings
from train.checkpoint import export_encoder
from train.encoders import build_encoder

QUICK = Linear(grid=LINEAR[2:3])
INLINE = Extraction(num_workers=0)


@pytest.fixture
def run(tmp_path):
    settings = {"clip_s": 1.0, "width": 8, "layers": [1, 1, 1, 1], "num_heads": 2, "dim": 12}
    (tmp_path / "run").mkdir()
    export_encoder(build_encoder("resnet", settings, seed=1), tmp_path / "run", card="")
    return tmp_path / "run"


def linked(index: Index, links: dict[int, tuple[str, int]]) -> Index:
    """The archive with rows said to be duplicates: row → (column, of which row)."""
    table = read_parquet(index.path / INDEX)
    for column in ("duplicate_of", "near_duplicate_of"):
        values = table[column].to_pylist()
        for row, (name, of) in links.items():
            values[row] = f"{of:032x}" if name == column else values[row]
        at = table.schema.get_field_index(column)
        table = table.set_column(at, table.schema.field(column), pa.array(values))
    write_parquet(index.path / INDEX, table)
    return Index.open(index.path)


@pytest.fixture
def index(archive, targets, music):
    """Forty-eight tones in four splits' rhythm: row i is test where i // 4 % 4 is 3."""
    index = archive([music(300 * (1 + i % 4), 1.0, seed=i) for i in range(48)])
    splits = [("train", "train", "valid", "test")[i // 4 % 4] for i in range(48)]
    targets(index, "height", "class", [f"h{i % 4}" for i in range(48)], splits=splits)
    return index


def test_a_test_track_planted_in_train_is_reported(index, run, tmp_path):
    index = linked(
        index,
        {
            12: ("duplicate_of", 0),  # test, of a track of train
            13: ("near_duplicate_of", 9),  # test, of one of valid
            14: ("near_duplicate_of", 15),  # both are test
            28: ("near_duplicate_of", 29),  # test, of a test track that is …
            29: ("duplicate_of", 1),  # … one of train
            2: ("duplicate_of", 3),  # both are train
        },
    )
    found = leaks(index, Labels.open(index, "height"))
    assert [(one.test, one.twin, one.split, one.exact) for one in found] == [
        ("0012.wav", "0000.wav", "train", True),
        ("0013.wav", "0009.wav", "valid", False),
        ("0028.wav", "0001.wav", "train", False),
        ("0029.wav", "0001.wav", "train", True),
    ]
    results = evaluate(index.path, run, out=tmp_path / "out", protocol=QUICK, extraction=INLINE)
    (label,) = results.labels
    assert label.leaks == found
    said = "4 of 12 test tracks are also in train or valid (2 with the same samples, 2 with the"
    assert any(said in remark for remark in label.remarks)
    assert said in (tmp_path / "out/report.html").read_text()
    written = json.loads((tmp_path / "out/results.json").read_text())
    assert written["labels"][0]["leaks"][0]["twin"] == "0000.wav"


def test_without_twins_nothing_is_said(index):
    assert leaks(index, Labels.open(index, "height")) == []
    assert len(set(clusters(index, ("duplicate_of",)))) == 48


def test_what_selects_on_test_says_so_everywhere(index, run, tmp_path, capsys):
    grid = (Configuration("linear", 0.0, learning_rate=0.01, batch_size=64),)
    short = Schedule(max_steps=20, check_every=10, min_gain=0.0, watch="score")
    protocol = MynaCode(grid=grid, schedule=short)
    results = evaluate(index.path, run, out=tmp_path / "out", protocol=protocol, extraction=INLINE)
    assert results.protocol.selects_on_test
    for name in ("report.html", "results.md"):
        text = (tmp_path / "out" / name).read_text()
        assert text.count("SELECTS ON TEST") >= 3
        assert "opened once, afterwards" not in text
    written = json.loads((tmp_path / "out/results.json").read_text())
    assert written["protocol"]["selects_on_test"] is True
    assert "SELECTS ON TEST" in written["labels"][0]["remarks"][0]
    selection = json.loads((tmp_path / "out/selections/height--trained.json").read_text())
    assert selection["selects_on_test"] is True


def test_the_curve_of_limited_data_stands_in_results_and_report(index, run, tmp_path):
    protocol = Limited(inner=QUICK)
    results = evaluate(index.path, run, out=tmp_path, protocol=protocol, extraction=INLINE)
    others = results.labels[0].trained.others
    assert {other.series for other in others} == {"share of train"}
    assert len(others) == 16
    written = json.loads((tmp_path / "results.json").read_text())
    assert len(written["labels"][0]["scores"][0]["others"]) == 16
    drawn = [other.scores["accuracy"] for other in others if other.facts["share"] == 0.2]
    mean = f"{np.mean(drawn):.3f} ± {np.std(drawn):.3f}"
    for name in ("report.html", "results.md"):
        text = (tmp_path / name).read_text()
        assert "share of train" in text
        assert mean in text


def test_an_interrupted_evaluation_goes_on_where_it_stopped(index, run, tmp_path, monkeypatch):
    def again(name, seed=1):
        how = {"protocol": QUICK, "extraction": INLINE, "seed": seed}
        return evaluate(index.path, run, out=tmp_path / name, **how)

    whole = again("whole")
    judged, real = [], judging.judge_vectors

    def stopping(labels, features, *, encoder, **more):
        if len(judged) == 2:
            raise KeyboardInterrupt
        judged.append(encoder)
        return real(labels, features, encoder=encoder, **more)

    monkeypatch.setattr(judging, "judge_vectors", stopping)
    with pytest.raises(KeyboardInterrupt):
        again("out")
    kept = {path.stem.split("--")[1] for path in (tmp_path / "out" / FOLDER).glob("*.json")}
    assert kept == set(judged)

    def counting(labels, features, *, encoder, **more):
        judged.append(encoder)
        return real(labels, features, encoder=encoder, **more)

    monkeypatch.setattr(judging, "judge_vectors", counting)
    resumed = again("out")
    assert sorted(judged) == sorted({"trained", "untrained", "log-mel", "mfcc", "chroma"})
    for one, other in zip(resumed.to_json()["labels"], whole.to_json()["labels"], strict=True):
        assert one == other
    again("out", seed=2)
    assert len(judged) == 10  # another seed is another question


def test_predictions_hold_no_targets_and_open_them_for_their_selection_alone(
    index, tmp_path, targets
):
    labels = Labels.open(index, "height")
    x = np.random.default_rng(0).normal(size=(48, 6))
    features = embeddings(x)
    verdict = judge(labels, features, encoder="e", folder=tmp_path, protocol=QUICK)
    write_predictions(tmp_path, index, verdict, {})
    table = read_parquet(tmp_path / FOLDER / "height--e.parquet")
    assert table.schema.names == ["row", "key", "output"]
    selection = tmp_path / "height--e.json"
    again = read_predictions(tmp_path, labels, "e", selection)
    np.testing.assert_array_equal(again.outputs, verdict.outputs)
    np.testing.assert_array_equal(again.targets, verdict.targets)
    assert again.chosen == verdict.chosen
    assert again.metrics == verdict.metrics
    other = tmp_path / "other.json"
    shutil.copy(selection, other)
    with open(other, "a") as file:
        file.write("\n")
    with pytest.raises(InputError, match="is not the choice of"):
        read_predictions(tmp_path, labels, "e", other)
    selection.unlink()
    with pytest.raises(InputError, match="choose first"):
        read_predictions(tmp_path, labels, "e", selection)
    write_parquet(tmp_path / FOLDER / "height--e.parquet", table.slice(1))
    with pytest.raises(InputError, match="missing or damaged"):
        read_predictions(tmp_path, labels, "e", other)
