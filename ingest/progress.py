"""How far a build is: a bar on a terminal, a line every 30 s elsewhere; on standard error."""

from __future__ import annotations

import logging
import sys
import time

from tqdm import tqdm

log = logging.getLogger(__name__)

LINE_EVERY_S = 30.0


class Progress:
    """Tracks, hours, speed and rejected files of a build."""

    def __init__(self, total: int) -> None:
        self.seconds = 0.0
        self.tracks = 0
        self.rejected = 0
        self._total, self._done, self._resumed = total, 0, 0
        self._start = self._last_line = time.monotonic()
        terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=total, unit=" tracks", desc="packing", disable=not terminal, dynamic_ncols=True
        )
        self._lines = not terminal

    @property
    def elapsed_s(self) -> float:
        """Since the first track was asked for."""
        return time.monotonic() - self._start

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
        self._done = self._resumed = tracks
        self._bar.update(tracks)

    def _step(self) -> None:
        self._done += 1
        self._bar.set_postfix_str(self._state(), refresh=False)
        self._bar.update()
        now = time.monotonic()
        if self._lines and now - self._last_line >= LINE_EVERY_S:
            self._last_line = now
            rate = (self._done - self._resumed) / max(self.elapsed_s, 1e-9)
            left_s = (self._total - self._done) / max(rate, 1e-9)
            log.info(
                "%d of %d tracks, %s, %.0f s left", self._done, self._total, self._state(), left_s
            )

    def _state(self) -> str:
        speed = self.seconds / max(self.elapsed_s, 1e-9)
        return f"{self.seconds / 3600:.2f} h, {speed:.0f} × real time, {self.rejected} rejected"

    def close(self) -> None:
        """Leave the terminal tidy."""
        self._bar.close()
