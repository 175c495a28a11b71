"""The plans of an archive: which file goes into which shard, fixed before anything is decoded.

A shard is a function of its slice of the plan, the settings and the sources' bytes. A track that
turns out to be bad leaves a hole and moves no other, so any run of any shard gives the same bytes.
The first build has plan 0; files that are there later get a plan and shards of their own, a new
generation, and nothing that is packed is touched.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import pyarrow as pa

from ingest.payload import COPY
from ingest.scan import Rejected, Scan, Source, shown_path
from ingest.settings import Settings
from shards.errors import InputError
from shards.files import read_parquet, sha256_file, shown
from shards.manifest import to_repair
from shards.names import of_generation
from shards.place import Place
from shards.sealed import read_sealed, write_vouched

PLAN, PLAN_INFO = "plan.parquet", "plan.json"
MIB = 1 << 20

SHARD_TRACKS = 1_024
"""A shard of tiny tracks ends here, so that what is held of one shard stays small."""

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
class Slice:
    """What a shard is made from."""

    settings: Settings
    sources: list[Source]

    @property
    def sha256(self) -> str:
        """Its identity."""
        decides = {k: v for k, v in self.settings.as_dict().items() if k != "limit"}
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode())
        for source in self.sources:
            digest.update(f"{source.key} {source.size} {source.mtime_ns}\n".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Plan:
    """Sources in the order of their keys, the shard of each, and what was left out at once."""

    generation: int
    first_shard: int
    settings: Settings
    created_by: dict[str, str]
    sources: list[Source]
    shards: list[int]
    rejected: list[Rejected]
    others: int

    @property
    def end_shard(self) -> int:
        """One more than the last shard, each of which has at least one source."""
        return max(self.shards, default=self.first_shard - 1) + 1

    def slices(self) -> dict[int, Slice]:
        """Slice of each shard."""
        slices: dict[int, Slice] = {}
        for source, shard in zip(self.sources, self.shards, strict=True):
            slices.setdefault(shard, Slice(self.settings, [])).sources.append(source)
        return slices


def make_plan(
    scan: Scan, settings: Settings, created_by: dict[str, str], *, after: list[Plan]
) -> Plan:
    """Assign sources to shards by their key and size alone, after the shards of earlier plans."""
    sources, first_shard = scan.sources, after[-1].end_shard if after else 0
    keys = [source.key for source in sources]
    if len(set(keys)) != len(keys):
        raise InputError("Two paths have the same key: rename one of them.")  # 2^-128 a pair
    return Plan(
        generation=len(after),
        first_shard=first_shard,
        settings=settings,
        created_by=created_by,
        sources=sources,
        shards=assign(sources, settings, first_shard),
        rejected=scan.rejected,
        others=scan.others,
    )


def assign(sources: list[Source], settings: Settings, number: int = 0) -> list[int]:
    """Shard of each source: filled in order until the expected payload exceeds `shard_mib`."""
    shards: list[int] = []
    filled, tracks = 0.0, 0
    for source in sources:
        expected = _expected_bytes(source, settings)
        if tracks == SHARD_TRACKS or (tracks and filled + expected > settings.shard_mib * MIB):
            number, filled, tracks = number + 1, 0.0, 0
        filled, tracks = filled + expected, tracks + 1
        shards.append(number)
    return shards


def _expected_bytes(source: Source, settings: Settings) -> float:
    """Payload that a source will come to, roughly; as a copy, exactly."""
    if settings.codec == COPY:
        return source.size
    scale = settings.sample_rate / 16_000 * (2 if settings.codec == "wav" else 1)
    return source.size * PAYLOAD_SHARE.get(source.kind, 1.0) * scale


def write_plan(out: Place, plan: Plan) -> None:
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
    facts = {
        "first_shard": plan.first_shard,
        "settings": plan.settings.as_dict(),
        "created_by": plan.created_by,
        "others": plan.others,
        "rejected": [vars(rejected) for rejected in plan.rejected],
    }
    table = pa.Table.from_pylist(rows, PLAN_SCHEMA)
    write_vouched(*plan_paths(out, plan.generation), table, facts)


def plan_paths(out: Place, generation: int) -> tuple[Place, Place]:
    """Table of a generation's plan, and the file that vouches for it."""
    return out / of_generation(PLAN, generation), out / of_generation(PLAN_INFO, generation)


def read_plans(out: Place) -> list[Plan]:
    """The plans of a folder, generation by generation; none if the first was not finished."""
    plans: list[Plan] = []
    while plan_paths(out, len(plans))[1].exists():
        plans.append(read_plan(out, len(plans)))
    return plans


def read_plan(out: Place, generation: int) -> Plan:
    """The plan of a generation, or an `InputError` that says what to do."""
    table, vouches = plan_paths(out, generation)
    info = read_sealed(vouches, remedy=to_repair(out))
    if not table.exists() or sha256_file(table) != info["sha256"]:
        raise InputError(f"{shown(table)} is missing or damaged. {to_repair(out)}")
    columns = read_parquet(table).to_pydict()
    fields = (columns[name] for name in ("raw", "size", "mtime_ns", "kind"))
    return Plan(
        generation=generation,
        first_shard=info["first_shard"],
        settings=Settings(**info["settings"]),
        created_by=info["created_by"],
        sources=[Source(*values) for values in zip(*fields, strict=True)],
        shards=columns["shard"],
        rejected=[Rejected(**r) for r in info["rejected"]],
        others=info["others"],
    )


def check_settings(out: Place, plan: Plan, settings: Settings) -> None:
    """Refuse to go on with other settings than the ones an archive began with."""
    begun, asked = plan.settings.as_dict(), settings.as_dict()
    different = [
        f"{name} {begun[name]!r}, asked {asked[name]!r}"
        for name in begun
        if name != "limit" and begun[name] != asked[name]
    ]
    if different:
        raise InputError(
            f"{shown(out)} was begun with other settings: {'; '.join(different)}. "
            "Give those, or another --out."
        )


def check_sources(out: Place, plans: list[Plan], scan: Scan) -> None:
    """Refuse a folder that does not hold what was planned: another one, or a disk that is gone."""
    there = {source.raw for source in scan.sources}
    planned = {source.raw for plan in plans for source in plan.sources}
    found = len(planned & there)
    if 2 * found < len(planned):
        raise InputError(
            f"{shown(out)} was begun from a folder of which only {found} of {len(planned)} "
            "audio files are here. Give that folder, or another --out."
        )
