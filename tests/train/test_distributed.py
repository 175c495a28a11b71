"""n processes equal one: gradients, weights after five steps, losses, statistics."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from train.methods import METHODS

WORKER = Path(__file__).with_name("two_processes.py")
CASES = [*METHODS, "learned_temperature", "learned_scale"]


def run(world_size, out):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {
        **os.environ,
        "WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
        "WHOLETONE_ROOT": str(WORKER.parents[2]),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(out)],
            env={**common, "RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world_size)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-3000:]
    return [torch.load(f"{out}-{rank}.pt", weights_only=True) for rank in range(world_size)]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    (result,) = run(1, tmp_path_factory.mktemp("one") / "result")
    return result


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return run(2, tmp_path_factory.mktemp("two") / "result")


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_of_two_processes_is_that_of_one(one, two, name):
    expected = one[name]["grad"]
    for result in two:
        assert result[name]["grad"].keys() == expected.keys()
        for parameter, gradient in expected.items():
            torch.testing.assert_close(
                result[name]["grad"][parameter], gradient, rtol=1e-5, atol=1e-9
            )
    assert max(float(g.abs().max()) for g in expected.values()) > 1e-3


@pytest.mark.parametrize("name", CASES)
def test_weights_and_statistics_after_five_steps_are_those_of_one(one, two, name):
    for result in two:
        for key, value in one[name]["weights"].items():
            torch.testing.assert_close(result[name]["weights"][key], value, rtol=1e-5, atol=1e-7)
        assert result[name]["losses"] == pytest.approx(one[name]["losses"], rel=1e-6)
