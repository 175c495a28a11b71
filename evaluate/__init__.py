"""Frozen encoders judged on labels: embeddings, probes, intervals, one report."""

from importlib import import_module
from typing import Any

_WHERE = {
    "Embeddings": "evaluate.embeddings",
    "Extraction": "evaluate.embed",
    "METRICS": "evaluate.metrics",
    "Results": "evaluate.results",
    "TASKS": "evaluate.tasks",
    "embed_tracks": "evaluate.embed",
    "evaluate": "evaluate.evaluation",
}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that `--help` answers at once."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
