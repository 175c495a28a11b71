"""From windows to tracks: how the outputs of a track's windows become the track's."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from evaluate.tasks.task import Task

Aggregate = Literal["mean", "mean probability", "max", "vote"]
"""Of outputs, of what `Task.probabilities` makes of them, the largest output, a vote a window."""

AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)


class Owners:
    """Which of n tracks each of m windows belongs to.

    Args:
        owner: Track's position [m], each of 0 … n-1 at least once.
        num_tracks: n.
    """

    def __init__(self, owner: Tensor, num_tracks: int) -> None:
        self.owner, self.num_tracks = owner, num_tracks
        count = torch.bincount(owner, minlength=num_tracks)
        if len(count) != num_tracks or not bool(count.all()):
            raise ValueError(
                f"Windows must name each of {num_tracks} tracks, got positions up to "
                f"{len(count) - 1} and {int((count == 0).sum())} tracks without a window."
            )
        self.count = count
        in_order = torch.arange(num_tracks, device=owner.device)
        self.one_each = len(owner) == num_tracks and bool((owner == in_order).all())

    def mean(self, values: Tensor) -> Tensor:
        """Means [..., n] of values [..., m]."""
        total = values.new_zeros(*values.shape[:-1], self.num_tracks)
        return total.index_add_(-1, self.owner, values) / self.count

    def max(self, values: Tensor) -> Tensor:
        """The largest [..., n] of values [..., m]."""
        lowest = values.new_full((*values.shape[:-1], self.num_tracks), -torch.inf)
        return lowest.scatter_reduce_(-1, self.owner.expand_as(values), values, "amax")

    def tracks(self, outputs: Tensor, how: Aggregate, task: Task) -> Tensor:
        """Outputs [C, K, n] of tracks from those of windows [C, K, m]."""
        if how == "mean probability":
            return self.mean(task.probabilities(outputs, dim=1))
        if how == "vote":
            return self.mean(task.votes(outputs, dim=1))
        if self.one_each:
            return outputs
        return self.mean(outputs) if how == "mean" else self.max(outputs)


def track_outputs(outputs: Tensor, owner: Tensor, *, how: Aggregate, task: Task) -> Tensor:
    """Outputs [n, K] of tracks from those [m, K] of their windows."""
    owners = Owners(owner, int(owner.max()) + 1)
    return owners.tracks(outputs.T[None], how, task)[0].T
