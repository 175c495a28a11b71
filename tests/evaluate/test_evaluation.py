import json
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from evaluate import cli
from evaluate.evaluation import evaluate
from evaluate.maps import Map, layout
from evaluate.pictures import class_colours, read_curve, running_mean
from evaluate.report import html, markdown, table
from shards.errors import InputError
from shards.files import write_json
from train.checkpoint import export_encoder
from train.encoders import build_encoder

EVIL = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run with a tiny untrained encoder, and a learning curve cut short by a kill."""
    folder = tmp_path_factory.mktemp("run")
    settings = {"clip_s": 1.0, "width": 8, "layers": [1, 1, 1, 1], "num_heads": 2, "dim": 12}
    encoder = build_encoder("resnet", settings, seed=1)
    export_encoder(encoder, folder, card="")
    write_json(folder / "run.json", {"run": {"method": f"byol {EVIL}", "seed": 5, "steps": 20}})
    lines = [
        {"step": step, "samples_seen": 8 * step, "loss": 2 / step, "lr": 1e-3, "terms": {"a": 1.0}}
        for step in (1, 2, 3, 4, 2, 3)
    ]
    text = "\n".join(json.dumps(line) for line in lines) + '\n{"step": 5, "lo'
    (folder / "metrics.jsonl").write_text(text)
    return folder


@pytest.fixture
def index(archive, targets, music):
    """Forty-eight tones of four heights, labelled; names full of what HTML must not believe."""
    tracks = [music(300 * (1 + i % 4), 1.2, seed=i) for i in range(48)]
    index = archive(tracks, sources=[f"{EVIL}{i}.wav" for i in range(48)])
    splits = [("train", "train", "valid", "test")[i // 4 % 4] for i in range(48)]
    names = [f"{EVIL}{i % 4}" for i in range(48)]
    targets(index, "height", "class", names, splits=splits)
    targets(index, "hz", "number", [300.0 * (1 + i % 4) for i in range(48)], splits=splits)
    moods = [[t for t, on in (("low", i % 4 < 2), (EVIL, i % 2)) if on] for i in range(48)]
    targets(index, "moods", "tags", moods, splits=splits, window_s=0.5)
    targets(index, "few", "class", ["a", "b"] * 4)
    return index


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))


def test_a_run_is_judged_on_every_label_beside_its_baselines(index, run, tmp_path, capsys):
    out = tmp_path / "out"
    code = cli.main([str(index.path), "--encoder", str(run), "--out", str(out), "--seed", "3"])
    said = capsys.readouterr().out
    assert code == 0
    assert "not judged: few (2 test tracks, want at least 10)" in said
    assert said.rstrip().endswith(f"report: {out / 'report.html'}")

    results = json.loads((out / "results.json").read_text())
    assert [label["name"] for label in results["labels"]] == ["height", "hz", "moods"]
    assert results["command"].startswith("evaluate ")
    assert results["protocol"]["name"] == "linear"
    assert said.startswith("Protocol linear (our own). Seven penalties of a linear head")
    assert results["archive"]["fingerprint"] == index.fingerprint
    assert results["archive"]["licence"] == ["CC0"]
    for label in results["labels"]:
        assert [score["encoder"] for score in label["scores"]] == [
            "trained",
            "untrained",
            "log-mel",
            "mfcc",
            "chroma",
        ]
        assert label["counts"] == {"train": 24, "valid": 12, "test": 12}
        for score in label["scores"]:
            selection = json.loads((out / score["selection"]).read_text())
            assert selection["label"] == label["name"]
            assert selection["embeddings"] == score["embeddings"]
            low, high = score["interval"]["low"], score["interval"]["high"]
            assert low <= score["scores"][label["metric"]] <= high
    by_name = {label["name"]: label for label in results["labels"]}
    assert by_name["height"]["scores"][2]["scores"]["accuracy"] == 1.0  # tones of their own heights
    assert by_name["height"]["constant"] == 0.25
    windows = {label["scores"][0]["embeddings"] for label in results["labels"]}
    assert len(windows) == 2  # moods are judged by windows of half a second

    page = (out / "report.html").read_text()
    check_page(page)
    assert len(page) < 5_000_000
    assert "One training seed" in page
    assert results["labels"][0]["scores"][0]["selection_sha256"] in page
    text = (out / "results.md").read_text()
    assert "| height | accuracy | Log-mel statistics | 1.000 |" in text
    assert not re.search(r"(?<!\\)<script", text)

    again = evaluate(index.path, run, out=out, seed=3)
    for before, after in zip(results["labels"], again.to_json()["labels"], strict=True):
        assert before == after


def check_page(page: str) -> None:
    """Offline, without scripts, with everything that came from a file escaped."""
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page
    found = Page(page)
    names = [tag for tag, _ in found.tags]
    assert "script" not in names
    assert "&lt;script&gt;alert" in page
    assert names.count("img") >= 3
    for _, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "srcset", "href"):
            assert attributes.get(name, "data:").startswith("data:")
    assert all(attributes.get("alt") for tag, attributes in found.tags if tag == "img")


def test_an_encoder_without_a_run_or_a_curve_still_gets_a_report(index, run, tmp_path):
    results = evaluate(index.path, run / "encoder", labels=["hz"], out=tmp_path / "out")
    assert results.run == {}
    page = (tmp_path / "out/report.html").read_text()
    assert "How it learned" not in page
    assert "Where tracks lie" not in page
    assert "resnet on shards" in page
    assert "hz" in table(results)
    assert "hz" in markdown(results)


def test_nothing_that_can_be_judged_is_said_and_still_reported(index, run, tmp_path):
    results = evaluate(index.path, run, labels=["few"], out=tmp_path / "out")
    assert results.labels == []
    assert "want at least 10" in results.skipped["few"]
    assert "No label set could be judged" in (tmp_path / "out/report.html").read_text()


def test_an_archive_without_labels_names_the_next_command(archive, run, capsys):
    index = archive([np.zeros(16, np.int16)])
    assert cli.main([str(index.path), "--encoder", str(run)]) == 2
    assert f"`ingest labels {index.path} FILE --name NAME`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x", "--encoder", "y", "--protocol", "z"], "No protocol 'z'; there are ['deezer', "),
        (["x", "--encoder", "y", "--drop-first-layer"], "Protocol linear has no setting"),
        (["nowhere", "--encoder", "nowhere"], "nowhere is not a folder"),
        (["run", "nowhere", "--encoder", "nowhere"], "nowhere is not a folder"),
        (["x", "--encoder", "y", "--device", "abacus"], "No device 'abacus'"),
    ],
)
def test_what_was_typed_wrong_is_one_line_and_exit_status_two(words, message, capsys):
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert said.count("\n") == 1


def test_unknown_labels_are_named_with_those_there_are(index, run):
    with pytest.raises(InputError, match=r"No labels 'x'.*'height'"):
        evaluate(index.path, run, labels=["x"])


def test_help_answers_at_once_and_loads_nothing_heavy():
    code = "import sys; from evaluate.cli import main\n"
    code += "try: main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'ray', 'sklearn', 'matplotlib'} & set(sys.modules)"
    began = time.process_time()
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--encoder" in done.stdout
    assert time.process_time() - began < 1


def test_a_resumed_runs_curve_has_each_step_once_and_ends_before_the_torn_line(run):
    curve = read_curve(run / "metrics.jsonl")
    assert [line["step"] for line in curve] == [1, 2, 3, 4]
    assert read_curve(run / "nothing") == []


def test_the_running_mean_is_short_at_both_ends():
    values = np.arange(100.0) ** 2
    found = running_mean(values)
    assert found[0] == values[:3].mean()
    assert found[50] == values[48:53].mean()
    assert found[-1] == values[-3:].mean()


def test_maps_put_near_what_is_near_and_are_thinned(index):
    rng = np.random.default_rng(0)
    targets = np.repeat([0, 1], 30)
    vectors = (10 * targets[:, None] + rng.normal(size=(60, 8))).astype(np.float32)
    places = layout(vectors, seed=0)
    middles = [places[targets == k].mean(axis=0) for k in (0, 1)]
    spread = max(places[targets == k].std() for k in (0, 1))
    assert np.linalg.norm(middles[0] - middles[1]) > 2 * spread
    assert np.array_equal(places, layout(vectors, seed=0))
    many = Map("x", ["a"], np.arange(5000), np.zeros((5000, 2)), np.zeros(5000, int))
    thin = many.thinned(seed=0)
    assert len(thin.rows) == 2000
    assert (np.diff(thin.rows) > 0).all()
    assert layout(np.zeros((7, 3), np.float32), seed=0).shape == (7, 2)


@pytest.mark.parametrize("count", [2, 10, 11, 24, 60])
def test_every_class_has_a_colour_and_the_first_ones_differ(count):
    colours = class_colours(count)
    assert len(colours) == count
    assert len(set(colours[:24])) == min(count, 24)
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)


def test_a_long_report_stays_small(index, run, tmp_path, monkeypatch):
    results = evaluate(index.path, run, labels=["height"], out=tmp_path / "out")
    rng = np.random.default_rng(0)
    classes = [f"class {i}" for i in range(40)]
    monkeypatch.setattr("evaluate.report.layout", lambda vectors, seed: vectors[:, :2])
    one = Map("height", classes, np.arange(2500), rng.normal(size=(2500, 4)), np.arange(2500) % 40)
    page = html(results, maps=[one] * 8, metrics=Path("none"))
    assert len(page) < 5_000_000
    assert "16 more" in page
    assert "2000 of 2500 tracks" in page
