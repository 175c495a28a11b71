"""METHODS: the table of contents. One method, one file beside its paper, one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shards.lazy import look_up

if TYPE_CHECKING:
    from train.methods.method import Method

METHODS = {
    "byol": "train.methods.byol:BYOL",  # Grill et al., 2020
    "finetune": "train.methods.finetune:FineTune",  # supervised, on a share of the labels
    "contrastive": "train.methods.contrastive:Contrastive",  # NT-Xent: Chen et al., 2020
}


def method_class(name: str) -> type[Method]:
    """The class of a method by its name."""
    found: type[Method] = look_up("method", METHODS, name)
    return found
