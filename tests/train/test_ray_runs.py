"""Whole runs on Ray: killed and resumed, in two processes, with large batches."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from scripts.bench.measured import family
from tests.shards.processes import that_work, until_ended
from tests.train.test_loop import PYTHON, finish, flags, launch, lines

pytestmark = pytest.mark.slow
STEPS = "40"


def run_of(archive, out, *more):
    return [*PYTHON, *flags("byol", archive, out, "--steps", STEPS, "--save-every", "1", *more)]


@pytest.fixture(scope="module")
def trace(archive, tmp_path_factory):
    """What an uninterrupted run reads."""
    out = tmp_path_factory.mktemp("run") / "whole"
    finish(launch(run_of(archive, out, "--backend", "inline")))
    return lines(out / "trace-0.jsonl")


def killed_at(command, out, step):
    """Start, wait for a step, kill -9 the trainer alone; what it started ends by itself."""
    process = launch(command)
    file = out / "trace-0.jsonl"
    while not file.exists() or file.read_text().count("\n") < step:
        assert process.poll() is None, process.stdout.read()[-3000:]
        time.sleep(0.01)
    children = that_work(process.pid)
    process.kill()
    process.communicate(timeout=60)
    return children


@pytest.mark.parametrize("kills", [3, 20])
def test_a_trainer_killed_at_random_steps_reads_what_one_that_lives_does(
    archive, trace, tmp_path, kills
):
    out, rng = tmp_path / "run", random.Random(kills)
    command = run_of(archive, out, "--backend", "ray", "--resume")
    for step in sorted(rng.randint(1, int(STEPS) - 2) for _ in range(kills)):
        children = killed_at(command, out, step)
        until_ended(children)
    finish(launch(command))
    assert lines(out / "trace-0.jsonl") == trace


def torchrun(archive, out, *more):
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    return [*start, *run_of(archive, out, "--backend", "ray", *more)[1:]]


@pytest.mark.parametrize("rank", [0, 1])
def test_when_a_rank_is_killed_all_end_and_a_resumed_run_is_the_same(
    archive, trace, tmp_path, rank
):
    out = tmp_path / "run"
    process = launch(torchrun(archive, out))
    file = out / "trace-1.jsonl"
    while not file.exists() or file.read_text().count("\n") < 6:
        assert process.poll() is None, process.stdout.read()[-3000:]
        time.sleep(0.01)
    children = that_work(process.pid)
    os.kill(pid_of_rank(family(process.pid), rank), signal.SIGKILL)
    process.communicate(timeout=90)
    assert process.returncode != 0
    until_ended(children)
    finish(launch(torchrun(archive, out, "--resume")))
    parts = [lines(out / f"trace-{r}.jsonl") for r in (0, 1)]
    for one, *two in zip(trace, *parts, strict=True):
        for name in ("position", "row", "start"):
            assert one[name] == [value for part in two for value in part[name]]


def pid_of_rank(pids, rank):
    for pid in pids:
        try:
            with open(f"/proc/{pid}/environ") as environ:
                words = environ.read().split("\0")
            with open(f"/proc/{pid}/cmdline") as words_of:
                trains = "train/run.py\0" in words_of.read()
        except OSError:
            continue
        if trains and f"RANK={rank}" in words:
            return pid
    raise AssertionError(f"no process of rank {rank}")


LARGE = """
import os, sys, time, json
sys.path.insert(0, os.environ["WHOLETONE_ROOT"])
from shards.index import Index
from shards.plan import TrainPlan
from shards.ray_backend import connect, disconnect
from shards.stream import stream
from shards.views.pair import AnchorPositive
from scripts.bench.measured import family
from tests.shards.processes import that_work, until_ended

def private_mib():
    "Memory of Ray's processes and ours that nobody shares, and of the object store."
    total = 0
    for pid in family(os.getpid()):
        try:
            with open(f"/proc/{pid}/smaps_rollup") as facts:
                total += sum(int(l.split()[1]) for l in facts if l.startswith("Private"))
        except OSError:
            pass
    return total / 1024

plan = TrainPlan(Index.open(sys.argv[1]), AnchorPositive(clip_s=0.25, min_gap_s=3), seed=5)
connect(num_cpus=2)
seen = []
with stream(plan, batch_size=4096, backend="ray", num_workers=2) as batches:
    for step in range(7):
        batch = next(batches)
        assert batch.clips.shape == (4096, 2, 4000) and batch.valid.all()
        seen.append(private_mib())
disconnect()
print(json.dumps(seen))
"""


def test_batches_of_4096_pairs_keep_memory_flat(archive):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LARGE, str(archive)],
        env={**os.environ, "WHOLETONE_ROOT": root, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.strip().splitlines()[-1])
    batch_mib = 4096 * 2 * 4000 * 2 / 2**20
    assert max(seen[3:]) < seen[2] + batch_mib / 2, seen
