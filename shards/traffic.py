"""What reading from a store has cost, counted for a process and for a task."""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields


@dataclass
class Traffic:
    """What reading has cost.

    Args:
        wanted: Bytes asked for.
        transferred: Bytes that came from the store.
        cached: Bytes that came from the node's cache.
        requests: To the store.
        failed: Of these.
    """

    wanted: int = 0
    transferred: int = 0
    cached: int = 0
    requests: int = 0
    failed: int = 0

    def add(self, other: Traffic) -> None:
        """Count another reading in; safe for threads."""
        with _ADDING:
            for f in fields(self):
                setattr(self, f.name, getattr(self, f.name) + getattr(other, f.name))

    def since(self, before: Traffic) -> Traffic:
        """What has been added since."""
        return Traffic(*(getattr(self, f.name) - getattr(before, f.name) for f in fields(self)))


_ADDING = threading.Lock()

TRAFFIC = Traffic()
"""Of this process."""
