"""Stopping when asked: a flag that the loop reads, never work in a handler."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

PR_SET_PDEATHSIG = 1
LAUNCHERS = {"ACCELERATE_MIXED_PRECISION", "TORCHELASTIC_RUN_ID"}
"""Set by `accelerate launch` and by torchrun for their children."""


class StopFlag:
    """Inside its block, set by Ctrl-C or SIGTERM; the second one ends the process at once.

    Outside the main thread no handler can be set, and nothing is caught.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        signal.signal(number, signal.SIG_DFL)

    def __enter__(self) -> StopFlag:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def die_with_launcher() -> None:
    """On Linux, get SIGTERM when the launcher dies: `accelerate launch` forwards nothing itself.

    Not without a launcher, for then the parent is a shell, which a background run outlives.
    """
    if sys.platform == "linux" and LAUNCHERS & os.environ.keys():
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
