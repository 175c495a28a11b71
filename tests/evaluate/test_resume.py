import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluate import resume
from evaluate.heads import Configuration, train_heads
from evaluate.jukemir import GRID, SCHEDULE
from evaluate.layers import layer_grid
from evaluate.program import Program
from evaluate.tasks import TASKS

SOME = [replace(c, hidden_dim=24) for c in GRID[::43]] + [
    Configuration("linear", weight_decay, learning_rate=None) for weight_decay in (0.1, 1.0)
]
QUICK = replace(SCHEDULE, max_steps=160, patience=6)


def grid(folder: Path | None, *, schedule=QUICK, shift: float = 0.0, layers: bool = False):
    """The same small grid each time, in a state folder."""
    rng = np.random.default_rng(0)
    classes = rng.integers(3, size=400)
    x = torch.from_numpy(rng.normal(size=(400, 10)) + np.eye(10)[classes] + shift).float()
    task = TASKS["class"](classes, 3)
    y = task.encode(classes, torch.float32)
    if layers:
        x = torch.stack([x, x.flip(0), -x], dim=1)
    some = layer_grid(range(3), rates=[1e-3, 1e-2]) if layers else SOME
    train, valid = (x[:300], y[:300]), (x[300:], y[300:])
    return train_heads(some, task, train, valid, schedule=schedule, state=folder)


def same(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert (a.steps, a.trained_steps, a.valid_score) == (
            b.steps,
            b.trained_steps,
            b.valid_score,
        )
        assert all(torch.equal(w, v) for w, v in zip(a.weights, b.weights, strict=True))


CHILD = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from evaluate import resume
from tests.evaluate.test_resume import grid
resume.SAVE_EVERY_S, resume.SHARE = 0.0, 1e9
save = resume.State.save

def save_and_wait(self):
    save(self)
    if self.path.name == "program-1.pt" and self.program.step >= 24:
        print("saved", flush=True)
        sys.stdin.read()

resume.State.save = save_and_wait
grid(Path(sys.argv[1]))
"""


def test_a_grid_that_was_killed_goes_on_to_the_same_end(tmp_path):
    root = Path(__file__).resolve().parents[2]
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"saved\n"
    child.kill()
    child.communicate()
    path = tmp_path / "program-1.pt"
    state = torch.load(path, weights_only=True)
    assert state["step"] == 24
    assert state["stacks"]
    same(grid(tmp_path), grid(None))


@pytest.mark.parametrize("layers", [False, True])
@pytest.mark.parametrize("blocks", [1, 9])
def test_what_stopped_after_some_blocks_goes_on_to_the_same_end(
    tmp_path, monkeypatch, blocks, layers
):
    schedule = replace(QUICK, patience=3, plateau=1) if layers else QUICK
    expected = grid(None, schedule=schedule, layers=layers)
    monkeypatch.setattr(resume, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(resume, "SHARE", 1e9)
    advance, count = Program._block, []

    def stops(self):
        if len(count) == blocks:
            raise KeyboardInterrupt
        count.append(1)
        advance(self)

    monkeypatch.setattr(Program, "_block", stops)
    with pytest.raises(KeyboardInterrupt):
        grid(tmp_path, schedule=schedule, layers=layers)
    monkeypatch.setattr(Program, "_block", advance)
    same(grid(tmp_path, schedule=schedule, layers=layers), expected)


def test_a_finished_grid_is_read_and_not_trained_again(tmp_path, monkeypatch):
    expected = grid(tmp_path)
    monkeypatch.setattr(Program, "_block", lambda self: pytest.fail("trained again"))
    same(grid(tmp_path), expected)


def test_a_state_of_other_data_or_another_schedule_is_not_taken_up(tmp_path):
    grid(tmp_path)
    for changes in ({"shift": 0.5}, {"schedule": replace(QUICK, patience=2)}):
        same(grid(tmp_path, **changes), grid(None, **changes))


def test_a_damaged_state_is_begun_anew(tmp_path):
    expected = grid(tmp_path)
    for path in tmp_path.glob("*.pt"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    same(grid(tmp_path), expected)


def test_saving_takes_a_small_share_of_the_time(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(resume, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(resume, "SHARE", 1e-9)
    keep = resume.State.save
    monkeypatch.setattr(resume.State, "save", lambda self: (saved.append(self.path), keep(self)))
    grid(tmp_path)
    assert max(saved.count(path) for path in saved) == 2  # the first time, and in the end
