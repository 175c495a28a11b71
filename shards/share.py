"""A share of a label set's training tracks, the same wherever it is asked for."""

from __future__ import annotations

import numpy as np


def drawn(num_tracks: int, share: float, *, seed: int) -> np.ndarray:
    """⌊share · n⌋ positions of n tracks, at least one, not stratified, ascending.

    Of one seed, a smaller share is part of a larger one.
    """
    count = max(1, int(share * num_tracks))
    return np.sort(np.random.default_rng(seed).permutation(num_tracks)[:count])
