"""One shard: decoded tracks into a tar, then a receipt; the receipt is the shard's commit point."""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from ingest.pool import Decoded, Outcome
from ingest.scan import Rejected, Source, shown_path
from ingest.settings import Settings
from shards.errors import InputError
from shards.files import publishing, read_json, write_json
from shards.schema import DATA, shard_name

RECEIPTS = "receipts"


def receipt_path(out: Path, number: int) -> Path:
    """Where the receipt of a shard lies."""
    return out / RECEIPTS / f"{Path(shard_name(number)).stem}.json"


def read_receipt(
    out: Path, number: int, settings: Settings, sources: list[Source]
) -> dict[str, Any] | None:
    """The receipt of a shard that is complete on disk and belongs to this slice, else None."""
    try:
        receipt: dict[str, Any] = read_json(receipt_path(out, number))
        size = (out / DATA / shard_name(number)).stat().st_size
    except (InputError, OSError):
        return None
    wanted = {"bytes": size, "slice": slice_sha256(settings, sources)}
    return receipt if wanted.items() <= receipt.items() else None


def slice_sha256(settings: Settings, sources: list[Source]) -> str:
    """Identity of what a shard is made from."""
    digest = hashlib.sha256(json.dumps(settings.as_dict(), sort_keys=True).encode())
    for source in sources:
        digest.update(f"{source.key} {source.size} {source.mtime_ns}\n".encode())
    return digest.hexdigest()


def write_shard(
    out: Path,
    number: int,
    settings: Settings,
    sources: list[Source],
    outcomes: Iterator[Outcome],
) -> dict[str, Any]:
    """Publish the tar of these outcomes and its receipt, which is returned."""
    from webdataset.writer import TarWriter  # loads torch: a second

    rows: list[dict[str, Any]] = []
    rejected: list[Rejected] = []
    path = out / DATA / shard_name(number)
    with publishing(path) as file:
        with TarWriter(file, user="", group="", mtime=0, encoder=False) as tar:
            for outcome in outcomes:
                if isinstance(outcome, Rejected):
                    rejected.append(outcome)
                else:
                    rows.append(_write_track(tar, outcome, settings))
        file.flush()
        _locate(file, rows, settings.codec)
        file.seek(0)
        sha256 = hashlib.file_digest(cast("io.BufferedRandom", file), "sha256").hexdigest()
        size = file.tell()
    receipt = {
        "slice": slice_sha256(settings, sources),
        "bytes": size,
        "sha256": sha256,
        "rows": rows,
        "rejected": [vars(r) for r in rejected],
    }
    write_json(receipt_path(out, number), receipt)
    return receipt


def _write_track(tar: Any, track: Decoded, settings: Settings) -> dict[str, Any]:
    """Add payload and facts of a track; its row of the index, still without a place."""
    row = _facts(track, settings)
    with track.payload as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as payload:
        row["size"] = len(payload)
        member = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        view = memoryview(payload)
        tar.write({"__key__": row["key"], settings.codec: view, "json": member.encode() + b"\n"})
        view.release()
    return row


def _facts(track: Decoded, settings: Settings) -> dict[str, Any]:
    """What is known of a track; constant names and types, no nulls, no lists: loaders infer."""
    path = shown_path(track.source.raw)
    facts = dict(track.facts)
    return {
        **facts,
        "key": track.source.key,
        "source": path,
        "title": facts["title"] or Path(path).stem,
        "codec": settings.codec,
        "sample_rate": settings.sample_rate,
        "channels": 1,
        "duration_s": facts["frames"] / settings.sample_rate,
        "silence_ratio": float(facts["silence_ratio"]),
        "licence": settings.licence,
    }


def _locate(file: IO[bytes], rows: list[dict[str, Any]], codec: str) -> None:
    """Read every payload's place back from the finished tar."""
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as tar:
        places = {member.name: (member.offset_data, member.size) for member in tar}
    for row in rows:
        offset, size = places[f"{row['key']}.{codec}"]
        assert size == row["size"], f"{row['key']}: {size} bytes in the tar, {row['size']} written"
        row["offset"] = offset
