"""Pre-training: methods, encoders and the loop that runs any of them."""

from shards.lazy import exports

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
__getattr__ = exports(__name__, _WHERE)
