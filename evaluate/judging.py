"""Vectors of every contender for every label set, and a verdict for each; kept as they come."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from evaluate.beats_probe import judge_beats
from evaluate.contenders import Entrant, with_frames
from evaluate.embed import Extraction, embed, window_frames
from evaluate.embeddings import Embeddings
from evaluate.features import Feature
from evaluate.judges import OF_TOKENS, features_for, judge_vectors, unit_for
from evaluate.parallel import each_on_one_core
from evaluate.predictions import kept_verdict, write_predictions
from evaluate.probe import embeddings_id, selection_path
from evaluate.protocols.protocol import Protocol, Terms
from evaluate.token_tracks import token_tracks
from evaluate.verdict import Verdict
from shards.index import Index
from shards.labels import SPLITS, Labels
from shards.progress import Progress

Vectors = dict[str, dict[str, dict[str, Embeddings]]]
"""Label set → contender → feature → embeddings."""


@dataclass(frozen=True)
class Bench:
    """What all judges of an evaluation share.

    Args:
        index: The archive.
        entrants: Who is judged, the trained encoder first.
        protocol: How.
        extraction: How the archive is read and embedded.
        out: Folder of results.
        terms: Seed, device, and where interrupted trainings lie.
    """

    index: Index
    entrants: Sequence[Entrant]
    protocol: Protocol
    extraction: Extraction
    out: Path
    terms: Terms

    def window_s(self, labels: Labels) -> float | None:
        """Length of a label set's windows; None is the encoder's own clip."""
        return self.protocol.window_s or labels.info.get("window_s")


def embed_all(bench: Bench, label_sets: Sequence[Labels]) -> Vectors:
    """All vectors; label sets of one unit and one window length share a pass."""
    vectors: Vectors = {one.name: {} for one in label_sets}
    passes: dict[tuple[Any, float | None], list[Labels]] = {}
    for one in label_sets:
        if one.kind not in OF_TOKENS:
            passes.setdefault((unit_for(one, bench.protocol), bench.window_s(one)), []).append(one)
    for (unit, window_s), some in passes.items():
        rows = np.concatenate([one.rows(split) for one in some for split in SPLITS])
        for contender, network in bench.entrants:
            wanted = {one.name: features_for(one, bench.protocol, network) for one in some}
            found = embed(
                network,
                bench.index,
                rows,
                features=_every(wanted),
                unit=unit,
                window_s=window_s,
                folder=bench.out / "embeddings",
                extraction=bench.extraction,
            )
            for one in some:
                vectors[one.name][contender.id] = {f.name: found[f.name] for f in wanted[one.name]}
    return vectors


def _every(wanted: dict[str, tuple[Feature, ...]]) -> tuple[Feature, ...]:
    return tuple(dict.fromkeys(feature for some in wanted.values() for feature in some))


def judge_all(
    bench: Bench, label_sets: Sequence[Labels], vectors: Vectors
) -> dict[str, list[Verdict]]:
    """Label set → verdicts in the order of the contenders; a probe a core, tokens after them."""
    of_vectors = [
        (one, contender.id, partial(_of_vectors, bench, one, entrant, vectors[one.name]))
        for one in label_sets
        for entrant in bench.entrants
        if (contender := entrant[0]).id in vectors[one.name]
    ]
    of_tokens = [
        (one, entrant[0].id, partial(_of_tokens, bench, one, entrant))
        for one in label_sets
        for entrant in with_frames(bench.entrants)
        if one.kind in OF_TOKENS
    ]
    with Progress("judge", total=len(of_vectors) + len(of_tokens), unit="probes") as bar:
        found = each_on_one_core([work for _, _, work in of_vectors], bar.update)
        for _, _, work in of_tokens:
            found.append(work())
            bar.update()
    if bench.terms.state is not None:
        shutil.rmtree(bench.terms.state, ignore_errors=True)
    verdicts: dict[str, list[Verdict]] = {one.name: [] for one in label_sets}
    for (labels, _, _), verdict in zip([*of_vectors, *of_tokens], found, strict=True):
        verdicts[labels.name].append(verdict)
    return verdicts


def _of_vectors(
    bench: Bench, labels: Labels, entrant: Entrant, vectors: dict[str, dict[str, Embeddings]]
) -> Verdict:
    contender, network = entrant
    features = vectors[contender.id]
    window = window_frames(network, bench.index, bench.window_s(labels))

    def judge(terms: Terms) -> Verdict:
        return judge_vectors(
            labels,
            features,
            window_s=window / bench.index.sample_rate,
            encoder=contender.id,
            folder=bench.out / "selections",
            protocol=bench.protocol,
            terms=terms,
        )

    return _kept(bench, labels, contender.id, embeddings_id(features), judge)


def _of_tokens(bench: Bench, labels: Labels, entrant: Entrant) -> Verdict:
    contender, network = entrant
    tracks = token_tracks(
        network, bench.index, window_s=bench.window_s(labels), extraction=bench.extraction
    )

    def judge(terms: Terms) -> Verdict:
        folder = bench.out / "selections"
        return judge_beats(labels, tracks, encoder=contender.id, folder=folder, terms=terms)

    return _kept(bench, labels, contender.id, tracks.id, judge)


def _kept(
    bench: Bench, labels: Labels, encoder: str, embeddings: str, judge: Callable[[Terms], Verdict]
) -> Verdict:
    """The verdict of an earlier run that was asked the same, or a new one, which is then kept."""
    asked = {
        "label_sha256": labels.info["sha256"],
        "embeddings": embeddings,
        "protocol": {"name": bench.protocol.name, **bench.protocol.settings},
        "seed": bench.terms.seed,
        "versions": [version(name) for name in ("wholetone", "torch", "numpy")],
    }
    selection = selection_path(bench.out / "selections", labels.name, encoder)
    kept = kept_verdict(bench.out, labels, encoder, selection, asked)
    if kept is not None:
        return kept
    terms = bench.terms.below(f"{labels.name}--{encoder}")
    found = judge(terms)
    write_predictions(bench.out, bench.index, found, asked)
    if terms.state is not None:
        shutil.rmtree(terms.state, ignore_errors=True)  # large, and of no more use
    return found
