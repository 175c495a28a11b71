"""How far a build is: tracks, hours, speed, rejected files."""

from __future__ import annotations

import time
from dataclasses import dataclass

from shards.progress import Progress as Bar


@dataclass
class Tally:
    """What was packed and refused."""

    tracks: int = 0
    seconds: float = 0.0
    rejected: int = 0

    def packed(self, duration_s: float) -> None:
        """One more track."""
        self.add(Tally(1, duration_s))

    def refused(self) -> None:
        """One more file that is not packed."""
        self.add(Tally(rejected=1))

    def add(self, other: Tally) -> None:
        """All that another tally holds."""
        self.tracks += other.tracks
        self.seconds += other.seconds
        self.rejected += other.rejected


class Progress(Tally):
    """A tally that people can watch.

    Args:
        total: Files of all shards, None if nobody knows.
        before: How many of them an earlier run has packed or refused.
        doing: What is going on.
    """

    def __init__(self, total: int | None, *, before: int = 0, doing: str = "packing") -> None:
        super().__init__()
        self._start_s = time.monotonic()
        self._bar = Bar(doing, total=total, unit="tracks", initial=before)

    def add(self, other: Tally) -> None:
        """Count, and show the speed."""
        super().add(other)
        speed = self.seconds / max(time.monotonic() - self._start_s, 1e-9)
        self._bar.update(
            other.tracks + other.rejected,
            hours=f"{self.seconds / 3600:.2f}",
            real_time=f"{speed:.0f}×",
            rejected=self.rejected,
        )

    def close(self) -> None:
        """Leave the terminal tidy."""
        self._bar.close()
