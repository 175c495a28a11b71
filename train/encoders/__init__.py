"""ENCODERS: architectures. One architecture, one file, one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shards.lazy import look_up

if TYPE_CHECKING:
    from train.encoders.encoder import Encoder

ENCODERS = {
    "resnet": "train.encoders.resnet:ResNet",  # Meseguer-Brocal et al., 2024; Radford et al., 2021
}


def encoder_class(name: str) -> type[Encoder]:
    """The class of an encoder by its name."""
    found: type[Encoder] = look_up("encoder", ENCODERS, name)
    return found


def build_encoder(name: str, config: dict[str, Any], seed: int) -> Encoder:
    """An untrained encoder whose first weights are a function of the seed alone."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return encoder_class(name)(**config)
