"""How much of a point a key is worth that is not the true one: MIREX's weights."""

from __future__ import annotations

import numpy as np

from shards.targets import KEYS

SAME, FIFTH_UP, RELATIVE, PARALLEL = 1.0, 0.5, 0.3, 0.2


def score(true: int, found: int) -> float:
    """Points for one key, by their numbers in KEYS.

    As mir_eval has it where descending fifths do not count: the key found lies a fifth above the
    true one, in its mode; it is its relative (same signature); or its parallel (same tonic).
    """
    (true_minor, true_tonic), (minor, tonic) = divmod(true, 12), divmod(found, 12)
    steps = (tonic - true_tonic) % 12
    if minor == true_minor:
        return {0: SAME, 7: FIFTH_UP}.get(steps, 0.0)
    return {0: PARALLEL, 3 if true_minor else 9: RELATIVE}.get(steps, 0.0)


SCORES = np.array([[score(i, k) for k in range(len(KEYS))] for i in range(len(KEYS))])
"""Points [true, found]."""
