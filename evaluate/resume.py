"""What an interrupted program goes on from: one file, written whole or not at all."""

from __future__ import annotations

import hashlib
import pickle
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from evaluate.watched import Result
from shards.files import publishing

if TYPE_CHECKING:
    from evaluate.program import Program

SAVE_EVERY_S = 60.0
SHARE = 0.05
"""Of the time, at most, that goes into writing."""


class State:
    """The state of a program in a file.

    It is taken up by the same configurations on the same data alone; luck is addressed by step, so
    it is no part of it.

    Args:
        path: Of the file.
        program: Whose state.
    """

    def __init__(self, path: Path, program: Program) -> None:
        self.path, self.program = path, program
        self.fingerprint = _fingerprint(program)
        self.due_s = time.monotonic() + SAVE_EVERY_S

    def save_now_and_then(self) -> None:
        """Save once a minute, more rarely if that takes long."""
        if time.monotonic() < self.due_s:
            return
        began_s = time.monotonic()
        self.save()
        now_s = time.monotonic()
        self.due_s = now_s + max(SAVE_EVERY_S, (now_s - began_s) / SHARE)

    def save(self) -> None:
        """Publish all that the program needs to go on, or its results."""
        program = self.program
        state = {
            "fingerprint": self.fingerprint,
            "step": program.step,
            "stacks": [watched.state() for watched in program.stacks],
            "results": [
                [r.place, list(r.weights), r.steps, r.trained_steps, r.cut_short]
                for r in program.results
            ],
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with publishing(self.path) as file:
            torch.save(state, file)

    def restore(self) -> bool:
        """Bring the program to where the file has it; False if there is none of this program."""
        state = self._read()
        if state is None or state["fingerprint"] != self.fingerprint:
            return False
        program, like = self.program, self.program.problem.features
        program.step = state["step"]
        program.results = [
            Result(place, tuple(w.to(like) for w in weights), *rest)
            for place, weights, *rest in state["results"]
        ]
        left = {place: one for one in state["stacks"] for place in one["places"]}
        alive = []
        for watched in program.stacks:
            found = [left[place] for place in watched.places if place in left]
            if found:
                watched.restore(found[0])
                alive.append(watched)
        program.stacks = alive
        return True

    def _read(self) -> dict[str, Any] | None:
        """What the file holds; None if there is none or it cannot be read."""
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError):
            return None
        return state


def _fingerprint(program: Program) -> str:
    """Of all that a program's result follows from."""
    problem = program.problem
    digest = hashlib.sha256()
    facts = (
        *(program.configurations, problem.schedule, problem.seed, problem.task.metrics),
        [watched.places for watched in program.stacks],  # how they are stacked moves the last bits
    )
    digest.update(repr((facts, torch.__version__)).encode())
    owner = problem.owners.owner if problem.owners else torch.empty(0)
    data = (problem.features, problem.targets, problem.valid_features, problem.valid_targets)
    for tensor in (*data, owner):
        _add(digest, tensor)
    return digest.hexdigest()


def _add(digest: Any, tensor: Tensor) -> None:
    digest.update(repr((tensor.shape, tensor.dtype)).encode())
    for part in torch.split(tensor, 4096):
        digest.update(part.contiguous().cpu().numpy())
