"""Collectives through which gradients flow exactly, on any backend, and on none.

Convention: every process computes the same loss of the global batch, and DDP averages the
gradients. A collective's backward pass therefore sums over processes: what flows back is the
gradient of the sum of all copies of the loss, W times too much, and the average takes it back.
Without a process group everything here is the identity.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of processes, 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process."""
    return dist.get_rank() if world_size() > 1 else 0


class _AllReduce(torch.autograd.Function):
    """Sum over processes, forwards and backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total


class _AllGather(torch.autograd.Function):
    """Concatenation over processes; backwards each process gets the sum of its part's gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.count = len(x)
        parts = [torch.empty_like(x) for _ in range(world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total[rank() * ctx.count : (rank() + 1) * ctx.count]


def all_reduce(x: Tensor) -> Tensor:
    """Sum of a tensor over processes, differentiable."""
    if world_size() == 1:
        return x
    reduced: Tensor = _AllReduce.apply(x)  # type: ignore[no-untyped-call]
    return reduced


def gather(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors [B, …] of all processes one after another, [W·B, …], in the order of positions."""
    if world_size() == 1:
        return tensors
    return {name: _gather(x) for name, x in tensors.items()}


def _gather(x: Tensor) -> Tensor:
    if x.dtype is torch.bool:  # not every backend gathers booleans
        return _gather(x.to(torch.uint8)).bool()
    gathered: Tensor = _AllGather.apply(x)  # type: ignore[no-untyped-call]
    return gathered
