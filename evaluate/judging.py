"""Vectors of every contender for every label set, and a verdict for each; kept as they come."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from evaluate.contenders import Entrant
from evaluate.embed import Extraction, embed
from evaluate.embeddings import Embeddings
from evaluate.judges import JUDGES, features_for, judge_of
from evaluate.parallel import each_on_one_core
from evaluate.predictions import kept_verdict, write_predictions
from evaluate.probe import embeddings_id, judge, selection_path
from evaluate.protocols.protocol import Protocol, Terms
from evaluate.verdict import Verdict
from shards.index import Index
from shards.labels import SPLITS, Labels
from shards.progress import Progress

Vectors = dict[str, dict[str, dict[str, Embeddings]]]
"""Label set → contender → feature → embeddings."""


def embed_all(
    entrants: Sequence[Entrant],
    index: Index,
    label_sets: Sequence[Labels],
    protocol: Protocol,
    folder: Path,
    extraction: Extraction,
) -> Vectors:
    """All vectors; label sets of one unit and one window length share a pass."""
    vectors: Vectors = {one.name: {} for one in label_sets}
    for unit, window_s in dict.fromkeys(_windows(one, protocol) for one in label_sets):
        some = [one for one in label_sets if _windows(one, protocol) == (unit, window_s)]
        rows = np.concatenate([one.rows(split) for one in some for split in SPLITS])
        for contender, network in entrants:
            wanted = {one.name: features_for(one.kind, protocol, network) for one in some}
            found = embed(
                network,
                index,
                rows,
                features=tuple(dict.fromkeys(f for mine in wanted.values() for f in mine)),
                unit=unit,
                window_s=window_s,
                folder=folder,
                extraction=extraction,
            )
            for one in some:
                vectors[one.name][contender.id] = {f.name: found[f.name] for f in wanted[one.name]}
    return vectors


def _windows(labels: Labels, protocol: Protocol) -> tuple[Any, float | None]:
    """Unit and window length of a label set under a protocol; None is the encoder's own clip."""
    if labels.kind in JUDGES:
        return "track", labels.info.get("window_s")
    return protocol.unit, protocol.window_s or labels.info.get("window_s")


def judge_all(
    index: Index,
    label_sets: Sequence[Labels],
    vectors: Vectors,
    protocol: Protocol,
    out: Path,
    terms: Terms,
) -> dict[str, list[Verdict]]:
    """Label set → verdicts in the order of the contenders; a probe a core."""
    pairs = [(one, name) for one in label_sets for name in vectors[one.name]]
    work = [
        partial(verdict, index, one, vectors[one.name][name], name, protocol, out, terms)
        for one, name in pairs
    ]
    with Progress("judge", total=len(work), unit="probes") as bar:
        verdicts = each_on_one_core(work, bar.update)
    return {
        one.name: [v for v, (labels, _) in zip(verdicts, pairs, strict=True) if labels is one]
        for one in label_sets
    }


def verdict(
    index: Index,
    labels: Labels,
    features: dict[str, Embeddings],
    encoder: str,
    protocol: Protocol,
    out: Path,
    terms: Terms,
) -> Verdict:
    """The verdict of an earlier run that was asked the same, or a new one, which is then kept."""
    folder = out / "selections"
    asked = {
        "label_sha256": labels.info["sha256"],
        "embeddings": embeddings_id(features),
        "protocol": {"name": protocol.name, **protocol.settings},
        "seed": terms.seed,
        "versions": [version(name) for name in ("wholetone", "torch", "numpy")],
    }
    kept = kept_verdict(out, labels, encoder, selection_path(folder, labels.name, encoder), asked)
    if kept is not None:
        return kept
    mine = terms.below(f"{labels.name}--{encoder}")
    found: Verdict = (judge_of(labels.kind) or judge)(
        labels, features, encoder=encoder, folder=folder, protocol=protocol, terms=mine
    )
    write_predictions(out, index, found, asked)
    if mine.state is not None:
        shutil.rmtree(mine.state, ignore_errors=True)  # only an interrupted training needs it
    return found
