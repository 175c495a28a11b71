"""The on-disk format and everything that streams it; loads neither torch nor ray."""

from importlib import import_module
from typing import Any

_WHERE = {
    "Batch": "shards.batch",
    "Index": "shards.index",
    "InputError": "shards.errors",
    "Labels": "shards.labels",
    "Track": "shards.index",
    "TrainPlan": "shards.plan",
    "VIEWS": "shards.views",
    "WindowPlan": "shards.plan",
    "label_names": "shards.labels",
    "read_track": "shards.reader",
    "read_window": "shards.reader",
}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that `--help` answers at once."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
