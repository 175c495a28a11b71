"""Worker processes: killed, standing still, unable to start; the trainer too. Nothing is lost."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from shards.decode import Decoder
from shards.feed import RingFeed
from shards.plan import TrainPlan
from shards.ring import Ring, Shape
from shards.steps import Steps
from shards.stream import stream
from shards.views.pair import AnchorPositive
from shards.workers import Workers

VIEW = AnchorPositive(clip_s=2, min_gap_s=3)


@pytest.fixture(scope="module")
def plan(index):
    return TrainPlan(index, VIEW, seed=5)


@pytest.fixture(scope="module")
def expected(plan):
    with stream(plan, batch_size=8) as batches:
        return [next(batches).copy() for _ in range(12)]


def assert_same(batch, other):
    for name in ("clips", "position", "row", "start", "valid"):
        np.testing.assert_array_equal(getattr(batch, name), getattr(other, name), err_msg=name)


def children():
    found = []
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found += map(int, (task / "children").read_text().split())
    return found


def is_worker(pid):
    with suppress(FileNotFoundError, ProcessLookupError):
        return b"shards.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def workers():
    return [pid for pid in children() if is_worker(pid)]


def await_gone(pids, timeout_s=10):
    deadline = time.monotonic() + timeout_s
    while alive := [pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists()]:
        if all(not Path(f"/proc/{pid}/cmdline").read_bytes() for pid in alive):
            return  # dead, and not yet waited for by whoever adopted them
        assert time.monotonic() < deadline, alive
        time.sleep(0.02)


def feed_of(plan, command, **settings):
    """A feed whose workers are another program, or our own."""
    steps = Steps(plan, 0, None, 8, 0, 1)
    ring = Ring.new(Shape(3, 8, 2, plan.clip_frames))
    given = {"command": tuple(command)} if command else {}
    filler = Workers(Decoder.of(plan), ring, num_workers=1, **given, **settings)
    return RingFeed(steps, ring, filler, num_workers=1, timeout_s=30)


def test_workers_killed_in_their_work_change_nothing(plan, expected):
    with stream(plan, batch_size=8, num_workers=2) as batches:
        for step, batch in enumerate(expected):
            assert_same(next(batches), batch)
            if step in (0, 4, 5):
                os.kill(workers()[0], signal.SIGKILL)


STUMBLE = """
import os, sys, time
if not os.path.exists({mark!r}):
    open({mark!r}, "w").close()
    from multiprocessing.connection import Connection
    channel = Connection(int(sys.argv[1]))
    channel.send(None)
    {fault}
from shards.worker import main
main(*map(int, sys.argv[1:5]))
"""


CRASH = """
import os, sys
from multiprocessing.connection import Connection
channel = Connection(int(sys.argv[1]))
channel.send(None)
channel.recv()
os.kill(os.getpid(), 11)
"""


@pytest.mark.parametrize("fault", ["time.sleep(60)", "os.kill(os.getpid(), 11)"])
def test_a_worker_that_stands_still_or_crashes_once_is_replaced(plan, expected, tmp_path, fault):
    code = STUMBLE.format(mark=str(tmp_path / "mark"), fault=fault)
    feed = feed_of(plan, (sys.executable, "-c", code), deadline_s=2)
    for step in range(3):
        batch, bad = feed.take(step)
        assert_same(batch, expected[step])
        assert not bad
        feed.release(step)
    feed.close()


def test_a_task_that_always_kills_ends_the_stream_and_names_its_tracks(plan):
    feed = feed_of(plan, (sys.executable, "-c", CRASH))
    with pytest.raises(RuntimeError, match=r"3 worker processes die \(SIGSEGV.*rows \d+, \d+"):
        feed.take(0)
    feed.close()


def test_a_worker_that_cannot_start_says_why(plan):
    feed = feed_of(plan, (sys.executable, "-c", "raise SystemExit('no such thing')"))
    with pytest.raises(RuntimeError, match="no such thing"):
        feed.take(0)
    feed.close()


def test_a_filler_that_does_nothing_is_given_up(plan, capfd):
    command = (sys.executable, "-c", "import time; time.sleep(60)")
    feed = feed_of(plan, command)
    feed._timeout_s = 0.3
    with pytest.raises(RuntimeError, match="nothing was decoded"):
        feed.take(0)
    feed.close()
    assert "most recent call first" in capfd.readouterr().err


def test_closing_in_the_middle_ends_all_processes(plan):
    batches = stream(plan, batch_size=8, num_workers=2)
    next(batches)
    mine = workers()
    assert len(mine) == 2
    batches.close()
    batches.close()
    assert not workers()
    assert list(batches) == []


def test_a_stream_that_is_forgotten_ends_its_processes(plan):
    batches = stream(plan, batch_size=8, num_workers=1)
    next(batches)
    assert workers()
    del batches
    assert not workers()


def test_two_streams_at_once_do_not_meet(plan, expected):
    settings = {"batch_size": 8, "num_workers": 1}
    with stream(plan, **settings) as one, stream(plan, start=16, **settings) as other:
        for step in range(4):
            assert_same(next(one), expected[step])
            assert_same(next(other), expected[step + 2])


def test_a_finite_stream_has_no_more_workers_than_tasks(plan):
    with stream(plan, batch_size=8, stop=8, num_workers=8) as batches:
        assert len(list(batches)) == 1
        assert not workers()


def test_a_forked_child_is_told_to_open_its_own_and_harms_nobody(plan, expected):
    batches = stream(plan, batch_size=8, num_workers=1)
    next(batches)
    pid = os.fork()
    if pid == 0:
        try:
            next(batches)
        except RuntimeError as error:
            batches.close()
            os._exit(42 if "open one here" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42
    assert_same(next(batches), expected[1])
    batches.close()


TRAINER = """
import json, os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs the tests may ignore it
from shards.index import Index
from shards.plan import TrainPlan
from shards.stream import stream
from shards.views.pair import AnchorPositive
from pathlib import Path
batches = stream(TrainPlan(Index.open(sys.argv[1]), AnchorPositive(clip_s=2, min_gap_s=3), seed=5),
                 batch_size=8, num_workers=2)
next(batches)
pids = []
for task in Path(f"/proc/{os.getpid()}/task").iterdir():
    try:
        pids += map(int, (task / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        pass  # a thread that has just ended
try:
    print(json.dumps(pids), flush=True)
    while True:
        next(batches)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_trainer(archive, number):
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINER, str(archive)], stdout=subprocess.PIPE, text=True
    )
    pids = json.loads(process.stdout.readline())
    assert len(pids) == 2
    process.send_signal(number)
    try:
        rest = process.communicate(timeout=20)[0]
    finally:
        process.kill()
    assert rest == ("interrupted\n" if number == signal.SIGINT else "")
    assert process.returncode == (0 if number == signal.SIGINT else -signal.SIGKILL)
    await_gone(pids)


def test_a_worker_loads_neither_pyarrow_nor_torch():
    code = "import sys, shards.worker, shards.decode; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"pyarrow", "torch", "ray", "webdataset"} & set(loaded)


def test_a_plan_that_fails_leaves_no_processes(plan):
    class Broken(TrainPlan):
        def located(self, position):
            raise ValueError("no such position")

    with pytest.raises(ValueError, match="no such position"):
        stream(Broken(plan.selection, VIEW), batch_size=8, num_workers=1)
    assert not workers()
