"""The table of a benchmark of streams: medians, and medians of ratios round by round."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

from scripts.bench.streams.contents import Streamer

Runs = dict[str, list[dict[str, Any]]]
"""Name of a stream → what each of its runs has measured."""


def ratio(runs: Runs, above: str, below: str, of: Callable[[dict[str, Any]], float]) -> float:
    """Median of the ratios round by round, not a number if one was not measured."""
    if above not in runs or below not in runs:
        return float("nan")
    pairs = zip(runs[above], runs[below], strict=True)
    return median(of(a) / of(b) for a, b in pairs)


def rate(facts: dict[str, Any]) -> float:
    """Views a second."""
    return float(facts["views_per_s"])


def cpu(facts: dict[str, Any]) -> float:
    """Processor seconds a view."""
    return float(facts["cpu_s_per_view"])


def columns(runs: Runs, streamers: dict[str, Streamer], name: str) -> dict[str, float]:
    """What the table says of a stream."""
    of, limit = runs[name], streamers[name].limit
    return {
        "views/s": median(map(rate, of)),
        "of limit": ratio(runs, name, limit, rate),
        "of bare": ratio(runs, name, "bare", rate),
        "inline is": ratio(runs, "inline", name, rate),
        "CPU ms": 1e3 * median(map(cpu, of)),
        "of limit's": ratio(runs, name, limit, cpu),
        "cold s": of[0]["first_s"],
        "warm s": median([one["first_s"] for one in of[1:]] or [float("nan")]),
        "again s": of[0].get("again_s", float("nan")),
        "MiB": max(mib for one in of for _, mib in one["memory_mib"] or [(0, 0)]),
    }


def table(runs: Runs, streamers: dict[str, Streamer]) -> Iterator[str]:
    """A line for each stream."""
    lines = {name: columns(runs, streamers, name) for name in runs}
    for number, (name, line) in enumerate(lines.items()):
        if not number:
            yield f"{'':<18}" + "".join(f"{title:>11}" for title in line)
        yield f"{name:<18}" + "".join(f"{value:>11.{digits(value)}f}" for value in line.values())


def digits(value: float) -> int:
    """Places behind the point."""
    return 0 if value >= 100 else 2
