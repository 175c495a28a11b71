"""How far a build is: tracks, hours, speed, rejected files."""

from __future__ import annotations

import time

from shards.progress import Progress as Bar


class Progress:
    """Counts what a build does and shows it."""

    def __init__(self, total: int | None, *, doing: str = "packing") -> None:
        self.seconds = 0.0
        self.tracks = 0
        self.rejected = 0
        self._start_s = time.monotonic()
        self._bar = Bar(doing, total=total, unit="tracks")

    def packed(self, duration_s: float) -> None:
        """One more track."""
        self.seconds += duration_s
        self.tracks += 1
        self._step()

    def refused(self) -> None:
        """One more file that is not packed."""
        self.rejected += 1
        self._step()

    def skip(self, tracks: int) -> None:
        """Tracks that an earlier run has packed."""
        self._bar.skip(tracks)

    def close(self) -> None:
        """Leave the terminal tidy."""
        self._bar.close()

    def _step(self) -> None:
        speed = self.seconds / max(time.monotonic() - self._start_s, 1e-9)
        self._bar.update(
            hours=f"{self.seconds / 3600:.2f}",
            real_time=f"{speed:.0f}×",
            rejected=self.rejected,
        )
