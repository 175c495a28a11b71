"""Ray in processes of their own: two runs at once, a cluster of others, and what dies."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from scripts.bench.measured import family
from shards.ray_backend.folder import remove_abandoned
from tests.shards.processes import named, that_work, until_ended

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
pytestmark = pytest.mark.slow


@pytest.fixture
def launch():
    """Starts scripts of this folder; what is left of them is killed after the test."""
    begun = []

    def start(script, *arguments, **more):
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        run = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(HERE / script), *map(str, arguments)],
            env={**clean, "WHOLETONE_ROOT": str(ROOT), "OMP_NUM_THREADS": "1", **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(run)
        return run

    yield start
    for run in begun:
        if run.poll() is None:
            run.kill()
        with run:
            pass


def finish(process, timeout=240):
    output, errors = process.communicate(timeout=timeout)
    assert process.returncode == 0, errors[-3000:]
    return output.split("\n")


@pytest.fixture
def folder():
    """Short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="wt") as path:
        yield Path(path).resolve()


def test_two_runs_on_one_machine_at_once_do_not_meet(launch, archive, folder):
    runs = [launch("ray_reads.py", archive, 20, 0.05, RAY_TMPDIR=str(folder)) for _ in range(2)]
    said = [finish(run) for run in runs]
    assert all(lines[-2] == "equal" for lines in said)
    assert said[0][0] != said[1][0]
    assert not [*folder.iterdir()]


def test_a_cluster_that_runs_is_joined(launch, archive, folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
    command = (
        f"{sys.executable} -m ray.scripts.scripts start --head --block --port {port} --num-cpus 2 "
        f"--node-ip-address 127.0.0.1 --include-dashboard=false --temp-dir {folder / 'head'}"
    )
    head = subprocess.Popen(
        command.split(),
        env={**os.environ, **token, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        lines = iter(head.stdout.readline, "")
        assert any("Ray runtime started" in line for line in lines)
        address = f"127.0.0.1:{port}"
        said = finish(launch("ray_reads.py", archive, 10, RAY_ADDRESS=address, **token))
        assert said[0].endswith(f":{port}")
        assert said[-2] == "equal"
    finally:
        for pid in reversed(family(head.pid)):
            os.kill(pid, signal.SIGKILL)
        head.communicate()


def test_a_ray_that_dies_is_told_in_one_line(launch, archive, folder):
    run = launch("ray_reads.py", archive, 10_000, 0.05, RAY_TMPDIR=str(folder))
    while run.stdout.readline() != "3\n":
        assert run.poll() is None
    for pid in named(run.pid, "raylet"):
        os.kill(pid, signal.SIGKILL)
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 1
    assert "RuntimeError: Ray has died on this node" in errors
    deadline_s = time.monotonic() + 90
    while [*folder.iterdir()]:  # what dies with it may write for a while
        assert time.monotonic() < deadline_s
        time.sleep(1)
        remove_abandoned(folder)


def test_when_the_first_process_dies_the_second_ends_and_nothing_is_left(launch, archive, folder):
    first, second = (launch("ray_guest.py", archive, folder, rank) for rank in (0, 1))
    for run in (first, second):
        for _ in range(3):
            assert run.stdout.readline().strip().isdecimal(), run.communicate()[1][-3000:]
    servers = that_work(first.pid)
    assert servers
    first.kill()
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "RuntimeError: Ray has died on this node" in errors
    first.communicate(timeout=60)  # its pipes close when those who inherited them have ended
    until_ended(servers)


def test_when_the_second_process_dies_the_first_goes_on(launch, archive, folder):
    first, second = (launch("ray_guest.py", archive, folder, rank) for rank in (0, 1))
    for run in (first, second):
        assert run.stdout.readline().strip().isdecimal(), run.communicate()[1][-3000:]
    second.kill()
    second.communicate()
    for _ in range(40):
        assert first.stdout.readline().strip().isdecimal()
    first.kill()
    first.communicate()
