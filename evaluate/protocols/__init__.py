"""PROTOCOLS: whose way from embeddings to a score, one file each and one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shards.errors import InputError
from shards.lazy import look_up

if TYPE_CHECKING:
    from evaluate.protocols.protocol import Protocol

PROTOCOLS = {
    "linear": "evaluate.protocols.linear:Linear",  # ours: linear heads and small MLPs
}


def build_protocol(name: str, **settings: Any) -> Protocol:
    """A protocol by its name; only settings it has may be given."""
    found = look_up("protocol", PROTOCOLS, name)
    try:
        protocol: Protocol = found(**settings)
    except TypeError as error:
        raise InputError(f"Protocol {name} has no setting {', '.join(settings)}.") from error
    return protocol
