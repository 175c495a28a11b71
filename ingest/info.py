"""What an archive holds, at a glance or as JSON."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from ingest.slow import slow
from ingest.summary import MIB, counts_of, holds
from shards.files import read_parquet, shown
from shards.index import Index
from shards.labels import SPLITS, Labels, label_names
from shards.place import Place, sizes_below

MOST = 6
"""Of a kind, before the rest is counted together."""

CLIPPED, SILENT = 0.001, 0.5
"""Shares of samples and of time from which a track is counted as clipped, as mostly silent."""

QUANTILES = (0.05, 0.5, 0.95)


def facts_of(index: Index) -> dict[str, Any]:
    """Everything that `ingest info` tells."""
    path, manifest = index.path, index.manifest
    rejected = read_parquet(path / manifest["generations"][-1]["rejected"], columns=["code"])
    suffixes = (PurePosixPath(source).suffix.lower() for source in index.column("source"))
    sizes = sizes_below(path)
    return {
        **counts_of(manifest),
        "bytes_on_disk": sum(sizes),
        "files": len(sizes),
        "sources": _counted(suffix.removeprefix(".") or "no suffix" for suffix in suffixes),
        "licences": _counted(text or "not stated" for text in index.column("licence")),
        "rejected_by_code": _counted(rejected["code"].to_pylist()),
        "generations": [entry["tracks"] for entry in manifest["generations"]],
        **_of_samples(index),
        "labels": {name: Labels.open(index, name).info for name in label_names(path)},
    }


def _of_samples(index: Index) -> dict[str, Any]:
    """Lengths, levels, and how many tracks are odd."""
    column = index.column
    return {
        "duration_s": _quantiles(column("duration_s")),
        "rms_db": _quantiles(column("rms_db")),
        "peak_db": _quantiles(column("peak_db")),
        "silence_ratio": _quantiles(column("silence_ratio")),
        "mostly_silent": int((column("silence_ratio") > SILENT).sum()),
        "clipped": int((column("clipped_ratio") > CLIPPED).sum()),
        "truncated": int(column("truncated").sum()),
        "duplicates": int((column("duplicate_of") != "").sum()),
        "near_duplicates": int((column("near_duplicate_of") != "").sum()),
    }


def _quantiles(values: np.ndarray) -> list[float]:
    """5 %, median and 95 %; nothing for no tracks."""
    if not len(values):
        return []
    return [round(float(x), 3) for x in np.quantile(values.astype(np.float64), QUANTILES)]


def _counted(values: Any) -> dict[str, int]:
    """Value → how often, the most frequent first."""
    counts = Counter(values)
    return {name: counts[name] for name in sorted(counts, key=lambda name: (-counts[name], name))}


def of_archive(path: Place | str, *, as_json: bool) -> str:
    """What an archive holds."""
    index = Index.open(path)
    facts = facts_of(index)
    if as_json:
        return json.dumps(facts)
    lines = [holds(index.path, index.manifest), *slow(index.manifest)]
    lines += [f"{name + ':':<10} {text}" for name, text in _told(facts) if text]
    for name, info in facts["labels"].items():
        counts = ", ".join(f"{split} {info['counts'][split]}" for split in SPLITS)
        classes = f", {len(info['classes'])} classes" if info["classes"] else ""
        classes += f", {info['holds']}" if info.get("holds") else ""
        lines.append(f"labels {name}: {info['kind']}{classes}; {counts}; by {info['split']['by']}")
    return "\n".join(lines)


def _told(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and text of each line."""
    odd = ("clipped", "truncated", "mostly_silent")
    copies = {"exact": facts["duplicates"], "near": facts["near_duplicates"]}
    grown = len(facts["generations"]) > 1
    rejected = _list(facts["rejected_by_code"])
    return [
        ("on disk", f"{facts['bytes_on_disk'] / MIB:.1f} MiB in {facts['files']} files"),
        ("lengths", _spread(facts["duration_s"], "s")),
        ("loudness", _spread(facts["rms_db"], "dB RMS of full scale")),
        ("odd", _list({name.replace("_", " "): facts[name] for name in odd if facts[name]})),
        ("copies", _list({name: count for name, count in copies.items() if count})),
        ("sources", _list(facts["sources"])),
        ("licence", _list(facts["licences"])),
        ("rejected", f"{facts['rejected']} ({rejected})" if rejected else "0"),
        ("grown", " → ".join(map(str, facts["generations"])) + " tracks" if grown else ""),
    ]


def _list(counts: dict[str, int]) -> str:
    """Counts in a line."""
    parts = [f"{shown(name)} {count}" for name, count in list(counts.items())[:MOST]]
    more = [f"{len(counts) - MOST} more kinds"] if len(counts) > MOST else []
    return ", ".join(parts + more)


def _spread(quantiles: list[float], unit: str) -> str:
    """Median and range in a line."""
    if not quantiles:
        return ""
    low, middle, high = quantiles
    return f"median {middle:.1f} {unit}; 90 % between {low:.1f} and {high:.1f}"
