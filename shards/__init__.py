"""The on-disk format and everything that streams it; loads neither torch nor ray."""

from shards.lazy import exports

_WHERE = {
    "Archive": "shards.archive",
    "Batch": "shards.batch",
    "Index": "shards.index",
    "InputError": "shards.errors",
    "Labels": "shards.labels",
    "Sound": "shards.sound",
    "Track": "shards.index",
    "TrainPlan": "shards.plan",
    "VIEWS": "shards.views",
    "WindowPlan": "shards.plan",
    "label_names": "shards.labels",
    "open": "shards.archive",
    "read_track": "shards.reader",
    "read_window": "shards.reader",
}
__all__ = sorted(_WHERE)
__getattr__ = exports(__name__, _WHERE)
