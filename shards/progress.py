"""Progress of long work: a bar on a terminal, one line every 30 s anywhere else."""

from __future__ import annotations

import sys
import time
from typing import Any

LINE_EVERY_S = 30.0


class Progress:
    """A count that people can watch, on standard error.

    Args:
        description: What is going on, in a word or two.
        total: Where the count ends, None if nobody knows.
        unit: What is counted.
        initial: Where it starts, after a resume.
    """

    def __init__(self, description: str, *, total: int | None, unit: str, initial: int = 0) -> None:
        self.description, self.total, self.unit = description, total, unit
        self.count = self._initial = initial
        self._facts: dict[str, Any] = {}
        self._start_s = self._last_line_s = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                desc=description, total=total, unit=f" {unit}", initial=initial, dynamic_ncols=True
            )

    def update(self, count: int = 1, **facts: Any) -> None:
        """Count on, and show facts beside it."""
        self.count += count
        self._facts |= facts
        if self._bar is not None:
            if facts:
                self._bar.set_postfix(self._facts, refresh=False)
            self._bar.update(count)
        elif time.monotonic() - self._last_line_s >= LINE_EVERY_S:
            self._line()

    def skip(self, count: int) -> None:
        """Count what was done before, which says nothing about the speed."""
        self.count += count
        self._initial += count
        if self._bar is not None:
            self._bar.initial += count
            self._bar.update(count)

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()

    def _line(self) -> None:
        self._last_line_s = time.monotonic()
        of = f" of {self.total}" if self.total is not None else ""
        facts = "".join(f", {name} {value}" for name, value in self._facts.items())
        line = f"{self.description}: {self.count}{of} {self.unit}{facts}{self._left()}"
        print(line, file=sys.stderr, flush=True)

    def _left(self) -> str:
        done = self.count - self._initial
        if self.total is None or not done:
            return ""
        left_s = (time.monotonic() - self._start_s) / done * (self.total - self.count)
        return f", {left_s:.0f} s left"

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
