"""Pre-training: methods, encoders and the loop that runs any of them."""

from importlib import import_module
from typing import Any

_WHERE = {
    "ENCODERS": "train.encoders",
    "Encoder": "train.encoders.encoder",
    "METHODS": "train.methods",
    "Method": "train.methods.method",
    "Run": "train.config",
    "load_encoder": "train.checkpoint",
    "pretrain": "train.loop",
}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that `--help` answers at once."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
