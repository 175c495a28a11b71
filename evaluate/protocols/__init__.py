"""PROTOCOLS: whose way from embeddings to a score, one file each and one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shards.errors import InputError
from shards.lazy import look_up

if TYPE_CHECKING:
    from evaluate.protocols.protocol import Protocol

PROTOCOLS = {
    "linear": "evaluate.protocols.linear:Linear",  # ours: linear heads and small MLPs
    "jukemir": "evaluate.protocols.jukemir:JukeMIR",  # Castellon et al., 2021: 216 configurations
    "layers": "evaluate.protocols.layers:Layers",  # Ma et al., 2023: weighted sum, and each layer
    "deezer": "evaluate.protocols.deezer:Deezer",  # Meseguer-Brocal et al., 2024: no bias
    "limited": "evaluate.protocols.limited:Limited",  # the same on 1, 5, 10, 20 % of train
    "hybrid": "evaluate.protocols.hybrid:Hybrid",  # Yonay et al., 2025: every pool, chosen on valid
    "finetuned": "evaluate.protocols.finetuned:Finetuned",  # the head that fine-tuning left
    "myna-code": "evaluate.protocols.myna_code:MynaCode",  # its released code: selects on test
}


def build_protocol(name: str, **settings: Any) -> Protocol:
    """A protocol by its name; only settings it has may be given."""
    found = look_up("protocol", PROTOCOLS, name)
    try:
        protocol: Protocol = found(**settings)
    except TypeError as error:
        raise InputError(f"Protocol {name} has no setting {', '.join(settings)}.") from error
    return protocol
