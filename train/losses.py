"""Losses that two methods or more share; the others live in their method's file."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def nt_xent(
    z_a: Tensor,
    z_b: Tensor,
    *,
    temperature: float,
    row: Tensor | None = None,
    valid: Tensor | None = None,
) -> Tensor:
    """Each clip finds the other clip of its track in the batch (Chen et al., 2020, eq. 1).

        ℓ_i = -log( exp(s(i, i⁺) / τ) / Σ_{k ≠ i} exp(s(i, k) / τ) ),  s the cosine, mean over 2B

    The positive is in the denominator. Other clips of the same row are neither positive nor
    negative, and rows that are not valid do not count.

    Args:
        z_a: Projections [B, D] of the first clips, B over all processes.
        z_b: Projections [B, D] of the second clips.
        temperature: τ.
        row: Track of each pair, int64 [B]; all different if None.
        valid: bool [B]; all if None.
    """
    if z_a.shape != z_b.shape or z_a.ndim != 2:
        raise ValueError(f"Want two [B, D] projections, got {[*z_a.shape]} and {[*z_b.shape]}.")
    num_pairs = len(z_a)
    row = torch.arange(num_pairs, device=z_a.device) if row is None else row
    valid = torch.ones_like(row, dtype=torch.bool) if valid is None else valid
    z = F.normalize(torch.cat([z_a, z_b]), dim=1)  # [2B, D]
    positive = torch.arange(2 * num_pairs, device=z.device).roll(num_pairs)  # i → i⁺
    rows, counts = row.repeat(2), valid.repeat(2)
    hidden = (rows[:, None] == rows[None, :]) | ~counts[None, :]
    hidden.scatter_(1, positive[:, None], False)
    similarity = (z @ z.T / temperature).masked_fill(hidden, -torch.inf)
    if not counts.any():
        return 0 * z.sum()
    return F.cross_entropy(similarity[counts], positive[counts])
