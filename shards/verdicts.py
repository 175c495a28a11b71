"""Which tracks of an archive a view can use, and why it cannot use the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shards.columns import numbers
from shards.filters import Condition, holds
from shards.index import Index
from shards.views.view import View

JUDGED = ("duplicate_of", "frames")
"""Columns that a verdict rests on; with those that conditions name."""


class Judge:
    """Says of each track why it may not be used; of several reasons the first counts.

    Args:
        index: Of the archive.
        view: Says how long a track must be.
        conditions: That tracks must meet.
        duplicates: Keep exact copies.
    """

    def __init__(
        self, index: Index, view: View, conditions: Sequence[Condition], *, duplicates: bool
    ) -> None:
        self._need, self._duplicates = view.min_frames(index.sample_rate), duplicates
        self._met = [holds(condition, index) for condition in conditions]
        reasons = [] if duplicates else ["duplicate"]
        reasons += [f"shorter than {self._need} samples"]
        reasons += [f"not {condition.text}" for condition in conditions]
        self.reasons = ["", *reasons]

    def verdict(self, first: int, table: pa.Table) -> np.ndarray:
        """0, or the number of the reason, for rows of the columns JUDGED from row `first` on."""
        met = [] if self._duplicates else [_is_original(table.column("duplicate_of"))]
        met += [numbers(table.column("frames")) >= self._need]
        met += [one[first : first + len(table)] for one in self._met]
        verdict = np.zeros(len(table), np.uint8 if len(met) < 256 else np.int64)
        for number, one in reversed(list(enumerate(met, 1))):
            verdict[~one] = number
        return verdict


def verdicts(
    index: Index, view: View, conditions: Sequence[Condition] = (), *, duplicates: bool = False
) -> tuple[np.ndarray, list[str]]:
    """For each track 0 if it may be used, else the number of the reason; the reasons, from 1 on."""
    judge = Judge(index, view, conditions, duplicates=duplicates)
    parts = [judge.verdict(first, table) for first, table in index.groups(JUDGED)]
    return np.concatenate(parts or [np.zeros(0, np.uint8)]), judge.reasons


def _is_original(duplicate_of: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(numbers(pc.binary_length(duplicate_of)) == 0)
