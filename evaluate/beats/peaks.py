"""Beats as high local maxima: the least one can do with an activation."""

from __future__ import annotations

import numpy as np

REACH_S = 0.06
"""A peak is the highest frame this far to either side: 7 frames at 50 Hz."""

THRESHOLD = 0.5


def pick_peaks(activation: np.ndarray, *, rate_hz: float) -> np.ndarray:
    """Beats in seconds [m] of activations [N] (minimal post-processing of Foscarin et al., 2024).

    A peak is above one half and nowhere less than within 60 ms; equal neighbours are one peak, in
    their middle.
    """
    reach = max(1, round(REACH_S * rate_hz))
    padded = np.pad(activation, reach, constant_values=-np.inf)
    highest = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).max(axis=1)
    frames = np.flatnonzero((activation == highest) & (activation > THRESHOLD))
    if not len(frames):
        return np.empty(0)
    runs = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    return np.array([run.mean() for run in runs]) / rate_hz
