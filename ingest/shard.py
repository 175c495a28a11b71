"""One shard: decoded tracks into a tar, then a receipt; the receipt is the shard's commit point."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ingest.asis import codec_of
from ingest.payload import COPY
from ingest.plan import Slice
from ingest.pool import Decoded, Outcome
from ingest.scan import Rejected, shown_path
from ingest.settings import Settings
from ingest.sniff import HEAD_BYTES
from ingest.tar import Hashed, in_large_pieces, tar_writer
from shards.errors import InputError
from shards.files import publish, publishing
from shards.manifest import to_repair
from shards.names import DATA, SEEK, seek_name, shard_name
from shards.place import Place, size_of
from shards.schema import payload_name
from shards.sealed import read_sealed, write_sealed

if TYPE_CHECKING:
    from webdataset.writer import TarWriter

RECEIPTS = "receipts"


def receipt_name(number: int) -> str:
    """File name of a shard's receipt below `receipts/`."""
    return f"{Path(shard_name(number)).stem}.json"


def receipt_of(out: Place, number: int) -> dict[str, Any]:
    """The receipt of a shard: what its tar holds and where, and what was refused."""
    return read_sealed(out / RECEIPTS / receipt_name(number), remedy=to_repair(out))


def is_complete(out: Place, number: int, part: Slice) -> bool:
    """Whether a shard and its receipt are on disk and belong to this slice of the plan."""
    try:
        receipt = receipt_of(out, number)
        size = size_of(out / DATA / shard_name(number))
        if "seek" in receipt and receipt["seek"]["bytes"] != size_of(_seek_path(out, number)):
            return False
    except (InputError, OSError):
        return False
    return {"bytes": size, "slice": part.sha256}.items() <= receipt.items()


def write_shard(
    out: Place,
    number: int,
    part: Slice,
    outcomes: Iterator[Outcome],
) -> None:
    """Publish the tar of these outcomes, its seek table and, last, its receipt."""
    settings = part.settings
    rows: list[dict[str, Any]] = []
    rejected: list[Rejected] = []
    seeks: list[np.ndarray] = []
    with publishing(out / DATA / shard_name(number)) as file:
        hashed = Hashed(file)
        with tar_writer()(hashed, user="", group="", mtime=0, encoder=False) as writer:
            tar = in_large_pieces(writer, hashed)
            for source, outcome in zip(part.sources, outcomes, strict=True):
                if isinstance(outcome, Rejected):
                    rejected.append(outcome)
                    outcome.key = source.key
                else:
                    rows.append(_write_track(tar, outcome, settings))
                    seeks.append(outcome.seek)
        file.flush()
        _locate(file, rows)
    receipt = {
        "slice": part.sha256,
        "bytes": hashed.bytes,
        "sha256": hashed.sha256.hexdigest(),
        "rows": rows,
        "rejected": [vars(r) for r in rejected],
    }
    if settings.codec == COPY:
        receipt["copied"] = True
    if settings.codec == "flac":
        receipt["seek"] = _write_seek(out, number, rows, seeks)
    write_sealed(out / RECEIPTS / receipt_name(number), receipt)


def _write_track(tar: TarWriter, track: Decoded, settings: Settings) -> dict[str, Any]:
    """Add payload and facts of a track; its row of the index, still without a place."""
    row = facts_of(track, settings)
    with track.payload as payload:
        row["size"] = payload.seek(0, io.SEEK_END)
        payload.seek(0)
        # As TarWriter writes a member, but copied piece by piece: a payload can be large.
        member = tarfile.TarInfo(payload_name(row["key"], row["codec"]))
        member.size, member.mode, member.mtime = row["size"], tar.mode, tar.mtime
        tar.tarstream.addfile(member, payload)
    facts = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    tar.write({"__key__": row["key"], "json": facts.encode() + b"\n"})
    row["seek"] = 0
    row["fingerprint"] = base64.b64encode(track.fingerprint).decode()
    return row


def facts_of(track: Decoded, settings: Settings) -> dict[str, Any]:
    """What is known of a track; constant names and types, no nulls, no lists: loaders infer."""
    path = shown_path(track.source.raw)
    facts = dict(track.facts)
    return {
        **facts,
        "key": track.source.key,
        "source": path,
        "title": facts["title"] or Path(path).stem,
        **_form(track, settings),
        "sample_rate": settings.sample_rate,
        "duration_s": facts["frames"] / settings.sample_rate,
        "silence_ratio": float(facts["silence_ratio"]),
        "clipped_ratio": float(facts["clipped_ratio"]),
        "licence": settings.licence,
    }


def _form(track: Decoded, settings: Settings) -> dict[str, Any]:
    """Codec and channels of a payload."""
    if settings.codec != COPY:
        return {"codec": settings.codec, "channels": 1}
    head = os.pread(track.payload.fileno(), HEAD_BYTES, 0)
    kind, frames = track.source.kind, track.facts["frames"]
    codec = codec_of(head, kind, rate_hz=settings.sample_rate, frames=frames)
    return {"codec": codec, "channels": track.facts["source_channels"]}


def _locate(file: IO[bytes], rows: list[dict[str, Any]]) -> None:
    """Read every payload's place back from the finished tar."""
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as tar:
        places = {member.name: (member.offset_data, member.size) for member in tar}
    for row in rows:
        offset, size = places[payload_name(row["key"], row["codec"])]
        assert size == row["size"], f"{row['key']}: {size} bytes in the tar, {row['size']} written"
        row["offset"] = offset


def _write_seek(
    out: Place, number: int, rows: list[dict[str, Any]], seeks: list[np.ndarray]
) -> dict[str, Any]:
    """Publish the seek tables of a shard's tracks end to end; bytes and sha256 of the file."""
    at = 0
    for row, seek in zip(rows, seeks, strict=True):
        row["seek"], at = at, at + len(seek)
    buffer = io.BytesIO()
    np.save(buffer, np.concatenate([np.zeros(0, "<u4"), *seeks]).astype("<u4"))
    data = buffer.getvalue()
    publish(_seek_path(out, number), data)
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _seek_path(out: Place, number: int) -> Place:
    """Where the seek table of a shard lies."""
    return out / SEEK / seek_name(number)
