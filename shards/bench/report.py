"""The measured stages as a table, and the advice; or all of it as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict

from shards.bench.advice import advise, bottleneck
from shards.bench.found import Found
from shards.text import shown

MB = 1e6


def as_json(found: Found) -> str:
    """Everything measured, what limits, and the advice; a rate without bound is null."""
    facts = {**asdict(found), "bottleneck": bottleneck(found), "advice": advise(found)}
    if math.isinf(found.decode):
        facts["decode"] = None
    return json.dumps(facts)


def as_text(found: Found) -> str:
    """A line a stage, then sentences."""
    kib = f"{found.row_bytes / 1024:.0f} KiB read, {found.clip_bytes / 1024:.0f} KiB of samples"
    lines = [f"{shown(found.archive)}: {found.codec}, {found.cores} cores; a row is {kib}", ""]
    lines.append(f"{'stage':<34}{'rows/s':>10}{'MB/s':>9}{'µs a row':>11}{'first s':>9}")
    lines += [_line(*stage) for stage in _stages(found)]
    return "\n".join([*lines, "", *advise(found)])


def _stages(found: Found) -> Iterator[tuple[str, float, float, float | None]]:
    """Name, rows a second, bytes a row, seconds until the first batch."""
    where = "store" if found.remote else "disk"
    yield f"read, {where}", found.read_cold, found.row_bytes, None
    yield "read once more", found.read_warm, found.row_bytes, None
    if math.isfinite(found.decode):
        yield "decode, one process", found.decode, found.clip_bytes, None
    for workers, rate in found.inline.items():
        name = f"stream, {workers} worker{'s' if workers > 1 else ''}"
        yield name, rate, found.clip_bytes, found.inline_first_s[workers]
    if found.ray is not None:
        yield "stream, Ray", found.ray, found.clip_bytes, found.ray_first_s
    if found.to_device is not None:
        yield f"copy to {found.device}", found.to_device, found.clip_bytes, None
    if found.model is not None:
        yield "model", found.model, found.clip_bytes, None


def _line(name: str, rate: float, row_bytes: float, first_s: float | None) -> str:
    first = "" if first_s is None else f"{first_s:.2f}"
    mb_s, each_us = rate * row_bytes / MB, 1e6 / rate
    return f"{name:<34}{rate:>10.1f}{mb_s:>9.1f}{each_us:>11.0f}{first:>9}"
