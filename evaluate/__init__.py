"""Frozen encoders judged on labels: embeddings, probes, intervals, one report."""

from shards.lazy import exports

_WHERE = {
    "Embeddings": "evaluate.embeddings",
    "Extraction": "evaluate.embed",
    "Feature": "evaluate.features",
    "METRICS": "evaluate.metrics",
    "PROTOCOLS": "evaluate.protocols",
    "Results": "evaluate.results",
    "TASKS": "evaluate.tasks",
    "Tokens": "evaluate.frames",
    "embed_tracks": "evaluate.embed",
    "frames_of": "evaluate.frames",
    "evaluate": "evaluate.evaluation",
}
__all__ = sorted(_WHERE)
__getattr__ = exports(__name__, _WHERE)
