"""Batch: what a stream yields and a method sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Batch:
    """Clips and what they are; numpy arrays from a stream, tensors after `to`.

    A stream's arrays are valid until its next batch is asked for; `copy` and `to` keep them.
    B tracks, V clips a track, T samples a clip.

    Args:
        clips: int16 [B, V, T], zeros where the track has ended.
        position: int64 [B], place in the endless order that decides everything.
        row: int64 [B], the track: its row in the index (in a mixture plus the archive's offset).
        start: int64 [B, V], first sample of each clip in its track.
        frames: int64 [B, V], true samples of each clip, at most T.
        seed: int64 [B, V], for whatever the view's second half draws on the device.
        valid: bool [B], False where the track could not be read; such rows never count.
        targets: name → array, [B, …] for tracks and [B, V, N] for frames.
        parts: What a hierarchical view's second half cuts of the clips, level by level below them:
            float32 [B, V, M^n, T // M^n] for n = 1, 2, …; part m of a level lies inside part
            m // M of the level above it. Empty in a stream.
    """

    clips: Any
    position: Any
    row: Any
    start: Any
    frames: Any
    seed: Any
    valid: Any
    targets: dict[str, Any] = field(default_factory=dict)
    parts: tuple[Any, ...] = ()

    def __len__(self) -> int:
        return len(self.position)

    def copy(self) -> Batch:
        """The same batch in memory of its own."""
        copied = {name: getattr(self, name).copy() for name in ARRAYS}
        return Batch(**copied, targets={name: x.copy() for name, x in self.targets.items()})

    def to(self, device: torch.device | str) -> Batch:
        """The same batch as tensors on a device; never shares memory with the stream's arrays."""
        import torch

        device = torch.device(device)
        columns = {name: getattr(self, name) for name in ARRAYS}
        moved, targets = _moved(columns, device), _moved(self.targets, device)
        parts = tuple(level.to(device) for level in self.parts)
        return Batch(**moved, targets=targets, parts=parts)


ARRAYS = ("clips", "position", "row", "start", "frames", "seed", "valid")
"""Fields that are one array each, [B, …]."""


def _moved(arrays: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Tensors on a device; arrays of a stream are copied."""
    import torch

    given = {name: x for name, x in arrays.items() if isinstance(x, torch.Tensor)}
    ours = {name: x for name, x in arrays.items() if name not in given}
    if ours and device.type == "cuda":
        from shards.pinned import to_cuda

        copied = to_cuda(ours, device)
    else:
        copied = {name: torch.tensor(x, device=device) for name, x in ours.items()}
    return {name: x.to(device) for name, x in given.items()} | copied
