"""Batch: what a stream yields and a method sees."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Batch:
    """Clips and what they are; numpy arrays from a stream, tensors after `to`.

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
    """

    clips: Any
    position: Any
    row: Any
    start: Any
    frames: Any
    seed: Any
    valid: Any
    targets: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.position)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch as tensors on a device; never shares memory with the stream's arrays."""
        import torch

        def tensor(array: Any) -> torch.Tensor:
            if isinstance(array, torch.Tensor):
                return array.to(device)
            return torch.tensor(array, device=device)

        moved = {f.name: tensor(getattr(self, f.name)) for f in fields(self) if f.name != "targets"}
        return Batch(**moved, targets={name: tensor(x) for name, x in self.targets.items()})
