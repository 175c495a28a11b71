"""Whole runs as a user starts them: killed, stopped, resumed, in one process and in two."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
SMALL = (
    "--encoder.width 8 --encoder.layers 1 1 1 1 --encoder.dim 32 --encoder.n-mels 64 "
    "--view.clip-s 1 --view.min-gap-s 2 --batch-size 4 --warmup-steps 2 --device cpu "
    "--num-workers 1 --log-every 1 --trace"
).split()
HEADS = {
    "byol": "--method.projector 32 16 --method.predictor-hidden 8".split(),
    "contrastive": "--method.projector 32 16".split(),
}
PYTHON = [sys.executable, "train/run.py"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def flags(method, archive, out, *more):
    return [
        *("--method", method, "--index", str(archive), "--out", str(out)),
        *SMALL,
        *HEADS[method],
        *more,
    ]


def launch(command, **settings):
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **settings,
    )


def finish(process, status=0, timeout=240):
    output, _ = process.communicate(timeout=timeout)
    assert process.returncode == status, output[-4000:]
    return output


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def newest_weights(out):
    return load_file(max((out / "checkpoints").glob("step-*")) / "weights.safetensors")


def assert_same_weights(a, b):
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert value.equal(b[name]), name


@pytest.fixture(scope="module")
def whole(archive, tmp_path_factory):
    """Thirty steps without interruption."""
    out = tmp_path_factory.mktemp("run") / "whole"
    finish(launch([*PYTHON, *flags("byol", archive, out, "--steps", "30", "--backend", "inline")]))
    return out


def wait_for_step(process, out, step):
    path = out / "trace-0.jsonl"
    while not path.exists() or path.read_text().count("\n") < step:
        assert process.poll() is None, process.stdout.read()[-3000:]
        time.sleep(0.01)


def test_a_run_leaves_what_the_readme_promises(whole):
    assert {p.name for p in whole.iterdir()} >= {"run.json", "metrics.jsonl", "checkpoints"}
    assert {p.name for p in (whole / "encoder").iterdir()} == {
        "config.json",
        "model.safetensors",
        "README.md",
    }
    metrics = lines(whole / "metrics.jsonl")
    assert [m["step"] for m in metrics] == list(range(1, 31))
    assert metrics[-1]["samples_seen"] == 120
    facts = json.loads((whole / "run.json").read_text())
    assert facts["run"]["method"] == "byol"
    assert facts["encoder"]["clip_s"] == 1  # follows the view


def test_killed_anywhere_and_resumed_it_is_the_same_run(archive, whole, tmp_path):
    """Kill -9 three times, once or more while saving (a checkpoint a step), then finish."""
    out = tmp_path / "run"
    command = [*PYTHON, *flags("byol", archive, out, "--steps", "30", "--backend", "inline")]
    command += ["--save-every", "1"]
    for step in (4, 11, 17):
        process = launch([*command, "--resume"])
        wait_for_step(process, out, step)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    output = finish(launch([*command, "--resume"]))
    assert "resumed at step" in output
    assert lines(out / "trace-0.jsonl") == lines(whole / "trace-0.jsonl")
    assert [m["step"] for m in lines(out / "metrics.jsonl")] == list(range(1, 31))
    assert_same_weights(newest_weights(out), newest_weights(whole))


def test_ctrl_c_saves_and_says_how_to_go_on(archive, whole, tmp_path):
    out = tmp_path / "run"
    command = [*PYTHON, *flags("byol", archive, out, "--steps", "30", "--backend", "inline")]
    process = launch(command)
    wait_for_step(process, out, 5)
    os.killpg(process.pid, signal.SIGINT)
    output = finish(process, status=130)
    assert "--resume" in output
    finish(launch([*command, "--resume"]))
    assert lines(out / "trace-0.jsonl") == lines(whole / "trace-0.jsonl")
    assert_same_weights(newest_weights(out), newest_weights(whole))


def test_a_run_is_neither_overwritten_nor_continued_as_another(archive, whole):
    again = flags("byol", archive, whole, "--steps", "30", "--backend", "inline")
    assert "add --resume" in finish(launch([*PYTHON, *again]), status=2)
    changed = [*again, "--resume", "--lr", "0.01", "--method.momentum", "0.5"]
    output = finish(launch([*PYTHON, *changed]), status=2)
    assert "lr was 0.0003, is 0.01" in output
    assert "method.momentum was 0.996, is 0.5" in output


def test_a_damaged_checkpoint_is_passed_over(archive, whole, tmp_path):
    import shutil

    out = tmp_path / "run"
    shutil.copytree(whole, out)
    newest = max((out / "checkpoints").glob("step-*"))
    shutil.copytree(newest, out / "checkpoints" / "step-0000099")
    with open(out / "checkpoints" / "step-0000099" / "weights.safetensors", "r+b") as file:
        file.seek(5000)
        byte = file.read(1)
        file.seek(5000)
        file.write(bytes([byte[0] ^ 1]))
    command = flags("byol", archive, out, "--steps", "30", "--backend", "inline", "--resume")
    output = finish(launch([*PYTHON, *command]))
    assert "step-0000099/weights.safetensors is damaged" in output
    assert "resumed at step 30" in output


def test_a_run_killed_before_its_export_exports_when_resumed(archive, whole, tmp_path):
    import shutil

    out = tmp_path / "run"
    shutil.copytree(whole, out)
    shutil.rmtree(out / "encoder")
    (out / "checkpoints" / ".tmp-left").mkdir()
    command = flags("byol", archive, out, "--steps", "30", "--backend", "inline", "--resume")
    finish(launch([*PYTHON, *command]))
    exported, expected = (o / "encoder" / "model.safetensors" for o in (out, whole))
    assert exported.read_bytes() == expected.read_bytes()
    assert not (out / "checkpoints" / ".tmp-left").exists()


def test_two_processes_with_ray_read_what_one_reads_inline(archive, whole, tmp_path):
    out = tmp_path / "run"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    finish(
        launch(
            [
                *torchrun,
                *("--nproc_per_node", "2"),
                "train/run.py",
                *flags("byol", archive, out, "--steps", "30", "--backend", "ray"),
            ]
        )
    )
    for one, *parts in zip(
        *(lines(p) for p in (whole / "trace-0.jsonl", *sorted(out.glob("trace-?.jsonl")))),
        strict=True,
    ):
        for name in ("position", "row", "start"):
            assert one[name] == [value for part in parts for value in part[name]]
    first, theirs = (lines(o / "metrics.jsonl")[0]["loss"] for o in (whole, out))
    assert first == pytest.approx(theirs, rel=1e-4)


def test_accelerate_launch_runs_the_other_method(archive, tmp_path):
    out = tmp_path / "run"
    accelerate = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1"]
    output = finish(
        launch(
            [
                *(*accelerate, "--cpu", "train/run.py"),
                *flags("contrastive", archive, out, "--steps", "3", "--backend", "ray"),
                *("--tracker", "tensorboard"),
            ]
        )
    )
    assert "trained 3 steps" in output
    assert list(out.rglob("events.out.tfevents*"))


def test_sigterm_to_the_launcher_ends_the_training_with_a_checkpoint(archive, tmp_path):
    """`accelerate launch` dies at once and tells nobody: the run must notice."""
    out = tmp_path / "run"
    accelerate = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1"]
    process = launch(
        [
            *(*accelerate, "--cpu", "train/run.py"),
            *flags("byol", archive, out, "--steps", "100000", "--backend", "inline"),
        ]
    )
    wait_for_step(process, out, 2)
    process.terminate()
    deadline = time.monotonic() + 20
    while not list(out.glob("encoder/model.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.communicate(timeout=20)
    (checkpoint,) = (out / "checkpoints").glob("step-*")
    assert (checkpoint / "manifest.json").is_file()
