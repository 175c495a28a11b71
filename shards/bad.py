"""Bad records: what stands in for a row that cannot be decoded, and when there are too many.

The substitute depends on the position alone, and the consumer decodes it: any world size, any
backend, any number of workers gives the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from shards.batch import Batch
from shards.decode import COLUMNS, Decoder
from shards.errors import CommandError

if TYPE_CHECKING:
    from shards.plan import Plan, Rows

TRIES = 3
"""Substitutes that are tried before a row is given up."""

FEWEST_ROWS = 1_000
"""A share is taken of no fewer: one bad row in the first batch says little."""


class TooManyBad(CommandError):
    """An archive of which too much cannot be decoded."""


@dataclass(frozen=True)
class BadRecord:
    """A row that could not be decoded; `replaced_by` is another row, or None for silence."""

    position: int
    row: int
    key: str
    code: str
    reason: str
    replaced_by: int | None


class Mender:
    """Puts substitutes into batches and counts.

    Args:
        plan: Gives the substitutes.
        decoder: Of the plan.
        max_bad_frac: Share of bad rows above which to stop.
        listed: Where whoever is stopped finds the bad records.
    """

    def __init__(self, plan: Plan, decoder: Decoder, *, max_bad_frac: float, listed: str) -> None:
        self._plan, self._decoder = plan, decoder
        self._max_bad_frac, self._listed = max_bad_frac, listed
        self.rows = self.bad = 0

    def mend(self, batch: Batch, bad: list[tuple[int, str, str]]) -> tuple[Batch, list[BadRecord]]:
        """The batch without bad rows, as far as substitutes can be decoded, and what was bad."""
        self.rows += len(batch)
        self.bad += len(bad)
        if not bad:
            return batch, []
        columns = {name: getattr(batch, name).copy() for name in COLUMNS}
        records = [self._replace(batch, columns, *one) for one in bad]
        return replace(batch, **columns), records

    def check(self) -> None:
        """`TooManyBad` if there are."""
        if self.bad > self._max_bad_frac * max(self.rows, FEWEST_ROWS):
            raise TooManyBad(
                f"{self.bad} of {self.rows} rows could not be decoded, more than a share of "
                f"{self._max_bad_frac:g} (--max-bad-frac). {self._listed} "
                "`ingest verify` finds all that is damaged, `ingest repair` mends it."
            )

    def _replace(
        self, batch: Batch, columns: dict[str, Any], i: int, code: str, reason: str
    ) -> BadRecord:
        """Try substitutes for row i until one can be decoded."""
        position, row = int(columns["position"][i]), int(columns["row"][i])
        key = self._plan.selection.key(row)
        for rows in self._substitutes(position):
            report = self._decoder.fill(rows, batch.clips[i : i + 1], batch.valid[i : i + 1])
            if not report.bad:
                for name in COLUMNS:
                    columns[name][i] = rows[name][0]
                return BadRecord(position, row, key, code, reason, int(rows["row"][0]))
        return BadRecord(position, row, key, code, reason, None)

    def _substitutes(self, position: int) -> Iterator[Rows]:
        """Located plan rows to try, one at a time; a plan that evaluates has none."""
        for j in range(1, TRIES + 1):
            rows = self._plan.substitutes(np.array([position]), j)
            if rows is not None:
                yield rows
