"""Evaluations that were made, found by their runs, and whether they may be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evaluate.predictions import read_predictions
from evaluate.results import FORMAT
from evaluate.verdict import Verdict
from shards.errors import InputError
from shards.files import read_json, shown
from shards.index import Index
from shards.labels import Labels

RESULTS = "results.json"


@dataclass(frozen=True)
class Judged:
    """An evaluation.

    Args:
        out: Its folder.
        results: What its results.json holds.
        contender: Whose scores are compared.
    """

    out: Path
    results: dict[str, Any]
    contender: str = "trained"

    @property
    def method(self) -> str:
        """What the run was trained with; the encoder's architecture if it does not say."""
        run = self.results["run"].get("run", {})
        return str(run.get("method", self.results["contenders"][0]["architecture"]))

    @property
    def labels(self) -> dict[str, dict[str, Any]]:
        """Label set → its result."""
        return {label["name"]: label for label in self.results["labels"]}

    def score(self, label: str) -> dict[str, Any]:
        """The contender's score on a label set."""
        scores: list[dict[str, Any]] = self.labels[label]["scores"]
        return next(score for score in scores if score["encoder"] == self.contender)


def results_file(run: Path) -> Path | None:
    """results.json of a run, an evaluation's folder or the file itself; None if there is none."""
    for path in (run, run / RESULTS, run / "evaluation" / RESULTS):
        if path.name == RESULTS and path.is_file():
            return path
    return None


def read_run(path: Path) -> Judged:
    """An evaluation by its results.json."""
    results = read_json(path)
    if not isinstance(results, dict) or results.get("format") != FORMAT:
        raise InputError(
            f"{shown(path)} is of another version of wholetone: want format {FORMAT}. "
            "Run the evaluation again."
        )
    return Judged(path.parent, results)


def by_method(
    runs: Sequence[Judged], named: Mapping[str, Sequence[Judged]], *, untrained: bool = False
) -> dict[str, list[Judged]]:
    """Method → its runs: those named as given, the others by what they were trained with.

    With `untrained`, the encoders that each method began with stand as a method of their own.
    """
    methods: dict[str, list[Judged]] = {name: list(some) for name, some in named.items()}
    for run in runs:
        methods.setdefault(run.method, []).append(run)
    if untrained:
        for name, some in list(methods.items()):
            methods[f"{name}, untrained"] = [replace(run, contender="untrained") for run in some]
    if len(methods) < 2:
        raise InputError(
            f"Want runs of at least 2 methods, got {shown(', '.join(methods))} alone. Name them "
            "with --group NAME=RUN,RUN,RUN if one method stands against itself."
        )
    return methods


def common_labels(methods: Mapping[str, Sequence[Judged]], wanted: Sequence[str]) -> list[str]:
    """Label sets that all runs were judged on, in the order of the first; `wanted` must be."""
    runs = [run for some in methods.values() for run in some]
    common = [name for name in runs[0].labels if all(name in run.labels for run in runs)]
    for name in wanted:
        lacking = [run for run in runs if name not in run.labels]
        if lacking:
            raise InputError(
                f"{shown(lacking[0].out)} was not judged on labels {shown(name)}; judge it first."
            )
    if not common:
        raise InputError("The runs have no label set in common, so there is nothing to compare.")
    return list(wanted) or common


def check_comparable(
    methods: Mapping[str, Sequence[Judged]], labels: Sequence[str], index: Index
) -> None:
    """Refuse evaluations of other archives, other targets and splits, or another protocol."""
    runs = [run for some in methods.values() for run in some]
    first = runs[0]
    for run in runs:
        if run.results["archive"]["fingerprint"] != index.fingerprint:
            raise InputError(
                f"{shown(run.out)} was judged on archive {run.results['archive']['name']}, which "
                f"is not {shown(index.path)}: other tracks cannot be paired."
            )
        for key in ("name", "settings"):
            mine, other = run.results["protocol"][key], first.results["protocol"][key]
            if mine != other:
                raise InputError(
                    f"{shown(run.out)} follows protocol {mine}, {shown(first.out)} {other}: their "
                    "scores mean different things. Evaluate both by one --protocol."
                )
        for name in labels:
            if run.labels[name]["label_sha256"] != first.labels[name]["label_sha256"]:
                raise InputError(
                    f"Labels {shown(name)} of {shown(run.out)} have other targets or another split "
                    f"than those of {shown(first.out)}. Evaluate again."
                )
    for method, some in methods.items():
        vectors = [run.score(labels[0])["embeddings"] for run in some]
        if len(set(vectors)) < len(vectors):
            raise InputError(
                f"Two runs of {shown(method)} have the same weights: a training seed counts once."
            )


def verdicts(
    methods: Mapping[str, Sequence[Judged]], labels: Sequence[str], index: Index
) -> dict[str, dict[str, list[Verdict]]]:
    """Label set → method → a verdict a run; test targets open for the written selections."""
    found: dict[str, dict[str, list[Verdict]]] = {}
    for name in labels:
        one = Labels.open(index, name)
        found[name] = {
            method: [
                read_predictions(
                    run.out, one, run.contender, run.out / run.score(name)["selection"]
                )
                for run in some
            ]
            for method, some in methods.items()
        }
    return found
