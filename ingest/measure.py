"""Facts of the samples, gathered block by block in integers: equal on every machine."""

import hashlib
import math

import numpy as np

FLOOR_DB = -120.0
"""Stands for the level of digital silence: JSON has no infinity."""

SILENT_DB = -60.0


class Measure:
    """Length, hash, level and share of silence of int16 samples that arrive in blocks."""

    def __init__(self, sample_rate: int) -> None:
        self.frames = 0
        self._sha256 = hashlib.sha256()
        self._peak = 0
        self._squares = 0
        self._unit = max(1, sample_rate // 10)  # 100 ms
        self._units = self._silent_units = 0
        self._rest = np.zeros(0, np.int32)  # squares of the unit that has begun

    def add(self, samples: np.ndarray) -> None:
        """Count the next samples, int16 [n]."""
        if not len(samples):
            return
        self.frames += len(samples)
        self._sha256.update(np.ascontiguousarray(samples, "<i2").data)
        self._peak = max(self._peak, int(samples.max()), -int(samples.min()))
        wide = samples.astype(np.int32)  # the square of an int16 fits
        wide *= wide
        squares = np.concatenate([self._rest, wide])
        whole = len(squares) // self._unit * self._unit
        sums = squares[:whole].reshape(-1, self._unit).sum(axis=1, dtype=np.int64)
        self._squares += int(sums.sum())
        self._units += len(sums)
        self._silent_units += int((sums < self._unit * _power(SILENT_DB)).sum())
        self._rest = squares[whole:]

    def facts(self) -> dict[str, float | int | str]:
        """What the index keeps; a rest of less than 100 ms counts as a block of its own."""
        units, silent, squares = self._units, self._silent_units, self._squares
        if len(self._rest):
            rest = int(self._rest.sum(dtype=np.int64))
            squares += rest
            units += 1
            silent += int(rest < len(self._rest) * _power(SILENT_DB))
        return {
            "frames": self.frames,
            "pcm_sha256": self._sha256.hexdigest(),
            "peak_db": _db(float(self._peak) ** 2),
            "rms_db": _db(squares / max(1, self.frames)),
            "silence_ratio": silent / max(1, units),
        }


def _power(level_db: float) -> float:
    """Mean square of samples at a level below full scale, 32768."""
    return float(32_768.0**2 * 10 ** (level_db / 10))


def _db(power: float) -> float:
    """Level of a mean square of int16 samples below full scale, never under the floor."""
    return round(max(FLOOR_DB, 10 * math.log10(power / 32_768.0**2)), 3) if power else FLOOR_DB
