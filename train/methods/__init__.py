"""METHODS: the table of contents. One method, one file beside its paper, one line here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from shards.errors import InputError

if TYPE_CHECKING:
    from train.methods.method import Method

METHODS = {
    "byol": "train.methods.byol:BYOL",  # Grill et al., 2020
    "contrastive": "train.methods.contrastive:Contrastive",  # NT-Xent: Chen et al., 2020
}


def method_class(name: str) -> type[Method]:
    """The class of a method by its name."""
    if name not in METHODS:
        raise InputError(f"No method {name!r}; there are {sorted(METHODS)}.")
    module, attribute = METHODS[name].split(":")
    found: type[Method] = getattr(import_module(module), attribute)
    return found
