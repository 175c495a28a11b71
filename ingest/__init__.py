"""Raw tracks in, tar shards and a Parquet index out; a raw file is decoded in a worker, once."""

from importlib import import_module
from typing import Any

_WHERE = {
    "Settings": "ingest.settings",
    "add_labels": "ingest.labels.add",
    "build_shards": "ingest.build",
}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that `--help` answers at once."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
