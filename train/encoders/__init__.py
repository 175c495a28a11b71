"""ENCODERS: architectures. One architecture, one file, one line here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from shards.errors import InputError

if TYPE_CHECKING:
    from train.encoders.encoder import Encoder

ENCODERS = {
    "resnet": "train.encoders.resnet:ResNet",  # Meseguer-Brocal et al., 2024; Radford et al., 2021
}


def encoder_class(name: str) -> type[Encoder]:
    """The class of an encoder by its name."""
    if name not in ENCODERS:
        raise InputError(f"No encoder {name!r}; there are {sorted(ENCODERS)}.")
    module, attribute = ENCODERS[name].split(":")
    found: type[Encoder] = getattr(import_module(module), attribute)
    return found


def build_encoder(name: str, config: dict[str, Any], seed: int) -> Encoder:
    """An untrained encoder whose first weights are a function of the seed alone."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return encoder_class(name)(**config)
