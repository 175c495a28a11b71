"""Checkpoints that are whole or absent, and the encoder folder that others load.

A checkpoint is a folder: weights, optimizer, state.json, and a manifest with the SHA-256 of each.
It is written under another name, made durable, then renamed: a crash at any moment leaves the
last good one. Nothing is ever unpickled but the optimizer, and that with `weights_only`.
"""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save, save_file
from torch import nn

from shards.errors import InputError
from shards.files import fsync_dir, publish, read_json, sha256_file, shown, write_json
from train.encoders import encoder_class
from train.encoders.encoder import Encoder

WEIGHTS, OPTIMIZER, STATE, MANIFEST = (
    "weights.safetensors",
    "optimizer.pt",
    "state.json",
    "manifest.json",
)


@dataclass(frozen=True)
class State:
    """Where a run stands: all that is needed beside weights and optimizer.

    Args:
        step: Optimiser steps taken.
        samples_seen: Positions consumed, and so the next one.
        plan: What stands at each position, as `TrainPlan.describe` says it.
    """

    step: int
    samples_seen: int
    plan: dict[str, Any]


def save_checkpoint(
    run: Path,
    method: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: State,
    *,
    keep: int = 2,
) -> Path:
    """Write `checkpoints/step-…`, then delete all but the `keep` newest."""
    folder = run / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step-{state.step:07d}"
    tmp = folder / f".tmp-{secrets.token_hex(8)}"
    tmp.mkdir()
    try:
        save_file(_contiguous(method), tmp / WEIGHTS)
        torch.save(optimizer.state_dict(), tmp / OPTIMIZER)
        write_json(tmp / STATE, vars(state))
        write_json(tmp / MANIFEST, {n: sha256_file(tmp / n) for n in (WEIGHTS, OPTIMIZER, STATE)})
        for name in (WEIGHTS, OPTIMIZER):
            _fsync(tmp / name)
        fsync_dir(tmp)
        if final.exists():  # the same step again after a resume: replace what is already there
            shutil.rmtree(final)
        os.rename(tmp, final)
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
    fsync_dir(folder)
    older = [path for path in checkpoints(run) if path.name < final.name]
    for old in older[keep - 1 :]:
        shutil.rmtree(old)
    return final


def sweep(run: Path) -> None:
    """Remove what a killed run left half written."""
    for left in (run / "checkpoints").glob(".tmp-*"):
        shutil.rmtree(left, ignore_errors=True)


def checkpoints(run: Path) -> list[Path]:
    """Checkpoint folders of a run, newest first, whole or not."""
    return sorted((run / "checkpoints").glob("step-*"), reverse=True)


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, None if every file has its SHA-256."""
    try:
        manifest = read_json(checkpoint / MANIFEST)
    except InputError as error:
        return str(error)
    for name in (WEIGHTS, OPTIMIZER, STATE):
        if not (checkpoint / name).is_file():
            return f"{shown(checkpoint / name)} is missing"
        if sha256_file(checkpoint / name) != manifest.get(name):
            return f"{shown(checkpoint / name)} is damaged"
    return None


def newest_checkpoint(run: Path) -> tuple[Path | None, list[str]]:
    """The newest whole checkpoint, and what was wrong with those passed over."""
    faults: list[str] = []
    for checkpoint in checkpoints(run):
        fault = damage(checkpoint)
        if fault is None:
            return checkpoint, faults
        faults.append(fault)
    return None, faults


def load_checkpoint(checkpoint: Path, method: nn.Module, optimizer: torch.optim.Optimizer) -> State:
    """Put weights, method state and optimizer back; returns where the run stood."""
    method.load_state_dict(load_file(checkpoint / WEIGHTS))
    device = next(method.parameters()).device
    optimizer.load_state_dict(
        torch.load(checkpoint / OPTIMIZER, map_location=device, weights_only=True)
    )
    return read_state(checkpoint)


def read_state(checkpoint: Path) -> State:
    """Where the run stood at a checkpoint."""
    value = read_json(checkpoint / STATE)
    try:
        return State(**value)
    except TypeError:
        raise InputError(
            f"{shown(checkpoint / STATE)} is of another version of wholetone: give another --out."
        ) from None


def export_encoder(encoder: Encoder, run: Path, *, card: str) -> Path:
    """Write `encoder/`: config.json, model.safetensors, README.md, in the layout of the HF Hub."""
    folder = run / "encoder"
    folder.mkdir(exist_ok=True)
    write_json(folder / "config.json", {"encoder": encoder.name, **encoder.config})
    publish(folder / "README.md", card.encode())
    publish(folder / "model.safetensors", save(_contiguous(encoder)))
    return folder


def export_head(method: Any, run: Path) -> None:
    """Write `head/`, head.json and model.safetensors, of a method that has a head to keep."""
    if not method.facts:
        return
    folder = run / "head"
    folder.mkdir(exist_ok=True)
    publish(folder / "model.safetensors", save(_contiguous(method.head)))
    write_json(folder / "head.json", method.facts)


def load_encoder(path: Path | str) -> Encoder:
    """The encoder of a run, or of an `encoder/` folder, in evaluation mode."""
    path = Path(path)
    folder = path / "encoder" if (path / "encoder").is_dir() else path
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{shown(path)} holds no encoder: want a folder made by `train/run.py --out`, "
            "or one with config.json and model.safetensors."
        )
    config: dict[str, Any] = read_json(folder / "config.json")
    encoder = encoder_class(config.pop("encoder"))(**config)
    encoder.load_state_dict(load_file(folder / "model.safetensors"))
    return encoder.eval()


def _contiguous(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: x.detach().cpu().contiguous() for name, x in module.state_dict().items()}


def _fsync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
