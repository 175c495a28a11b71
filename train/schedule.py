"""Schedules as pure functions of progress: nothing to save, nothing to restore."""

import math


def cosine(start: float, end: float, progress: float) -> float:
    """From `start` at progress 0 to `end` at progress 1 along half a cosine."""
    progress = min(max(progress, 0.0), 1.0)
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def learning_rate(peak: float, *, seen: int, batch: int, warmup: int, total: int) -> float:
    """Rate of the step that takes the samples [seen, seen + batch).

    Rises in proportion to the samples at the step's end, `peak` at `warmup`; then falls along a
    cosine of the samples at its start, to zero at `total`. No step is without effect.
    """
    if seen < warmup:
        return peak * min(1.0, (seen + batch) / warmup)
    return cosine(peak, 0.0, (seen - warmup) / max(1, total - warmup))
