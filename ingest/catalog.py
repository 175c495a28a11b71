"""Index, rejected inputs and manifest, made from receipts alone; the manifest comes last."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingest.plan import Plan
from ingest.sniff import is_installed
from shards.files import json_bytes, publish, sha256_file, write_parquet
from shards.index import fingerprint
from shards.schema import (
    DATA,
    FORMAT,
    INDEX,
    INDEX_SCHEMA,
    MANIFEST,
    REJECTED,
    REJECTED_SCHEMA,
    shard_name,
)

PACKAGES = ("numpy", "pyarrow", "soundfile", "soxr", "tinytag", "webdataset")


def created_by() -> dict[str, str]:
    """Versions that an archive's bytes can depend on."""
    import soundfile

    versions = {name: version(name) for name in (*PACKAGES, *(["av"] if is_installed() else []))}
    return {
        **versions,
        "libsndfile": soundfile.__libsndfile_version__,
        "python": platform.python_version(),
    }


def commit(out: Path, plan: Plan, receipts: list[dict[str, Any]]) -> dict[str, Any]:
    """Publish index, rejected inputs and, last, the manifest, which is returned."""
    index = index_table(receipts)
    write_parquet(out / INDEX, index)
    write_parquet(out / REJECTED, rejected_table(plan, receipts))
    manifest = _manifest(out, plan, receipts, index)
    publish(out / MANIFEST, json_bytes(manifest))
    return manifest


def index_table(receipts: list[dict[str, Any]]) -> pa.Table:
    """One row a track in the order of the keys; the first of equal tracks is the original."""
    rows = [
        {**row, "shard": shard} for shard, receipt in enumerate(receipts) for row in receipt["rows"]
    ]
    rows.sort(key=lambda row: str(row["key"]))
    first: dict[str, str] = {}
    for number, row in enumerate(rows):
        original = first.setdefault(row["pcm_sha256"], row["key"])
        row["duplicate_of"] = "" if original == row["key"] else original
        row["row"] = number
    return pa.Table.from_pylist(rows, INDEX_SCHEMA)


def rejected_table(plan: Plan, receipts: list[dict[str, Any]]) -> pa.Table:
    """Every input that was not packed, by path."""
    rows = [vars(rejected) for rejected in plan.rejected]
    rows += [rejected for receipt in receipts for rejected in receipt["rejected"]]
    return pa.Table.from_pylist(sorted(rows, key=lambda row: str(row["path"])), REJECTED_SCHEMA)


def _manifest(
    out: Path, plan: Plan, receipts: list[dict[str, Any]], index: pa.Table
) -> dict[str, Any]:
    shards = [
        {
            "name": f"{DATA}/{shard_name(number)}",
            "bytes": receipt["bytes"],
            "sha256": receipt["sha256"],
            "tracks": len(receipt["rows"]),
        }
        for number, receipt in enumerate(receipts)
    ]
    files = {
        name: {"bytes": (out / name).stat().st_size, "sha256": sha256_file(out / name)}
        for name in (INDEX, REJECTED)
    }
    frames = sum(index["frames"].to_pylist())
    return {
        "format": FORMAT,
        "wholetone": _our_version(),
        "created_by": plan.created_by,
        "settings": plan.settings.as_dict(),
        "sample_rate": plan.settings.sample_rate,
        "channels": 1,
        "codec": plan.settings.codec,
        "tracks": index.num_rows,
        "rejected": len(plan.rejected) + sum(len(r["rejected"]) for r in receipts),
        "others": plan.others,
        "frames": frames,
        "duration_s": frames / plan.settings.sample_rate,
        "licence": plan.settings.licence,
        "shards": shards,
        "files": files,
        "fingerprint": fingerprint(index),
    }


def _our_version() -> str:
    try:
        return version("wholetone")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "unknown"
