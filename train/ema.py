"""A teacher that is an average of past students."""

import copy
from typing import TypeVar

import torch
from torch import nn

Copied = TypeVar("Copied", bound=nn.Module)


def frozen_copy(module: Copied) -> Copied:
    """A copy that shares no storage and takes no gradient."""
    frozen = copy.deepcopy(module)
    frozen.requires_grad_(False)
    return frozen


@torch.no_grad()
def ema_(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Teacher ← momentum · teacher + (1 - momentum) · student, parameters and buffers alike."""
    ours, theirs = teacher.state_dict(), student.state_dict()
    if ours.keys() != theirs.keys():
        raise ValueError(f"Teacher and student differ in {sorted(ours.keys() ^ theirs.keys())}.")
    for name, value in ours.items():
        if value.is_floating_point():
            value.lerp_(theirs[name].to(value), 1 - momentum)
        else:
            value.copy_(theirs[name])
