"""Indexes, rejected inputs and manifest, made from plans and receipts alone; the manifest last."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.near import near_duplicates
from ingest.plan import Plan, plan_paths
from ingest.shard import RECEIPTS, receipt_name, receipt_of
from ingest.versions import our_version
from shards.columns import ColumnFile
from shards.files import fsync_dir, parquet_bytes, publish, read_parquet, sha256_file
from shards.index import fingerprint, sandboxed, with_fingerprint
from shards.names import (
    DATA,
    FINGERPRINTS,
    INDEX,
    MANIFEST,
    REJECTED,
    SEEK,
    of_generation,
    seek_name,
    shard_name,
)
from shards.place import Place, size_of
from shards.schema import FINGERPRINTS_SCHEMA, FORMAT, INDEX_SCHEMA, REJECTED_SCHEMA
from shards.sealed import sealed_bytes

TABLES = {"index": INDEX, "rejected": REJECTED, "fingerprints": FINGERPRINTS}
"""What each generation has a file of: the entry in the manifest, and the first one's name."""

DERIVED = ("row", "duplicate_of", "near_duplicate_of")
"""Columns that depend on the other tracks of the archive."""

FACTS_SCHEMA = pa.schema([f for f in INDEX_SCHEMA if f.name not in DERIVED])


@dataclass(frozen=True)
class Gathered:
    """What all receipts say.

    Args:
        tracks: Facts and place of every track.
        prints: key, fingerprint.
        shards: Entry of each shard for the manifest.
        files: Name → bytes and sha256 of what lies beside the shards.
        rejected: Generation → the inputs that its build did not pack.
    """

    tracks: pa.Table
    prints: pa.Table
    shards: list[dict[str, Any]]
    files: dict[str, dict[str, Any]]
    rejected: list[list[dict[str, Any]]]


def commit(
    out: Place,
    plans: list[Plan],
    before: dict[str, Any] | None,
    *,
    also: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Publish index and rejected inputs of each generation and, last, the manifest.

    Args:
        out: Folder of the archive; all its shards have their receipts.
        plans: Of all generations.
        before: The manifest that is to be replaced: what it vouches for stays as it is.
        also: What the manifest is to say besides, or instead.
    """
    found = gather(out, plans)
    generations = [
        _untouched(out, plan, found, before or {}) or publish_generation(out, plan, found)
        for plan in plans
    ]
    manifest = {**_manifest(out, plans[-1], found, generations), **(also or {})}
    if isinstance(out, Path):
        fsync_dir(out.resolve().parent)  # the name of the archive itself, which can be new
    _publish_new(out / MANIFEST, sealed_bytes(manifest))
    return manifest


def gather(out: Place, plans: list[Plan]) -> Gathered:
    """Read every receipt once, shard by shard."""
    tracks, prints = [FACTS_SCHEMA.empty_table()], [FINGERPRINTS_SCHEMA.empty_table()]
    found = Gathered(tracks[0], prints[0], [], {}, [])
    for plan in plans:
        found.rejected.append([vars(rejected) for rejected in plan.rejected])
        for path in plan_paths(out, plan.generation):
            if path.exists():  # an index of other people's tars has no plan
                found.files[path.name] = _size_and_sha256(path)
        for number in range(plan.first_shard, plan.end_shard):
            receipt = receipt_of(out, number)
            place = {"shard": number, "generation": plan.generation}
            rows = [{**row, **place} for row in receipt["rows"]]
            tracks.append(pa.Table.from_pylist(rows, FACTS_SCHEMA))
            prints.append(_prints(receipt["rows"]))
            found.rejected[-1].extend(receipt["rejected"])
            found.shards.append(_shard_entry(number, plan, receipt))
            name = f"{RECEIPTS}/{receipt_name(number)}"
            found.files[name] = _size_and_sha256(out / name)
            if "seek" in receipt:
                found.files[f"{SEEK}/{seek_name(number)}"] = receipt["seek"]
    return Gathered(
        pa.concat_tables(tracks), pa.concat_tables(prints), found.shards, found.files,
        found.rejected,
    )  # fmt: skip


def _prints(rows: list[dict[str, Any]]) -> pa.Table:
    prints = [
        {"key": row["key"], "fingerprint": base64.b64decode(row["fingerprint"])} for row in rows
    ]
    return pa.Table.from_pylist(prints, FINGERPRINTS_SCHEMA)


def _shard_entry(number: int, plan: Plan, receipt: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": receipt.get("name", f"{DATA}/{shard_name(number)}"),
        "bytes": receipt["bytes"],
        "sha256": receipt["sha256"],
        "tracks": len(receipt["rows"]),
        "generation": plan.generation,
    }


def _untouched(
    out: Place, plan: Plan, found: Gathered, before: dict[str, Any]
) -> dict[str, Any] | None:
    """The entry of a generation whose receipts and tables are as the last manifest says."""
    entries: list[dict[str, Any]] = before.get("generations", [])
    if plan.generation >= len(entries):
        return None
    receipts = [f"{RECEIPTS}/{receipt_name(number)}" for number in range(plan.end_shard)]
    if any(found.files[name] != before["files"].get(name) for name in receipts):
        return None
    entry = entries[plan.generation]
    files = {entry[name]: before["files"][entry[name]] for name in TABLES}
    for name, file in files.items():
        if not (out / name).is_file() or _size_and_sha256(out / name) != file:
            return None
    found.files.update(files)
    return entry


def publish_generation(out: Place, plan: Plan, found: Gathered) -> dict[str, Any]:
    """Write the tables of one generation: its index holds the tracks of all up to it."""
    upto = pc.less_equal(found.tracks["generation"], plan.generation)
    index = index_table(found.tracks.filter(upto), found.prints.filter(upto))
    own = pc.equal(found.tracks["generation"], plan.generation)
    rejected = rejected_table(found.rejected[: plan.generation + 1], index)
    tables = {
        "index": with_fingerprint(index),
        "rejected": rejected,
        "fingerprints": found.prints.filter(own).sort_by("key"),
    }
    names = {what: of_generation(name, plan.generation) for what, name in TABLES.items()}
    for what, table in tables.items():
        path = out / names[what]
        _publish_new(path, parquet_bytes(table))
        found.files[path.name] = _size_and_sha256(path)
    return {
        **names,
        "tracks": index.num_rows,
        "not_packed": rejected.num_rows,
        "sandboxed": int(sandboxed(index).sum()),
        "frames": pc.sum(index["frames"]).as_py() or 0,
        "shards": plan.end_shard,
        "fingerprint": fingerprint(index),
        "index_footer_sha256": ColumnFile(out / names["index"]).footer_sha256,
        "created_by": plan.created_by,
    }


def _publish_new(path: Place, data: bytes) -> None:
    """Publish unless the file has these bytes already: what is whole is never written again."""
    if not path.is_file() or path.read_bytes() != data:
        publish(path, data)


def index_table(tracks: pa.Table, prints: pa.Table) -> pa.Table:
    """One row a track in the order of the keys, each equal or similar one with its original."""
    order = first_of_each(tracks)
    tracks, prints = tracks.take(order), prints.take(order)
    first: dict[str, str] = {}
    keys, samples = tracks["key"].to_pylist(), tracks["pcm_sha256"].to_pylist()
    # The oldest of equal tracks is the original, so that adding tracks never demotes one.
    seniority = pc.sort_indices(tracks, [("generation", "ascending"), ("key", "ascending")])
    for row in seniority.to_pylist():
        first.setdefault(samples[row], keys[row])
    equal = [first[sample] for sample in samples]
    similar = _first_similar(seniority, keys, samples, prints["fingerprint"])
    derived = {
        "row": pa.array(range(len(keys)), pa.int64()),
        "duplicate_of": ["" if a == b else a for a, b in zip(equal, keys, strict=True)],
        "near_duplicate_of": ["" if a == b else a for a, b in zip(similar, keys, strict=True)],
    }
    for name, values in derived.items():
        tracks = tracks.append_column(name, [values])
    return tracks.select(INDEX_SCHEMA.names).cast(INDEX_SCHEMA)


def _first_similar(
    seniority: pa.Array, keys: list[str], samples: list[str], prints: pa.ChunkedArray
) -> list[str]:
    """Key of the oldest track that sounds like each."""
    rows = seniority.to_numpy()
    cluster = near_duplicates(prints.take(seniority), pcm_sha256=[samples[row] for row in rows])
    similar = [""] * len(keys)
    for row, oldest in zip(rows, rows[cluster], strict=True):
        similar[row] = keys[oldest]
    return similar


def check_index(out: Place, plans: list[Plan], manifest: dict[str, Any]) -> str:
    """Why the last index does not hold what the receipts say, "" if it does."""
    tracks = gather(out, plans).tracks
    wanted = tracks.take(first_of_each(tracks))
    index = read_parquet(out / manifest["generations"][-1]["index"])
    same = index.schema == INDEX_SCHEMA and index.select(FACTS_SCHEMA.names).equals(wanted)
    return "" if same else "does not hold what the receipts say"


def first_of_each(tracks: pa.Table) -> pa.Array:
    """Order by key; a track that was tried again and is packed twice counts once."""
    order = pc.sort_indices(tracks, [("key", "ascending"), ("generation", "ascending")])
    keys = tracks["key"].take(order).to_numpy()
    return order.filter(np.append(True, keys[1:] != keys[:-1])[: len(keys)])


def rejected_table(generations: list[list[dict[str, Any]]], index: pa.Table) -> pa.Table:
    """Every input that is not packed with its latest verdict, by path."""
    packed = set(index["key"].to_pylist())
    verdicts = {row["key"]: row for rows in generations for row in rows}
    rows = [row for key, row in verdicts.items() if key not in packed]
    rows.sort(key=lambda row: (row["path"], row["key"]))
    return pa.Table.from_pylist(rows, REJECTED_SCHEMA)


def _size_and_sha256(path: Place) -> dict[str, Any]:
    return {"bytes": size_of(path), "sha256": sha256_file(path)}


def _manifest(
    out: Place, plan: Plan, found: Gathered, generations: list[dict[str, Any]]
) -> dict[str, Any]:
    settings, latest = plan.settings, generations[-1]
    return {
        "format": FORMAT,
        "wholetone": our_version(),
        "created_by": plan.created_by,
        "settings": settings.as_dict(),
        "sample_rate": settings.sample_rate,
        "channels": 1,
        "codec": settings.codec,
        "tracks": latest["tracks"],
        "sandboxed": latest.get("sandboxed", 0),  # in the first archives there were none
        "rejected": latest["not_packed"],
        "others": plan.others,
        "frames": latest["frames"],
        "duration_s": latest["frames"] / settings.sample_rate,
        "licence": settings.licence,
        "shards": found.shards,
        "files": found.files,
        "generations": generations,
        "fingerprint": latest["fingerprint"],
    }
