"""Which judge a kind of label has: a protocol's heads, cosines of versions, windows, or tokens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from evaluate import beats_probe, retrieval, segments_probe
from evaluate.embed import Embedder
from evaluate.embeddings import Embeddings
from evaluate.features import Feature
from evaluate.probe import judge, objection, scarcity
from evaluate.protocols.hybrid import every_pool
from evaluate.protocols.protocol import Protocol, Terms
from evaluate.verdict import Verdict
from shards.labels import Labels

NAMES = {"group": "cosine", "beats": "beats", "segments": "segments"}
"""Kinds with a judge of their own → what it is called; a protocol judges the others."""

SAID = {
    "group": "Versions are ranked by the cosine of vectors; nothing is trained.",
    "beats": " ".join([f"Judged after {beats_probe.PAPER}.", *beats_probe.DEVIATIONS]),
    "segments": "A window is a sample; its class is that of the segment that covers most of it.",
}
"""What a judge of their own does, and in what it differs from its paper."""

OF_TOKENS = ("beats",)
"""Kinds that are judged on tokens in time instead of vectors."""


def why_not(labels: Labels, known: np.ndarray, protocol: Protocol) -> str:
    """Why a label set cannot be judged by tracks `known` (bool, by index row), "" if it can."""
    if labels.kind == "group":
        return retrieval.objection(labels, known)
    if labels.kind not in NAMES:
        return protocol.objection(labels.kind) or objection(labels, known)
    if scarce := scarcity(labels, known):
        return scarce
    if labels.kind == "segments" and protocol.selects_on_test:
        return f"protocol {protocol.name} selects on test and judges no segments"
    told = beats_probe.objection if labels.kind == "beats" else segments_probe.objection
    return told(list(labels.targets("train")), list(labels.targets("valid")))


def features_for(labels: Labels, protocol: Protocol, encoder: Embedder) -> tuple[Feature, ...]:
    """What is extracted for a label set; of several pools versions in valid must choose."""
    if labels.kind != "group":
        return protocol.features(encoder)
    _, versions = np.unique(labels.targets("valid"), return_counts=True)
    return every_pool(encoder) if versions.max(initial=0) > 1 else (Feature(),)


def unit_for(labels: Labels, protocol: Protocol) -> Literal["track", "window"]:
    """What a vector stands for."""
    if labels.kind == "segments":
        return "window"
    return "track" if labels.kind == "group" else protocol.unit


def judge_vectors(
    labels: Labels,
    features: Mapping[str, Embeddings],
    *,
    window_s: float,
    encoder: str,
    folder: Path,
    protocol: Protocol,
    terms: Terms,
) -> Verdict:
    """The verdict of the judge that a kind has, on vectors of windows `window_s` long."""
    if labels.kind == "group":
        return retrieval.judge_pieces(labels, features, encoder=encoder, folder=folder)
    if labels.kind == "segments":
        return segments_probe.judge_segments(
            labels,
            features,
            window_s=window_s,
            hop_s=window_s,
            encoder=encoder,
            folder=folder,
            protocol=protocol,
            terms=terms,
        )
    return judge(labels, features, encoder=encoder, folder=folder, protocol=protocol, terms=terms)
