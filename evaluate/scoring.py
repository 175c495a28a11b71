"""From verdicts to results: scores, intervals, and how far each stands behind the first."""

from __future__ import annotations

from typing import Any

import numpy as np

from evaluate.bootstrap import half_test, interval, paired_difference
from evaluate.judges import NAMES, SAID
from evaluate.leaks import leaks
from evaluate.metrics import METRICS, judged
from evaluate.predictions import FOLDER
from evaluate.protocols.protocol import Protocol
from evaluate.results import LabelResult, Score, Way
from evaluate.verdict import Verdict
from evaluate.words import remarks
from shards.index import Index
from shards.labels import Labels


def way(protocol: Protocol) -> Way:
    """What is said of a protocol."""
    return Way(
        name=protocol.name,
        about=(type(protocol).__doc__ or "").strip().split("\n")[0],
        settings=protocol.settings,
        paper=protocol.paper,
        deviations=list(protocol.deviations),
        aggregation=protocol.aggregation,
        selects_on_test=protocol.selects_on_test,
    )


def label_result(
    index: Index, labels: Labels, verdicts: list[Verdict], protocol: Protocol, *, seed: int
) -> LabelResult:
    """Scores of the verdicts on one label set, each after the first compared with the first."""
    first = verdicts[0]
    result = LabelResult(
        name=labels.name,
        kind=labels.kind,
        judge=NAMES.get(labels.kind, protocol.name),
        metric=first.metrics[0],
        classes=labels.classes,
        counts=first.counts,
        test_groups=len(np.unique(first.groups)),
        split=labels.info.get("split", {}),
        label_sha256=labels.info["sha256"],
        constant=first.constant,
        scores=[score(verdict, first, seed) for verdict in verdicts],
        leaks=leaks(index, labels),
        remarks=[],
    )
    dropped = int((~judged(first.targets)).sum()) if labels.kind == "tags" else 0
    on_test = protocol.selects_on_test and labels.kind not in NAMES
    result.remarks.extend(remarks(result, dropped=dropped, selects_on_test=on_test))
    if labels.kind in SAID:
        result.remarks.append(SAID[labels.kind])
    return result


def score(verdict: Verdict, trained: Verdict, seed: int) -> Score:
    """How sure a verdict is, and how far behind the trained encoder's."""

    def weighted(of: Verdict) -> Any:
        return lambda weights: METRICS[of.metrics[0]].weighted(of.outputs, of.targets, weights)

    difference = None
    if verdict is not trained:
        difference = paired_difference(
            weighted(trained), weighted(verdict), verdict.groups, seed=seed
        )
    return Score(
        encoder=verdict.encoder,
        scores={
            name: METRICS[name].score(verdict.outputs, verdict.targets) for name in verdict.metrics
        },
        interval=interval(weighted(verdict), verdict.groups, seed=seed),
        half_test=half_test(weighted(verdict), len(verdict.rows), seed=seed),
        behind_trained=difference,
        valid_score=verdict.valid_score,
        chosen=verdict.chosen,
        grid_size=verdict.grid_size,
        embeddings=verdict.embeddings,
        selection=f"selections/{verdict.label}--{verdict.encoder}.json",
        selection_sha256=verdict.selection_sha256,
        predictions=f"{FOLDER}/{verdict.label}--{verdict.encoder}.parquet",
        others=list(verdict.others),
    )
