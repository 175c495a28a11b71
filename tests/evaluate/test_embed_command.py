"""`evaluate embed`: Parquet that others can read, made by one process or by several."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from evaluate import cli, embeddings
from evaluate.claims import Claims
from evaluate.embed import embed
from evaluate.features import Feature
from shards.files import sha256_file
from shards.place import place
from tests.evaluate.planted import planted_run, planted_track
from tests.ingest.stores import Store, upload
from train.checkpoint import export_encoder
from train.encoders import build_encoder

ROOT = Path(__file__).resolve().parents[2]
LENGTHS_S = [2.5, 0.4, 3.2, 1.0, 1.4, 2.0]


@pytest.fixture
def index(archive):
    levels = np.random.default_rng(0).uniform(0.01, 0.07, (len(LENGTHS_S), 13))
    return archive([planted_track(levels[i], s, seed=i) for i, s in enumerate(LENGTHS_S)])


@pytest.fixture
def run(planted_encoder, tmp_path):
    return planted_run(tmp_path / "run")


def test_features_of_a_run_are_written_with_keys_shapes_and_what_made_them(
    index, run, planted_encoder, tmp_path, capsys
):
    words = ["embed", str(index.path), "--encoder", str(run), "--out", str(tmp_path / "out")]
    assert cli.main([*words, "--pool", "second", "--layers", "--num-workers", "0", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["shapes"] == {"second": [13], "layers": [13, 4]}
    assert (facts["tracks"], facts["windows"], facts["unread"]) == (6, 11, [])
    expected = embed(
        planted_encoder,
        index,
        np.arange(6),
        features=[Feature("second"), Feature(layers=True)],
        folder=tmp_path / "expected",
    )
    for name, one in expected.items():
        table = pq.read_table(facts["files"][name])
        assert table.schema.names == ["key", "row", "windows", "embedding"]
        assert table["key"].to_pylist() == index.column("key").tolist()
        assert table["windows"].to_pylist() == one.windows.tolist()
        shape = json.loads(table.schema.metadata[b"shape"])
        vectors = np.array(table["embedding"].to_pylist(), np.float32).reshape(-1, *shape)
        assert np.array_equal(vectors, one.vectors)
        card = json.loads(table.schema.metadata[b"wholetone"])
        assert card["id"] == one.id == facts["ids"][name]
        assert card["archive"] == index.fingerprint
        assert card["command"].startswith("evaluate embed ")


def test_windows_of_labelled_tracks_go_into_one_file_without_what_cannot_be_read(
    index, run, targets, tmp_path, capsys
):
    targets(index, "few", "class", ["a", "b", "a"])
    shard = index.shards[0]
    damaged = bytearray(shard.read_bytes())
    start = int(index.column("offset")[1])
    damaged[start : start + 200] = bytes(200)
    shard.write_bytes(damaged)
    out = tmp_path / "deep" / "windows.parquet"
    words = ["embed", str(index.path), "--encoder", str(run), "--out", str(out)]
    words += ["--unit", "window", "--window-s", "1", "--hop-s", "0.5", "--rows-of", "few"]
    assert cli.main([*words, "--num-workers", "0"]) == 0
    said = capsys.readouterr().out
    assert "3 tracks" in said
    assert "not decoded: 0001.wav" in said
    table = pq.read_table(out)
    assert table.schema.names == ["key", "row", "window", "start_s", "embedding"]
    assert table["row"].to_pylist() == [0] * 5 + [2] * 6
    assert table["window"].to_pylist() == [*range(5), *range(6)]
    assert table["start_s"].to_pylist() == [0.5 * i for i in [*range(5), *range(6)]]
    assert np.array(table["embedding"].to_pylist()).shape == (11, 26)
    (parts,) = (run / "evaluation" / "embeddings").glob("*/part-*")
    before = parts.stat().st_mtime_ns
    assert cli.main([*words, "--num-workers", "0"]) == 0
    assert parts.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pool", "third"], "No pool 'third' in planted"),
        (["--pool", "first", "second"], "2 features (first, second) do not go into one file"),
        (["--window-s", "0"], "above 0"),
        (["--rows-of", "none"], "No labels 'none'"),
        (["--out", "s3://bucket/x.parquet"], "a place on this machine"),
        (["--out", "{run}/config.parquet"], "want a file NAME.parquet, or a folder"),
        (["--out", "{run}/encoder/config.json"], "want a file NAME.parquet, or a folder"),
    ],
)
def test_what_cannot_be_embedded_is_said_in_a_line(index, run, tmp_path, capsys, words, message):
    out = str(tmp_path / "x.parquet")
    (run / "config.parquet").mkdir()
    words = [word.format(run=run) for word in words]
    given = ["embed", str(index.path), "--encoder", str(run), "--out", out, *words]
    assert cli.main(given) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert said.count("\n") == 1


def test_an_archive_in_a_store_gives_what_the_same_in_a_folder_gives(
    index, run, tmp_path, monkeypatch
):
    pytest.importorskip("moto.server", reason="moto is not installed")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    store = Store()
    try:
        uri = f"{store.new_bucket('embed')}/shards?{store}"
        upload(index.path, place(uri))
        tables = []
        for number, shards in enumerate((uri, str(index.path))):
            out = tmp_path / f"{number}.parquet"
            words = ["embed", shards, "--encoder", str(run), "--out", str(out)]
            words += ["--num-workers", "0", "--parts", str(tmp_path / f"parts-{number}")]
            assert cli.main(words) == 0
            tables.append(pq.read_table(out))
    finally:
        store.close()
    assert tables[0].equals(tables[1])


def test_its_help_loads_nothing_heavy():
    code = "import sys; from evaluate.cli import main\n"
    code += "try: main(['embed', '--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'ray', 'pyarrow', 'numpy'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--rows-of" in done.stdout


HOLD = """
import sys, time
from pathlib import Path
from evaluate.claims import Claims
claims = Claims(Path(sys.argv[1]))
print(claims.take(3), flush=True)
time.sleep(60)
"""


def test_a_claim_belongs_to_one_process_until_it_lets_go_or_dies(tmp_path):
    path = tmp_path / "parts.lock"
    command = [sys.executable, "-c", HOLD, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as other:
        assert other.stdout.readline().strip() == "True"
        with Claims(path) as claims:
            assert claims.take(4)
            assert not claims.take(3)
            other.kill()
            claims.wait(3)  # comes back, for its holder is dead
            assert claims.take(3)


STUCK = """
import sys, time
from evaluate import cli, embeddings, extract

embeddings.PART_ROWS = 1
publish = extract._publish
extract._publish = lambda *args: (publish(*args), time.sleep(600))
cli.main(sys.argv[1:])
"""


def wait_for(parts: Path, count: int) -> None:
    until = time.monotonic() + 120
    while len(list(parts.glob("*/part-*"))) < count:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_processes_share_the_parts_and_one_that_dies_is_replaced(index, tmp_path, monkeypatch):
    """The second of two keeps one of its three parts, holds the others and dies: the first ends."""
    monkeypatch.setattr(embeddings, "PART_ROWS", 1)
    settings = {"clip_s": 1.0, "width": 8, "layers": [1, 1, 1, 1], "num_heads": 2, "dim": 12}
    encoder = build_encoder("resnet", settings, seed=1)
    export_encoder(encoder, tmp_path, card="")
    out, shared = tmp_path / "out.parquet", tmp_path / "shared"
    words = ["embed", str(index.path), "--encoder", str(tmp_path), "--num-workers", "0"]
    words += ["--out", str(out), "--parts", str(shared)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RANK": "1", "WORLD_SIZE": "2"}
    stuck = subprocess.Popen([sys.executable, "-c", STUCK, *words], cwd=ROOT, env=environment)
    try:
        wait_for(shared, 1)
        (lock,) = shared.glob("*.lock")
        with Claims(lock) as claims:
            assert [number for number in range(6) if claims.take(number)] == [0, 2, 4]
        monkeypatch.setenv("WORLD_SIZE", "2")
        with ThreadPoolExecutor(1) as thread:
            first = thread.submit(cli.main, words)
            wait_for(shared, 4)
            assert not first.done()
            stuck.kill()
            assert first.result(60) == 0
    finally:
        stuck.kill()
        stuck.wait()
    alone = embed(encoder.eval(), index, np.arange(6), folder=tmp_path / "alone")["default"]
    vectors = np.array(pq.read_table(out)["embedding"].to_pylist(), np.float32)
    assert np.array_equal(vectors, alone.vectors)
    for part in (tmp_path / "alone").glob("*/part-*"):
        assert sha256_file(part) == sha256_file(shared / part.parent.name / part.name)
