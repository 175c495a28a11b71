"""A comparison for the terminal, as JSON and as a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from evaluate import words
from evaluate.compare import MIN_SEEDS, Method, Pair
from evaluate.results import plain
from evaluate.runs import Judged
from shards.files import publish, shown, write_json

JSON, HTML = "comparison.json", "comparison.html"


def write_comparison(
    out: Path,
    methods: Mapping[str, Sequence[Judged]],
    pairs: Sequence[Pair],
    *,
    command: str,
    draws: int,
) -> Path:
    """Write comparison.json and comparison.html below `out`."""
    out.mkdir(parents=True, exist_ok=True)
    first = next(iter(methods.values()))[0].results
    facts = {
        "command": command,
        "archive": first["archive"],
        "protocol": first["protocol"],
        "draws": draws,
        "rule": rule(draws),
        "methods": {name: [_of_run(run) for run in some] for name, some in methods.items()},
        "pairs": [{**plain(pair), "survives_holm": pair.survives} for pair in pairs],
    }
    write_json(out / JSON, plain(facts))
    publish(out / HTML, html(facts, pairs).encode())
    return out / HTML


def html(facts: Mapping[str, Any], pairs: Sequence[Pair]) -> str:
    """The page."""
    environment = Environment(
        loader=PackageLoader("evaluate", "."), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {"number": words.number, "span": words.span, "shown": shown}
    return environment.get_template("comparison.html").render(
        **facts, rows=pairs, sentence=sentence, spread=spread, metric=words.metric_title,
        on_test=words.ON_TEST,
    )  # fmt: skip


def rule(draws: int) -> str:
    """What "beats" means."""
    return (
        f"A beats B: the 95 % interval of the paired difference on the same test tracks, by "
        f"{draws} draws of groups of tracks and of training seeds, at least {MIN_SEEDS} a method, "
        "lies above zero. p is two-sided; Holm corrects it for all pairs of this comparison."
    )


def table(pairs: Sequence[Pair]) -> str:
    """A line a pair, columns aligned, and below what they say."""
    header = ["labels", "metric", "first", "", "second", "", "difference", "p", "p, Holm", ""]
    rows = [header]
    for pair in pairs:
        difference = f"{words.number(pair.difference.value)} [{words.span(pair.difference)}]"
        rows.append(
            [
                shown(pair.label),
                words.metric_title(pair.metric),
                shown(pair.first.name),
                spread(pair.first),
                shown(pair.second.name),
                spread(pair.second),
                difference.replace("\N{NO-BREAK SPACE}", " "),
                words.number(pair.p),
                words.number(pair.p_holm),
                sentence(pair),
            ]
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def sentence(pair: Pair) -> str:
    """How the two stand."""
    if pair.stands == "beats":
        holds = "also after Holm" if pair.survives else "not after Holm"
        return f"{shown(pair.first.name)} beats {shown(pair.second.name)}, {holds}"
    return pair.stands


def spread(method: Method) -> str:
    """Mean and deviation over training seeds, and how many."""
    deviation = f" ± {words.number(method.std)}" if math.isfinite(method.std) else ""
    seeds = len(method.scores)
    return f"{words.number(method.mean)}{deviation} ({seeds} seed{'s' if seeds > 1 else ''})"


def _of_run(run: Judged) -> dict[str, Any]:
    """What a reader needs to find a run again."""
    return {
        "folder": shown(run.out),
        "seed": run.results["run"].get("run", {}).get("seed"),
        "selections": {name: run.score(name)["selection_sha256"] for name in run.labels},
    }
