"""Which judge a kind of label has: a protocol's heads on vectors, retrieval, or frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evaluate.embed import Embedder
from evaluate.features import Feature
from evaluate.protocols.hybrid import every_pool
from evaluate.protocols.protocol import Protocol
from shards.lazy import look_up

JUDGES = {
    "group": "evaluate.retrieval:judge",  # cosine of vectors, nothing is trained
}
"""Kinds judged on vectors in a way of their own, whatever the protocol."""

NAMES = {"group": "retrieval", "beats": "beats", "segments": "segments"}


def judge_of(kind: str) -> Callable[..., Any] | None:
    """The kind's own judge, None where the protocol's heads learn it."""
    found: Callable[..., Any] | None = look_up("judge", JUDGES, kind) if kind in JUDGES else None
    return found


def features_for(kind: str, protocol: Protocol, encoder: Embedder) -> tuple[Feature, ...]:
    """What is extracted for labels of a kind."""
    return every_pool(encoder) if kind in JUDGES else protocol.features(encoder)
