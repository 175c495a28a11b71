"""The command: exit codes, one line for each mistake, output that other programs can read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ingest.cli import main
from ingest.lock import locked
from ingest.sniff import is_installed

ROOT = Path(__file__).parents[2]


def test_help_loads_nothing_heavy():
    heavy = "{'numpy', 'pyarrow', 'soundfile', 'torch', 'ray', 'webdataset', 'tqdm'}"
    code = f"import sys, ingest.cli; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert found.stdout.decode().strip() == "[]"


def test_a_build_with_rejected_files_ends_with_3_and_lists_them(built, corpus, capsys):
    args = ["build-shards", str(corpus.folder), "--out", str(built.out)]
    args += ["--shard-mib", "0.06", "--licence", "CC0-1.0"]
    assert main(args) == 3
    text = capsys.readouterr().out
    assert f"rejected: {len(corpus.bad)}, all listed in rejected.parquet" in text
    assert "    bad/text.mp3 is named like audio, but its content is not audio" in text
    assert "nothing to do: the archive is complete" in text
    assert "next: ingest labels" in text


def test_json_is_the_only_thing_on_standard_output(corpus, tmp_path):
    command = [sys.executable, "-m", "ingest", "build-shards", str(corpus.folder)]
    command += ["--out", str(tmp_path / "out"), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 3
    summary = json.loads(done.stdout)
    assert summary["tracks"] == len(corpus.good)
    assert summary["rejected_by_code"]["corrupt"] == (3 if is_installed() else 2)
    assert done.stderr.startswith(b"Decoders are ")  # how far their sandbox goes
    assert done.stderr.count(b"\n") == 1


def test_a_dry_run_writes_nothing(corpus, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["build-shards", str(corpus.folder), "--out", str(out), "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    refused = 8 if is_installed() else 7  # by a decoder only
    assert plan["files"] == len(corpus.good) + refused
    assert not out.exists()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["build-shards", "nowhere", "--out", "x"], "nowhere is not a folder"),
        (["build-shards", ".", "--out", "x"], "No audio below ."),
        (
            ["build-shards", ".", "--out", "x", "--sample-rate", "3"],
            "want 1000 to 384000 Hz, got 3",
        ),
        (["info", "nowhere"], "nowhere is not a folder"),
        (["info", "."], "has no manifest.json"),
        (["labels", ".", "t.csv"], "has no manifest.json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_end_with_2_and_one_line(args, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(args) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert says in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_locked_folder_ends_with_75(built, corpus, capsys):
    with locked(built.out):
        assert main(["build-shards", str(corpus.folder), "--out", str(built.out)]) == 75
    assert "Another ingest is at work" in capsys.readouterr().err


def test_labels_are_tried_without_writing_and_told_as_lines_of_json(own, tmp_path, capsys):
    rows = [f"{source},{'ab'[n % 2]},{source}" for n, source in enumerate(sources(own))]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["path,side,name", *rows]))
    args = ["labels", str(own.out), str(table), "--all", "--json"]
    assert main([*args, "--dry-run"]) == 0
    tried = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert not (own.out / "labels").exists()
    assert main(args) == 0
    done = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert tried == done
    assert done[0]["tracks"] == len(rows)
    assert done[1]["name"] == "side"
    assert done[1]["classes"] == ["a", "b"]
    assert "different" in done[2]["no_labels"]


def test_labels_and_info_tell_what_there_is(own, tmp_path, capsys):
    rows = [f"{source!r},{'ab'[n % 2]}" for n, source in enumerate(sources(own))]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["path,side", *(row.replace("'", '"') for row in rows)]))
    assert main(["labels", str(own.out), str(table), "--all"]) == 0
    assert "labels side: class; 2 classes; train" in capsys.readouterr().out
    assert main(["info", str(own.out)]) == 0
    text = capsys.readouterr().out
    assert "labels side: class, 2 classes; train" in text
    assert "licence:   CC0-1.0 15" in text


def sources(built) -> list[str]:
    """Paths of an archive's tracks that need no escapes."""
    from shards.index import Index

    return [s for s in Index.open(built.out).column("source") if "\\" not in s]
