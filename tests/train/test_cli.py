"""Flags: derived from constructors, frozen by a snapshot, quick to explain."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from train.cli import main, parse
from train.methods import METHODS

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"


def help_text(*args):
    return subprocess.run(
        [sys.executable, "train/run.py", *args, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "100"},
    ).stdout


def flags_of(text):
    return sorted(set(re.findall(r"--[a-z][a-z0-9.-]*", text)))


@pytest.mark.parametrize("method", sorted(METHODS))
def test_flags_are_frozen(method):
    """A flag that appears or goes by accident is a change to every recipe."""
    pinned = (GOLDEN / f"flags-{method}.txt").read_text().split()
    assert flags_of(help_text("--method", method)) == pinned


def test_help_without_a_method_names_them_all_and_is_quick():
    help_text()
    begun = time.perf_counter()
    text = help_text()
    elapsed_s = time.perf_counter() - begun
    assert all(method in text for method in METHODS)
    assert "torch" not in modules_after_help()
    assert elapsed_s < 2  # the figure to keep is 0.3 s: scripts/bench/help.py


def modules_after_help():
    code = (
        "import sys; sys.argv = ['run.py', '--help']\n"
        "from train.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('MODULES', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.split("MODULES")[1].split()


def test_arguments_reach_method_encoder_and_view():
    args = "--method byol --index a --out b --method.momentum 0.5 --view.clip-s 2 --lr 1".split()
    run, settings = parse(args, method="byol", encoder="resnet")
    assert run.lr == 1
    assert settings["method"]["momentum"] == 0.5
    assert settings["view"]["clip_s"] == 2
    assert settings["encoder"]["clip_s"] == 2  # the encoder's clip is the view's, unless told
    _, settings = parse([*args, "--encoder.clip-s", "3"], method="byol", encoder="resnet")
    assert settings["encoder"]["clip_s"] == 3


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--method", "byoll", "--index", "x", "--out", "y"], "byol"),
        (["--method", "byol", "--index", "nowhere", "--out", "y"], "not a folder"),
        (["--method", "byol", "--index", "x", "--out", "y", "--encoder", "vgg"], "resnet"),
        (["--method", "byol", "--index", "x", "--out", "y", "--keep", "0"], "--keep"),
    ],
)
def test_mistakes_are_answered_in_one_line(args, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(args)
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1
