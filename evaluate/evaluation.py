"""evaluate(): an archive and an encoder in, scores beside two baselines out; read downward."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from evaluate.baselines import LogMelStatistics, untrained
from evaluate.bootstrap import half_test, interval, paired_difference
from evaluate.embed import Embedder, Extraction, embed_tracks, window_frames
from evaluate.embeddings import Embeddings
from evaluate.maps import Map
from evaluate.metrics import METRICS, judged
from evaluate.parallel import each_on_one_core
from evaluate.probe import Verdict, judge, objection
from evaluate.report import write_report
from evaluate.results import Contender, LabelResult, Results, Score
from evaluate.words import remarks
from shards.cache import Cache
from shards.errors import InputError
from shards.files import read_json, shown, write_json
from shards.index import Index
from shards.labels import SPLITS, Labels, label_names
from shards.place import Place
from shards.progress import Progress
from train.checkpoint import load_encoder

PACKAGES = ("wholetone", "torch", "torchaudio", "numpy", "scikit-learn")


def evaluate(
    shards: Place | str,
    encoder: Path | str,
    *,
    labels: Sequence[str] = (),
    out: Path | None = None,
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
        extraction: How embeddings are computed.
        seed: Of heads and draws, and of the untrained encoder if the run names no seed.
        command: What the report says made it.
        cache: Of this node, for an archive in an object store.
    """
    began_s = time.monotonic()
    index, folder = Index.open(shards, cache=cache), Path(encoder)
    out, extraction = out or folder / "evaluation", extraction or Extraction()
    label_sets, skipped = choose_labels(index, labels)
    run = read_json(folder / "run.json") if (folder / "run.json").is_file() else {}
    run_seed = run.get("run", {}).get("seed", seed)
    encoders = contenders(load_encoder(folder), index, seed=run_seed, device=extraction.device)
    out.mkdir(parents=True, exist_ok=True)

    vectors = embed_all(encoders, index, label_sets, out / "embeddings", extraction)
    label_sets, unread = judgeable(label_sets, lambda one: _known(index, vectors[one.name]))
    verdicts = judge_all(label_sets, vectors, out / "selections", seed=seed)
    found = [label_result(one, verdicts[one.name], seed=seed) for one in label_sets]
    maps = [
        Map.of(one, verdicts[one.name][0], vectors[one.name]["trained"])
        for one in label_sets
        if one.kind == "class"
    ]

    results = Results(
        command=command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=seed,
        archive=archive_facts(index),
        run=run,
        versions={name: version(name) for name in PACKAGES},
        extraction=asdict(extraction),
        contenders=[contender for contender, _ in encoders],
        labels=found,
        skipped=skipped | unread,
        unread=_unread(index, [v for mine in vectors.values() for v in mine.values()]),
        seconds=time.monotonic() - began_s,
    )
    write_json(out / "results.json", results.to_json())
    write_report(out, results, maps=maps, metrics=folder / "metrics.jsonl", seed=seed)
    return results


def choose_labels(index: Index, names: Sequence[str]) -> tuple[list[Labels], dict[str, str]]:
    """The label sets that can be judged, and why the others cannot."""
    names = list(dict.fromkeys(names)) or label_names(index.path)
    if not names:
        raise InputError(
            f"{shown(index.path)} has no labels to judge by. Join some first: "
            f"`ingest labels {shown(index.path)} FILE --name NAME`, FILE a CSV or Parquet file "
            "with a column of paths and one of labels."
        )
    every_row = np.ones(len(index), bool)
    return judgeable([Labels.open(index, name) for name in names], lambda _: every_row)


def judgeable(
    label_sets: Sequence[Labels], known: Callable[[Labels], np.ndarray]
) -> tuple[list[Labels], dict[str, str]]:
    """Label sets that `known` tracks (bool, by index row) can judge, and why the others cannot."""
    reasons = {one.name: objection(one, known(one)) for one in label_sets}
    skipped = {name: reason for name, reason in reasons.items() if reason}
    return [one for one in label_sets if one.name not in skipped], skipped


def contenders(
    encoder: nn.Module, index: Index, *, seed: int, device: str
) -> list[tuple[Contender, Embedder]]:
    """The encoder, itself untrained, and statistics of the log-mel over the same windows."""
    trained: Any = encoder.to(device)
    origin: Any = untrained(trained, seed=seed)
    statistics = LogMelStatistics(
        sample_rate=index.sample_rate, clip_frames=window_frames(trained, index)
    )
    return [
        (_contender("trained", "Trained encoder", trained), trained),
        (_contender("untrained", "Untrained encoder", origin), origin.to(device)),
        (_contender("log-mel", "Log-mel statistics", statistics), statistics.to(device)),
    ]


def _contender(id_: str, title: str, network: Any) -> Contender:
    weights = sum(weight.numel() for weight in network.parameters())
    return Contender(id_, title, network.name, network.dim, weights)


def embed_all(
    encoders: Sequence[tuple[Contender, Embedder]],
    index: Index,
    label_sets: Sequence[Labels],
    folder: Path,
    extraction: Extraction,
) -> dict[str, dict[str, Embeddings]]:
    """Label set → contender → embeddings; label sets of one window length share them."""
    vectors: dict[str, dict[str, Embeddings]] = {one.name: {} for one in label_sets}
    for window_s in dict.fromkeys(one.info.get("window_s") for one in label_sets):
        some = [one for one in label_sets if one.info.get("window_s") == window_s]
        rows = np.concatenate([one.rows(split) for one in some for split in SPLITS])
        for contender, network in encoders:
            shared = embed_tracks(
                network, index, rows, folder=folder, window_s=window_s, extraction=extraction
            )
            for one in some:
                vectors[one.name][contender.id] = shared
    return vectors


def judge_all(
    label_sets: Sequence[Labels],
    vectors: dict[str, dict[str, Embeddings]],
    folder: Path,
    *,
    seed: int,
) -> dict[str, list[Verdict]]:
    """Label set → verdicts in the order of the contenders; a probe a core."""
    pairs = [(one, name) for one in label_sets for name in vectors[one.name]]
    work = [
        partial(judge, one, vectors[one.name][name], encoder=name, folder=folder, seed=seed)
        for one, name in pairs
    ]
    with Progress("judge", total=len(work), unit="probes") as bar:
        verdicts = each_on_one_core(work, bar.update)
    return {
        one.name: [v for v, (labels, _) in zip(verdicts, pairs, strict=True) if labels is one]
        for one in label_sets
    }


def label_result(labels: Labels, verdicts: list[Verdict], *, seed: int) -> LabelResult:
    """Scores of the verdicts on one label set, each after the first compared with the first."""
    first = verdicts[0]
    metric = METRICS[first.choice.task.metrics[0]]
    constant = first.choice.task.constant(len(first.rows))
    result = LabelResult(
        name=labels.name,
        kind=labels.kind,
        metric=first.choice.task.metrics[0],
        classes=labels.classes,
        counts=first.counts,
        test_groups=len(np.unique(first.groups)),
        split=labels.info.get("split", {}),
        label_sha256=labels.info["sha256"],
        constant=metric.score(constant, first.targets),
        scores=[score(verdict, first, seed) for verdict in verdicts],
        remarks=[],
    )
    dropped = int((~judged(first.targets)).sum()) if labels.kind == "tags" else 0
    result.remarks.extend(remarks(result, dropped=dropped))
    return result


def score(verdict: Verdict, trained: Verdict, seed: int) -> Score:
    """How sure a verdict is, and how far behind the trained encoder's."""
    metrics = verdict.choice.task.metrics

    def weighted(of: Verdict) -> Any:
        return lambda weights: METRICS[metrics[0]].weighted(of.outputs, of.targets, weights)

    difference = None
    if verdict is not trained:
        difference = paired_difference(
            weighted(trained), weighted(verdict), verdict.groups, seed=seed
        )
    return Score(
        encoder=verdict.encoder,
        scores={name: METRICS[name].score(verdict.outputs, verdict.targets) for name in metrics},
        interval=interval(weighted(verdict), verdict.groups, seed=seed),
        half_test=half_test(weighted(verdict), len(verdict.rows), seed=seed),
        behind_trained=difference,
        valid_score=verdict.choice.valid_score,
        chosen=asdict(verdict.choice.head.configuration),
        grid_size=len(verdict.choice.trials),
        embeddings=verdict.embeddings,
        selection=f"selections/{verdict.label}--{verdict.encoder}.json",
        selection_sha256=verdict.selection_sha256,
    )


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


def _known(index: Index, embeddings: dict[str, Embeddings]) -> np.ndarray:
    """Index rows, bool [N], that every encoder has a vector for."""
    rows = np.arange(len(index))
    return np.asarray(np.all([vectors.known(rows) for vectors in embeddings.values()], axis=0))


def _unread(index: Index, embeddings: list[Embeddings]) -> list[str]:
    rows = sorted({int(row) for vectors in embeddings for row in vectors.unread})
    return [shown(index.column("source")[row]) for row in rows]
