"""`evaluate compare RUN … --shards SHARDS`: which method beats which."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from tyro.conf import Positional

from shards.errors import InputError

if TYPE_CHECKING:
    from evaluate.runs import Judged


@dataclass(frozen=True)
class Comparison:
    """Compare methods by runs that were judged: paired, over training seeds and test tracks.

    Args:
        shards: The archive they are judged on.
        runs: Runs, folders of evaluations or results.json files; runs of one method are its
            training seeds. A run that was not judged yet is judged first.
        labels: Label sets to compare by; all that the runs have in common if none is named.
        group: NAME=RUN,RUN,RUN puts runs under a name of their own, beside the others.
        untrained: Put beside each method the untrained encoders it began with.
        out: Folder of comparison.json and comparison.html.
        protocol: For runs that were not judged yet.
        draws: Of test groups and of training seeds.
        seed: Of the draws.
    """

    shards: str
    runs: Positional[tuple[Path, ...]] = ()
    labels: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    untrained: bool = False
    out: Path = Path("comparison")
    protocol: str = "linear"
    draws: int = 2000
    seed: int = 0


def compare_command(args: list[str]) -> None:
    """Compare as the flags say, print a table, write JSON and a page."""
    flags = tyro.cli(Comparison, args=args, prog="evaluate compare")
    from evaluate.compare import compare
    from evaluate.comparison import table, write_comparison
    from evaluate.runs import by_method, check_comparable, common_labels, verdicts
    from shards.files import shown
    from shards.index import Index

    index = Index.open(flags.shards)
    named = {name: [_judged(path, flags) for path in some] for name, some in _groups(flags.group)}
    runs = [_judged(path, flags) for path in flags.runs]
    methods = by_method(runs, named, untrained=flags.untrained)
    labels = common_labels(methods, flags.labels)
    check_comparable(methods, labels, index)
    pairs = compare(verdicts(methods, labels, index), draws=flags.draws, seed=flags.seed)
    command = shlex.join(["evaluate", "compare", *args])
    page = write_comparison(flags.out, methods, pairs, command=command, draws=flags.draws)
    print(table(pairs))
    print(f"report: {shown(page)}")


def _groups(given: tuple[str, ...]) -> list[tuple[str, list[Path]]]:
    groups = []
    for text in given:
        name, _, runs = text.partition("=")
        if not name or not runs:
            raise InputError(f"Want --group NAME=RUN,RUN,RUN, got {text!r}.")
        groups.append((name, [Path(path) for path in runs.split(",")]))
    return groups


def _judged(path: Path, flags: Comparison) -> Judged:
    """The evaluation of a run, made now if there is none."""
    from evaluate.evaluation import evaluate
    from evaluate.protocols import build_protocol
    from evaluate.runs import RESULTS, read_run, results_file

    found = results_file(path)
    if found is None:
        out = path / "evaluation"
        protocol = build_protocol(flags.protocol)
        evaluate(flags.shards, path, labels=flags.labels, out=out, protocol=protocol)
        found = out / RESULTS
    return read_run(found)
