"""What cannot be decoded: replaced by position alone, counted, listed, and never too much of it."""

import json
import os
import shutil
import subprocess
import sys
from collections import deque
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from shards.bad import FEWEST_ROWS, TooManyBad
from shards.decode import IO_WAITS_S, Decoder
from shards.index import Index
from shards.plan import TrainPlan, WindowPlan
from shards.reader import read_window
from shards.source import SOURCES
from shards.stream import stream
from shards.views.pair import AnchorPositive

ROOT = Path(__file__).resolve().parents[2]
VIEW = AnchorPositive(clip_s=2, min_gap_s=3)
HURT = (2, 4, 7)


@pytest.fixture(scope="module")
def hurt(archive, tmp_path_factory):
    """A copy of the archive in which three tracks are zeros."""
    copy = tmp_path_factory.mktemp("hurt") / "copy"
    shutil.copytree(archive, copy)
    index = Index.open(copy)
    for row in HURT:
        with open(index[row].shard, "r+b") as shard:
            shard.seek(index[row].offset)
            shard.write(b"\0" * index[row].size)
    return Index.open(copy)


def take(plan, count, **settings):
    with stream(plan, **settings) as batches:
        return [next(batches).copy() for _ in range(count)]


def column(batches, name):
    return np.concatenate([getattr(batch, name) for batch in batches])


def test_a_bad_row_is_replaced_by_the_first_substitute_that_can_be_read(index, hurt):
    plan, found = TrainPlan(hurt, VIEW, seed=5), []
    batches = take(plan, 5, batch_size=8, on_bad=found.append)
    wanted = plan.take(np.arange(40))["row"]
    assert [record.position for record in found] == [*np.flatnonzero(np.isin(wanted, HURT))]
    assert not np.isin(column(batches, "row"), HURT).any()
    for record in found:
        tries = [plan.substitutes(np.array([record.position]), j) for j in (1, 2, 3)]
        first = next(rows for rows in tries if rows["row"][0] not in HURT)
        at = record.position
        assert record.replaced_by == first["row"][0] == column(batches, "row")[at]
        assert (record.row, record.key) == (wanted[at], index.column("key")[wanted[at]])
        np.testing.assert_array_equal(column(batches, "start")[at], first["start"][0])
        for v, start in enumerate(first["start"][0]):
            samples = read_window(index, record.replaced_by, int(start), plan.clip_frames)
            np.testing.assert_array_equal(column(batches, "clips")[at, v], samples)
    assert column(batches, "valid").all()


@pytest.mark.parametrize(("num_workers", "world_size"), [(0, 1), (2, 1), (1, 2), (0, 4)])
def test_substitutes_are_the_same_in_any_number_of_workers_and_ranks(hurt, num_workers, world_size):
    plan = TrainPlan(hurt, VIEW, seed=5)
    whole = take(plan, 3, batch_size=8)
    for name in ("clips", "row", "start", "position"):
        parts = [
            take(plan, 3, batch_size=8, num_workers=num_workers, rank=r, world_size=world_size)
            for r in range(world_size)
        ]
        for step, batch in enumerate(whole):
            global_batch = column([part[step] for part in parts], name)
            np.testing.assert_array_equal(global_batch, getattr(batch, name))


def test_where_no_substitute_can_be_read_there_is_silence_that_does_not_count(archive, tmp_path):
    shutil.copytree(archive, tmp_path / "copy")
    index = Index.open(tmp_path / "copy")
    for path in index.shards:
        path.write_bytes(b"\0" * path.stat().st_size)
    found = []
    (batch,) = take(TrainPlan(index, VIEW), 1, batch_size=8, on_bad=found.append)
    assert not batch.valid.any()
    assert not batch.clips.any()
    assert [record.replaced_by for record in found] == [None] * 8


def test_a_plan_that_evaluates_gets_no_substitutes(hurt):
    plan = WindowPlan(hurt, np.arange(len(hurt)), clip_frames=32_000)
    found = []
    with stream(plan, batch_size=16, on_bad=found.append) as batches:
        kept = [batch.copy() for batch in batches]
    inside = column(kept, "position") < plan.stop
    is_whole = ~np.isin(column(kept, "row"), HURT)
    np.testing.assert_array_equal(column(kept, "valid")[inside], is_whole[inside])
    assert {record.row for record in found} == {*HURT}
    assert {record.replaced_by for record in found} == {None}


def test_a_stream_stops_where_too_much_is_bad_and_says_where_it_is_listed(hurt):
    plan, found = TrainPlan(hurt, VIEW, seed=5), []
    with stream(
        plan, batch_size=8, max_bad_frac=5 / FEWEST_ROWS, on_bad=found.append, bad_listed="HERE."
    ) as batches:
        with pytest.raises(TooManyBad, match=r"--max-bad-frac\). HERE"):
            deque(islice(batches, 50), maxlen=0)
        stats = batches.stats()
    assert len(found) == stats.bad >= 6
    assert stats.rows < 50 * 8


def test_a_disk_that_fails_is_asked_again_and_then_raises(index, monkeypatch):
    """Never a substitute: what a batch holds must not depend on a disk's mood."""
    plan = TrainPlan(index, VIEW, seed=5)
    rows = plan.located(np.arange(4))
    clips, valid = np.zeros((4, 2, plan.clip_frames), np.int16), np.ones(4, bool)
    slept = []
    monkeypatch.setattr("shards.decode.time.sleep", slept.append)
    source, asked = SOURCES.get(index.shards[0]), []

    def fail_at(times):
        def read(offset, out):
            asked.append(offset)
            if len(asked) in times:
                raise OSError(5, "Input/output error")
            return type(source).into(source, offset, out)

        return read

    monkeypatch.setattr(source, "into", fail_at({2, 3, 9}))
    report = Decoder.of(plan).fill(rows, clips, valid)
    assert not report.bad
    assert valid.all()
    for i, row in enumerate(rows["row"]):
        np.testing.assert_array_equal(
            clips[i, 1], read_window(index, int(row), int(rows["start"][i, 1]), plan.clip_frames)
        )
    assert slept == [*IO_WAITS_S[:2], IO_WAITS_S[0]]
    monkeypatch.setattr(source, "into", fail_at(range(100)))
    with pytest.raises(OSError, match="Input/output"):
        Decoder.of(plan).fill(rows, clips, valid)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_shard_that_goes_away_ends_the_stream_with_its_name(archive, tmp_path, num_workers):
    shutil.copytree(archive, tmp_path / "copy")
    index = Index.open(tmp_path / "copy")
    for path in index.shards:
        path.unlink()
    batches = stream(TrainPlan(index, VIEW), batch_size=4, num_workers=num_workers)
    with batches, pytest.raises(FileNotFoundError, match=r"shard-000000\.tar"):
        next(batches)


SMALL = (
    "--encoder.width 8 --encoder.layers 1 1 1 1 --encoder.dim 32 --encoder.n-mels 64 "
    "--view.clip-s 1 --view.min-gap-s 2 --batch-size 4 --warmup-steps 2 --device cpu "
    "--num-workers 0 --log-every 1 --method byol --method.projector 32 16 "
    "--method.predictor-hidden 8 --backend inline"
).split()


@pytest.mark.slow
def test_a_run_lists_bad_records_once_and_stops_at_too_many(hurt, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "train/run.py", "--index", str(hurt.path), "--out", str(out), *SMALL]

    def run(*more):
        return subprocess.run(
            [*command, *more],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
            timeout=240,
        )

    done = run("--steps", "6", "--max-bad-frac", "0")
    assert done.returncode == 1
    assert "rows could not be decoded" in done.stderr
    assert f"listed in {out}/bad_records.jsonl" in done.stderr
    done = run("--steps", "6", "--max-bad-frac", "1", "--resume")
    assert done.returncode == 0, done.stderr[-3000:]
    records = [json.loads(line) for line in (out / "bad_records.jsonl").read_text().splitlines()]
    positions = [record["position"] for record in records]
    assert positions == sorted({*positions})
    assert {record["row"] for record in records} <= {*HURT}
    last = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["bad_records"] == len(records) > 0
    assert last["views_per_s"] > 0
    assert 0 < last["unique_tracks_100_steps"] <= 9
