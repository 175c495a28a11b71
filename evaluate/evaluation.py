"""evaluate(): an archive and an encoder in, scores beside baselines out; read downward."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from evaluate.beats import MIN_RATE_HZ
from evaluate.contenders import Entrant, contenders, with_frames
from evaluate.embed import Extraction
from evaluate.embeddings import Embeddings
from evaluate.judges import OF_TOKENS, why_not
from evaluate.judging import Bench, Vectors, embed_all, judge_all
from evaluate.maps import Map
from evaluate.protocols import build_protocol
from evaluate.protocols.protocol import Protocol, Terms
from evaluate.report import write_report
from evaluate.results import Results
from evaluate.scoring import label_result, way
from shards.cache import Cache
from shards.errors import InputError
from shards.files import read_json, shown, write_json
from shards.index import Index
from shards.labels import Labels, label_names
from shards.place import Place
from train.checkpoint import load_encoder

PACKAGES = ("wholetone", "torch", "torchaudio", "numpy", "scikit-learn")


def evaluate(
    shards: Place | str,
    encoder: Path | str,
    *,
    labels: Sequence[str] = (),
    out: Path | None = None,
    protocol: Protocol | None = None,
    extraction: Extraction | None = None,
    seed: int = 0,
    command: str = "",
    cache: Cache | None = None,
) -> Results:
    """Judge an encoder on the labels of an archive; results and report go to `out`.

    Args:
        shards: Archive made by `ingest build-shards`, here or in an object store.
        encoder: Run or encoder folder that `load_encoder` reads.
        labels: Label sets; all of the archive's if empty.
        out: Folder of results, `evaluation` below the encoder's if None.
        protocol: How; `linear` if None.
        extraction: How embeddings are computed.
        seed: Of heads and draws, and of the untrained encoder if the run names no seed.
        command: What the report says made it.
        cache: Of this node, for an archive in an object store.
    """
    began_s = time.monotonic()
    index, folder = Index.open(shards, cache=cache), Path(encoder)
    out, extraction = out or folder / "evaluation", extraction or Extraction()
    protocol = protocol or build_protocol("linear")
    label_sets, skipped = choose_labels(index, labels, protocol)
    run = read_json(folder / "run.json") if (folder / "run.json").is_file() else {}
    run_seed = run.get("run", {}).get("seed", seed)
    entrants = contenders(load_encoder(folder), index, seed=run_seed, device=extraction.device)
    out.mkdir(parents=True, exist_ok=True)

    terms = Terms(seed, extraction.device, out / "state")
    bench = Bench(index, entrants, protocol, extraction, out, terms)
    label_sets, frameless = those_heard(label_sets, entrants)
    vectors = embed_all(bench, label_sets)
    label_sets, unread = judgeable(
        label_sets, protocol, lambda one: _known(index, vectors[one.name])
    )
    verdicts = judge_all(bench, label_sets, vectors)
    found = [label_result(index, o, verdicts[o.name], protocol, seed=seed) for o in label_sets]
    maps = [
        Map.of(one, verdicts[one.name][0], vectors[one.name]["trained"])
        for one in label_sets
        if one.kind in ("class", "key") and protocol.unit == "track"
    ]

    results = Results(
        command=command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=seed,
        protocol=way(protocol),
        archive=archive_facts(index),
        run=run,
        versions={name: version(name) for name in PACKAGES},
        extraction=asdict(extraction),
        contenders=[contender for contender, _ in entrants],
        labels=found,
        skipped=skipped | frameless | unread,
        unread=_unread(index, vectors),
        seconds=time.monotonic() - began_s,
    )
    write_json(out / "results.json", results.to_json())
    write_report(out, results, maps=maps, metrics=folder / "metrics.jsonl", seed=seed)
    return results


def choose_labels(
    index: Index, names: Sequence[str], protocol: Protocol
) -> tuple[list[Labels], dict[str, str]]:
    """The label sets that can be judged, and why the others cannot."""
    names = list(dict.fromkeys(names)) or label_names(index.path)
    if not names:
        raise InputError(
            f"{shown(index.path)} has no labels to judge by. Join some first: "
            f"`ingest labels {shown(index.path)} FILE --name NAME`, FILE a CSV or Parquet file "
            "with a column of paths and one of labels."
        )
    every_row = np.ones(len(index), bool)
    label_sets = [Labels.open(index, name) for name in names]
    return judgeable(label_sets, protocol, lambda _: every_row)


def judgeable(
    label_sets: Sequence[Labels], protocol: Protocol, known: Callable[[Labels], np.ndarray]
) -> tuple[list[Labels], dict[str, str]]:
    """Label sets that `known` tracks (bool, by index row) can judge, and why the others cannot."""
    reasons = {one.name: why_not(one, known(one), protocol) for one in label_sets}
    skipped = {name: reason for name, reason in reasons.items() if reason}
    return [one for one in label_sets if one.name not in skipped], skipped


def those_heard(
    label_sets: Sequence[Labels], entrants: Sequence[Entrant]
) -> tuple[list[Labels], dict[str, str]]:
    """Label sets that the encoder can be judged on, and those that want tokens it does not give."""
    if with_frames(entrants[:1]):
        return list(label_sets), {}
    why = (
        f"encoder {entrants[0][0].architecture} gives no tokens in time, or fewer than "
        f"{MIN_RATE_HZ:g} a second"
    )
    frameless = {one.name: why for one in label_sets if one.kind in OF_TOKENS}
    return [one for one in label_sets if one.name not in frameless], frameless


def archive_facts(index: Index) -> dict[str, Any]:
    """What a reader should know of the audio."""
    licences = sorted(set(index.column("licence").tolist()) - {""})
    return {
        "name": shown(index.path.resolve().name),
        "tracks": len(index),
        "hours": float(index.column("duration_s").sum() / 3600),
        "sample_rate": index.sample_rate,
        "licence": [shown(name) for name in licences],
        "fingerprint": index.fingerprint,
    }


def _embeddings(vectors: dict[str, dict[str, Embeddings]]) -> list[Embeddings]:
    return [one for mine in vectors.values() for one in mine.values()]


def _known(index: Index, vectors: dict[str, dict[str, Embeddings]]) -> np.ndarray:
    """Index rows, bool [N], that every encoder has a vector for."""
    rows, known = np.arange(len(index)), np.ones(len(index), bool)
    for one in _embeddings(vectors):
        known &= one.known(rows)
    return known


def _unread(index: Index, vectors: Vectors) -> list[str]:
    """Sources of the tracks of which no window could be read."""
    every = [one for mine in vectors.values() for one in _embeddings(mine)]
    rows = sorted({int(row) for one in every for row in one.unread})
    return [shown(index.column("source")[row]) for row in rows]
