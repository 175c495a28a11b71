"""Stopping when asked: a flag that the loop reads, never work in a handler."""

from __future__ import annotations

import ctypes
import signal
import sys
from types import FrameType

PR_SET_PDEATHSIG = 1


class StopFlag:
    """Set by Ctrl-C or SIGTERM; a second Ctrl-C ends the process at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            signal.signal(number, signal.SIG_DFL)
        self.signal = number


def die_with_parent() -> None:
    """On Linux, get SIGTERM when the launcher dies: `accelerate launch` forwards nothing itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
