"""One self-contained HTML page, one Markdown page, one table for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from evaluate import words
from evaluate.maps import MAX_POINTS, Map, layout
from evaluate.pictures import (
    CONTENDERS,
    MAX_CLASSES,
    OTHERS,
    class_colours,
    curve_picture,
    map_picture,
    read_curve,
    scores_picture,
)
from evaluate.results import LabelResult, Results, Score
from shards.files import publish, shown

HTML, MARKDOWN = "report.html", "results.md"
WIDE_IN, NARROW_IN = 7.9, 3.75
"""Widths of pictures for a desk and for a telephone."""


def write_report(
    out: Path, results: Results, *, maps: Sequence[Map], metrics: Path, seed: int = 0
) -> Path:
    """Write report.html and results.md below `out`; `metrics` is a run's metrics.jsonl, if any."""
    publish(out / MARKDOWN, markdown(results).encode())
    publish(out / HTML, html(results, maps=maps, metrics=metrics, seed=seed).encode())
    return out / HTML


def html(results: Results, *, maps: Sequence[Map], metrics: Path, seed: int = 0) -> str:
    """The page."""
    environment = Environment(
        loader=PackageLoader("evaluate", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": words.number,
        "span": words.span,
        "metric": words.metric_title,
    }
    curve = read_curve(metrics)
    return environment.get_template("report.html").render(
        results=results,
        title=title(results),
        summary=words.summary(results),
        sentences=sentences(results),
        scores=_both(lambda width: scores_picture(results, width_in=width))
        if results.labels
        else None,
        curve=_both(lambda width: curve_picture(curve, width_in=width)) if len(curve) > 1 else None,
        below_zero=any(s.scores[row.metric] < 0 for row in results.labels for s in row.scores),
        curve_facts=curve_facts(curve),
        maps=map_figures(maps, seed=seed),
        max_points=MAX_POINTS,
        looks=CONTENDERS,
        titles={contender.id: contender.title for contender in results.contenders},
        others_colour=OTHERS,
        run=run_facts(results),
        configuration=configuration,
        protocol=words.protocol(results.protocol),
        curves=words.curves,
        seen=results.archive["fingerprint"] in results.run.get("plan", {}).get("archives", []),
    )


def title(results: Results) -> str:
    """What was judged on what."""
    run = results.run.get("run", {})
    name = str(run.get("method", results.contenders[0].architecture))
    return f"{shown(name)} on {results.archive['name']}"


def sentences(results: Results) -> list[tuple[LabelResult, list[tuple[str, str]]]]:
    """For each label set how the trained encoder stands to each baseline: (verdict, sentence)."""
    by_id = {contender.id: contender for contender in results.contenders}
    return [
        (label, [(words.verdict(s), words.sentence(s, by_id[s.encoder])) for s in label.baselines])
        for label in results.labels
    ]


def configuration(score: Score) -> str:
    """The chosen configuration in a few words."""
    return str(score.chosen["title"])


def curve_facts(curve: Sequence[dict[str, Any]]) -> str:
    """A caption of the learning curve."""
    if len(curve) < 2:
        return ""
    first, last = curve[0], curve[-1]
    text = f"From {first['loss']:.3f} at step {first['step']:,} to {last['loss']:.3f} at step "
    text += f"{last['step']:,}"
    if "samples_seen" in last:
        text += f", {last['samples_seen']:,} tracks seen"
    return text + "."


def run_facts(results: Results) -> list[tuple[str, str]]:
    """What the training run says of itself, name and value."""
    run = results.run.get("run", {})
    wanted = ("method", "encoder", "steps", "batch_size", "lr", "precision", "seed")
    facts = [(name.replace("_", " "), shown(run[name])) for name in wanted if name in run]
    for part in ("method", "view"):
        for name, value in results.run.get(part, {}).items():
            facts.append((f"{part}: {name.replace('_', ' ')}", shown(value)))
    return facts


def map_figures(maps: Sequence[Map], *, seed: int) -> list[dict[str, Any]]:
    """Pictures of the maps with their legends; label sets on the same tracks share a layout."""
    places: dict[bytes, np.ndarray] = {}
    figures = []
    for one in maps:
        thin = one.thinned(seed=seed)
        key = thin.rows.tobytes()
        if key not in places:
            places[key] = layout(thin.vectors, seed=seed)
        colours = class_colours(len(one.classes))
        legend = [(c, shown(n)) for c, n in zip(colours, one.classes, strict=True)]
        figures.append(
            {
                "label": one.label,
                "picture": map_picture(places[key], thin.targets, len(one.classes)),
                "legend": legend[:MAX_CLASSES],
                "others": len(legend[MAX_CLASSES:]),
                "drawn": len(thin.rows),
                "tracks": len(one.rows),
            }
        )
    return figures


def markdown(results: Results) -> str:
    """The table and the plain words as Markdown."""
    lines = [
        f"# {_escaped(title(results))}",
        "",
        words.summary(results),
        "",
        words.protocol(results.protocol),
        "",
        "One training seed.",
        "",
    ]
    header = ["labels", "metric", "encoder", "test", "95 % interval", "half-test", "n", "probe"]
    lines += ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    for row in _rows(results):
        lines.append("| " + " | ".join(row) + " |")
    for label, said in sentences(results):
        lines += ["", f"**{_escaped(label.name)}.** " + " ".join(text for _, text in said)]
        lines += [_escaped(remark) for remark in label.remarks]
        for series, rows in words.curves(label.trained, label.metric):
            lines += ["", f"| {series} | valid | test | draws |", "| --- | --- | --- | --- |"]
            lines += ["| " + " | ".join([_escaped(row[0]), *row[1:]]) + " |" for row in rows]
    for name, reason in results.skipped.items():
        lines += ["", f"Not judged: {_escaped(name)} ({_escaped(reason)})."]
    if results.command:
        lines += ["", "```", shown(results.command), "```"]
    return "\n".join(lines) + "\n"


def _rows(results: Results) -> list[list[str]]:
    titles = {contender.id: contender.title for contender in results.contenders}
    rows = []
    for label in results.labels:
        for score in label.scores:
            half = score.half_test
            rows.append(
                [
                    _escaped(label.name),
                    words.metric_title(label.metric),
                    titles[score.encoder],
                    words.number(score.scores[label.metric]),
                    words.span(score.interval),
                    f"{words.number(half.mean)} ± {words.number(half.std)}",
                    str(label.counts["test"]),
                    configuration(score),
                ]
            )
    return rows


def table(results: Results) -> str:
    """The scores for a terminal, a line a label set, columns aligned."""
    header = ["labels", "metric", *(c.title for c in results.contenders), "n", "against baselines"]
    rows = [header]
    for label in results.labels:
        cells = [label.name, words.metric_title(label.metric)]
        by_id = {score.encoder: _cell(score, label.metric) for score in label.scores}
        cells += [by_id.get(contender.id, "–") for contender in results.contenders]
        stands = "/".join(dict.fromkeys(words.verdict(score) for score in label.baselines))
        rows.append([*cells, str(label.counts["test"]), stands])
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _cell(score: Score, metric: str) -> str:
    value = words.number(score.scores[metric])
    if not math.isfinite(score.interval.low):
        return value
    return f"{value} [{words.number(score.interval.low)}, {words.number(score.interval.high)}]"


def _both(draw: Any) -> dict[str, str]:
    return {"wide": draw(WIDE_IN), "narrow": draw(NARROW_IN)}


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+!|" else c for c in shown(text))
