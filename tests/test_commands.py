"""The fixed commands, end to end, on the synthetic corpus: what the README tells people to type."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": "ignore"}


def run(*command, status=0, timeout=400):
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == status, done.stdout[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def job(corpus, tmp_path_factory):
    """The main job on the synthetic corpus with labels, two steps of training."""
    out = tmp_path_factory.mktemp("job")
    files = sorted(p.relative_to(corpus) for p in corpus.rglob("track*"))
    rows = [f"{path},{('low', 'high')[i % 2]},{i}" for i, path in enumerate(files)]
    labels = out / "mine.csv"
    labels.write_text("path,register,bpm\n" + "\n".join(rows) + "\n")
    command = [sys.executable, "scripts/main_job.py", corpus, "--labels", labels, "--out", out]
    return out, run(*command, "--steps", "2"), command


def test_the_main_job_ends_with_a_report_and_the_next_command(job):
    out, said, _ = job
    report = out / "run" / "evaluation" / "report.html"
    assert report.stat().st_size > 10_000
    for words in ("ingest build-shards", "train/run.py --index", "evaluate", "next:", "not judged"):
        assert words in said
    results = json.loads((out / "run" / "evaluation" / "results.json").read_text())
    assert {"register", "bpm"} & set(json.dumps(results).replace('"', " ").split())


def test_the_main_job_run_again_has_nothing_left_to_train(job):
    _, _, command = job
    said = run(*command, "--steps", "2")
    assert "resumed at step 2 of 2" in said


def test_without_a_folder_it_takes_the_corpus_that_was_rendered_before(tmp_path):
    """A second call, after Ctrl-C say, must not render again nor stumble over what is there."""
    corpus = [sys.executable, "scripts/demo_corpus", tmp_path / "demo", "--workers", "2"]
    run(*corpus, "--pieces", "36", "--notes", "8")
    said = run(sys.executable, "scripts/main_job.py", "--out", tmp_path, "--steps", "2")
    assert "── render ──" not in said
    assert "One seed." in said
    assert "report:" in said


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["-m", "ingest", "build-shards", "nowhere", "--out", "x"], "nowhere"),
        (["-m", "evaluate", "nowhere", "--encoder", "x"], "nowhere"),
        (["train/run.py", "--method", "byol", "--index", "nowhere", "--out", "x"], "nowhere"),
    ],
)
def test_what_is_not_there_is_named_in_one_line(command, words):
    said = run(sys.executable, *command, status=2)
    assert words in said
    assert "Traceback" not in said


def test_a_folder_without_audio_is_refused_and_nothing_is_left(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("no music")
    said = run(
        *(sys.executable, "scripts/main_job.py", tmp_path / "texts", "--out", tmp_path / "out"),
        status=2,
    )
    assert "no audio" in said.lower()
    assert not (tmp_path / "out" / "shards").exists()
