"""Ray's tasks fill the ring of the trainer: the same batches, whatever dies; nobody gets in."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scripts.bench.measured import family
from shards.decode import Decoder
from shards.errors import InputError
from shards.filler import Task
from shards.plan import TrainPlan
from shards.ray_backend import MAX_RETRIES, RayTasks, filler, shared
from shards.ray_backend.folder import PrivateFolder, store_folder
from shards.ring import Ring, Shape
from shards.steps import Steps
from shards.stream import stream
from shards.views.pair import AnchorPositive
from tests.shards.processes import LOOPBACK, listens_at, named

COLUMNS = ("clips", "position", "row", "start", "frames", "seed", "valid")
WORKERS = ("ray::fill", "ray::IDLE")


@pytest.fixture(scope="module")
def plan(index):
    return TrainPlan(index, AnchorPositive(clip_s=2, min_gap_s=3), seed=5)


def assert_equal(ours, theirs):
    for name in COLUMNS:
        x, y = getattr(ours, name), getattr(theirs, name)
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y, err_msg=name)


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize(("start", "rank", "world_size"), [(0, 0, 1), (16, 1, 2)])
def test_ray_gives_the_same_batches_bit_for_bit(plan, start, rank, world_size):
    kind = {"start": start, "batch_size": 8, "rank": rank, "world_size": world_size}
    with stream(plan, **kind) as inline, stream(plan, backend="ray", num_workers=2, **kind) as ours:
        for _ in range(30):
            assert_equal(next(ours), next(inline))
        assert ours.stats().views == 30 * 2 * 8 // world_size


@pytest.mark.usefixtures("ray_here")
def test_a_stream_may_be_left_in_the_middle_and_another_begun(plan):
    for _ in range(3):
        with stream(plan, batch_size=8, backend="ray", num_workers=2) as ours:
            next(ours)
    with stream(plan, batch_size=8) as inline, stream(plan, batch_size=8, backend="ray") as ours:
        assert_equal(next(ours), next(inline))


@pytest.mark.usefixtures("ray_here")
def test_killed_workers_change_nothing(plan):
    kind = {"batch_size": 16}
    with stream(plan, **kind) as inline, stream(plan, backend="ray", num_workers=2, **kind) as ours:
        for step in range(12):
            if step == 4:
                victims = named(os.getpid(), *WORKERS)
                assert victims
                for victim in victims:
                    os.kill(victim, signal.SIGKILL)
            assert_equal(next(ours), next(inline))


TIMEOUT_S = 5.0
"""Longer than workers and tasks need to start on a busy machine."""


@pytest.mark.usefixtures("ray_here")
def test_a_pause_longer_than_any_timeout_changes_nothing(plan):
    """A trainer that evaluates, or a laptop that sleeps, between two steps."""
    kind = {"batch_size": 8, "num_workers": 2, "timeout_s": TIMEOUT_S}
    with (
        stream(plan, batch_size=8) as expected,
        stream(plan, deadline_s=TIMEOUT_S, **kind) as inline,
        stream(plan, backend="ray", **kind) as by_ray,
    ):
        for step in range(12):
            here = next(expected)
            for ours in (inline, by_ray):
                assert_equal(next(ours), here)
            if step == 2:
                before = pids(inline)
                time.sleep(1.2 * TIMEOUT_S)
        assert pids(inline) == before  # none was replaced


def pids(inline):
    return [worker._process.pid for worker in inline._feed._filler._workers]


@pytest.mark.usefixtures("ray_here")
def test_on_another_node_clips_come_as_a_block(plan, monkeypatch):
    of = shared.SharedRing.of
    elsewhere = lambda ring: replace(of(ring), machine="another")  # noqa: E731
    monkeypatch.setattr(shared.SharedRing, "of", staticmethod(elsewhere))
    with stream(plan, batch_size=8) as inline, stream(plan, batch_size=8, backend="ray") as ours:
        for _ in range(6):
            assert_equal(next(ours), next(inline))


def test_a_ring_is_not_mistaken_for_another_file():
    ring = Ring.new(Shape(1, 2, 1, 100))
    known = shared.SharedRing.of(ring)
    assert shared.opened(known).shape == ring.shape
    for wrong in (replace(known, machine="another"), replace(known, file=(0, 0))):
        assert shared.opened(wrong) is None
    ring.close()
    shared.opened.cache_clear()
    assert shared.opened(known) is None


class Dying(Decoder):
    """Takes its process down."""

    def fill(self, rows, clips, valid, at=None):
        os.kill(os.getpid(), signal.SIGKILL)


class Failing(Decoder):
    """Meets a disk that fails."""

    def fill(self, rows, clips, valid, at=None):
        raise OSError(5, "Input/output error", "shard-000000.tar")


class Sleeping(Decoder):
    """Never ends."""

    def fill(self, rows, clips, valid, at=None):
        time.sleep(600)


Filled = namedtuple("Filled", "tasks ring")


@pytest.fixture
def filled_by(ray_here, plan):
    """One task of 8 rows, by a decoder of some kind."""
    opened = []

    def filled(kind):
        ring = Ring.new(Shape(1, 8, 2, plan.clip_frames))
        tasks = RayTasks(kind(Decoder.of(plan).shards, plan.clip_frames), ring)
        opened.append(Filled(tasks, ring))
        tasks.submit(Task(0, Steps(plan, 0, None, 8, 0, 1).rows(0), np.arange(8)))
        return tasks

    yield filled
    for tasks, ring in opened:
        tasks.close()
        ring.close()


def test_a_task_that_always_dies_is_given_up_with_its_rows(filled_by, plan):
    row = int(plan.take(np.arange(1))["row"][0])
    with pytest.raises(RuntimeError, match=rf"after {MAX_RETRIES + 1} tries.*in rows {row}, "):
        filled_by(Dying).wait(120)


def test_an_error_of_the_disk_is_raised_as_it_was(filled_by):
    with pytest.raises(OSError, match=r"Input/output error.*shard-000000"):
        filled_by(Failing).wait(60)


def test_a_task_that_never_ends_is_waited_for_so_long_and_killed(filled_by, monkeypatch):
    monkeypatch.setattr(filler, "END_S", 0.5)
    tasks = filled_by(Sleeping)
    begun_s = time.monotonic()
    assert tasks.wait(1.5) == []
    tasks.close()
    assert time.monotonic() - begun_s < 20


def test_every_port_listens_on_this_machine_only(ray_here):
    addresses = {address for pid in family(os.getpid()) for address in listens_at(pid)}
    assert addresses
    assert addresses <= LOOPBACK


def test_the_folder_is_private(ray_here):
    assert stat.S_IMODE(ray_here.stat().st_mode) == 0o700
    assert [*ray_here.glob("*/session_*")]


def test_there_is_no_dashboard_and_no_statistics_are_sent(ray_here):
    import ray

    assert not ray._private.worker._global_node.webui_url
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


@pytest.mark.slow
def test_a_process_without_the_token_is_refused(ray_here, tmp_path):
    import ray

    address = ray.get_runtime_context().gcs_address
    own = {**os.environ, "HOME": str(tmp_path), "RAY_AUTH_TOKEN": "0" * 32}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import ray; ray.init(address={address!r})"],
        env=own,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "Authentication" in done.stderr or "Unauthenticated" in done.stderr


@pytest.fixture
def short_path():
    """A folder whose path leaves room for sockets."""
    with tempfile.TemporaryDirectory(prefix="wt") as folder:
        yield Path(folder).resolve()


def test_folders_of_the_killed_are_removed_and_those_in_use_are_not(short_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(short_path))
    used = PrivateFolder()
    code = (
        "import os; from shards.ray_backend.folder import PrivateFolder;"
        "print(PrivateFolder().path, flush=True); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    left = Path(killed.stdout.strip())
    assert left.is_dir()
    assert left.parent == short_path
    another = PrivateFolder()
    assert not left.exists()
    assert used.path.is_dir()
    another.close(), used.close()
    assert not [*short_path.iterdir()]


def test_a_folder_too_deep_for_sockets_is_refused(tmp_path):
    deep = tmp_path / ("x" * 60)
    deep.mkdir()
    with pytest.raises(InputError, match="RAY_TMPDIR"):
        PrivateFolder(str(deep))


def test_a_small_shared_memory_is_left_alone(tmp_path):
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    assert store_folder(1, tmp_path / "own", tmp_path) == tmp_path
    assert store_folder(free, tmp_path / "own", tmp_path) == tmp_path / "own"
    assert store_folder(1, tmp_path / "own", tmp_path / "none") == tmp_path / "own"
