"""The plan of a build: which file goes into which shard, fixed before anything is decoded.

A shard is a function of its slice of the plan, the settings and the sources' bytes. A track that
turns out to be bad leaves a hole and moves no other, so any run of any shard gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingest.scan import Rejected, Scan, Source, shown_path
from ingest.settings import Settings
from shards.errors import InputError
from shards.files import read_json, read_parquet, sha256_file, shown, write_json, write_parquet

PLAN, PLAN_INFO = "plan.parquet", "plan.json"
MIB = 1 << 20

PLAN_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("raw", pa.binary()),  # relative path as the file system has it
        ("path", pa.string()),  # the same, as it may be shown
        ("kind", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("shard", pa.int32()),
    ]
)

PAYLOAD_SHARE = {"wav": 0.15, "aiff": 0.15, "flac": 0.25, "mp3": 1.0, "ogg": 1.2}
"""Rough FLAC bytes at 16 kHz mono for a byte of source: only decides how full shards get."""


@dataclass(frozen=True)
class Plan:
    """Sources in the order of their keys, the shard of each, and what was left out at once."""

    settings: Settings
    created_by: dict[str, str]
    sources: list[Source]
    shards: list[int]
    rejected: list[Rejected]
    others: int

    @property
    def num_shards(self) -> int:
        """Shards 0 to n - 1, each with at least one source."""
        return len(set(self.shards))

    def by_shard(self) -> dict[int, list[Source]]:
        """Slice of each shard."""
        slices: dict[int, list[Source]] = {}
        for source, shard in zip(self.sources, self.shards, strict=True):
            slices.setdefault(shard, []).append(source)
        return slices


def make_plan(scan: Scan, settings: Settings, created_by: dict[str, str]) -> Plan:
    """Assign sources to shards by their key and size alone."""
    sources = scan.sources[: settings.limit or None]
    keys = [source.key for source in sources]
    if len(set(keys)) != len(keys):
        raise InputError("Two paths have the same key: rename one of them.")  # 2^-128 a pair
    shards = assign(sources, settings)
    return Plan(settings, created_by, sources, shards, scan.rejected, scan.others)


def assign(sources: list[Source], settings: Settings) -> list[int]:
    """Shard of each source: filled in order until the expected payload exceeds `shard_mib`."""
    scale = settings.sample_rate / 16_000 * (2 if settings.codec == "wav" else 1)
    shards, number, filled = [], 0, 0.0
    for source in sources:
        expected = source.size * PAYLOAD_SHARE.get(source.kind, 1.0) * scale
        if filled and filled + expected > settings.shard_mib * MIB:
            number, filled = number + 1, 0.0
        filled += expected
        shards.append(number)
    return shards


def write_plan(out: Path, plan: Plan) -> None:
    """Publish a plan: the table first, then the file that vouches for it."""
    rows = [
        {
            "key": source.key,
            "raw": source.raw,
            "path": shown_path(source.raw),
            "kind": source.kind,
            "size": source.size,
            "mtime_ns": source.mtime_ns,
            "shard": shard,
        }
        for source, shard in zip(plan.sources, plan.shards, strict=True)
    ]
    write_parquet(out / PLAN, pa.Table.from_pylist(rows, PLAN_SCHEMA))
    info = {
        "settings": plan.settings.as_dict(),
        "created_by": plan.created_by,
        "others": plan.others,
        "rejected": [vars(rejected) for rejected in plan.rejected],
        "sha256": sha256_file(out / PLAN),
    }
    write_json(out / PLAN_INFO, info)


def read_plan(out: Path) -> Plan | None:
    """The plan of a folder, None if none was finished."""
    if not (out / PLAN_INFO).exists():
        return None
    info: dict[str, Any] = read_json(out / PLAN_INFO)
    if sha256_file(out / PLAN) != info["sha256"]:
        raise InputError(f"{shown(out / PLAN)} is damaged: delete {shown(out)} and pack again.")
    rows = read_parquet(out / PLAN).to_pylist()
    return Plan(
        settings=Settings(**info["settings"]),
        created_by=info["created_by"],
        sources=[Source(r["raw"], r["size"], r["mtime_ns"], r["kind"]) for r in rows],
        shards=[r["shard"] for r in rows],
        rejected=[Rejected(**r) for r in info["rejected"]],
        others=info["others"],
    )


def check_settings(out: Path, plan: Plan, settings: Settings) -> None:
    """Refuse to go on with other settings than the ones a build began with."""
    begun, asked = plan.settings.as_dict(), settings.as_dict()
    different = [
        f"{name} {begun[name]!r}, asked {asked[name]!r}"
        for name in begun
        if begun[name] != asked[name]
    ]
    if different:
        raise InputError(
            f"{shown(out)} was begun with other settings: {'; '.join(different)}. "
            "Give those, or another --out."
        )


def check_sources(out: Path, plan: Plan, scan: Scan) -> None:
    """Refuse a folder that does not hold what was planned: another one, or a disk that is gone."""
    there = {source.raw for source in scan.sources}
    found = sum(source.raw in there for source in plan.sources)
    if 2 * found < len(plan.sources):
        raise InputError(
            f"{shown(out)} was begun from a folder of which only {found} of {len(plan.sources)} "
            "audio files are here. Give that folder, or another --out."
        )


def new_sources(plan: Plan, scan: Scan) -> int:
    """How many files there are now that the plan does not know."""
    if plan.settings.limit:
        return 0
    known = {source.raw for source in plan.sources}
    return sum(source.raw not in known for source in scan.sources)
