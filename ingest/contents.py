"""What lies in a shard, track by track: the tar's order, facts, samples and seek table."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from shards.errors import DamagedTrack
from shards.sandboxed import Original, WholeTrack
from shards.schema import DATA, SEEK, payload_name, seek_name, shard_name
from shards.seek import frame_number

BLOCK_FRAMES = 1 << 20
NOT_FACTS = frozenset({"offset", "seek", "fingerprint"})
"""Members of a receipt's row that are not in the tar's JSON: they are known when it is written."""

_TAR_BLOCK, _TAR_RECORD = 512, 10_240
_BLOCK_SIZE_AT, _HEAD_BYTES = 8, 16


@dataclass
class Contents:
    """What is wrong in a shard.

    Args:
        tar: Its order of members, or what lies between them.
        seek: The seek table.
        tracks: Source → what is wrong with its samples or facts.
    """

    tar: list[str] = field(default_factory=list)
    seek: list[str] = field(default_factory=list)
    tracks: dict[str, str] = field(default_factory=dict)


def check_shard(out: Path, number: int, receipt: dict[str, Any]) -> Contents:
    """Compare a shard with its receipt, down to the samples."""
    found, path = Contents(), out / DATA / shard_name(number)
    rows = receipt["rows"]
    seeks = _seeks(out, number, rows, found) if "seek" in receipt else None
    copied = bool(receipt.get("copied"))
    with open(path, "rb") as file:
        found.tar.extend(_order(path, rows))
        for row in rows:
            payload = read_payload(file.fileno(), row)
            why = payload_fault(payload, row, copied=copied) or facts_fault(file.fileno(), row)
            if not why and copied:
                why = original_fault(path, row)
            if why:
                found.tracks[row["source"]] = why
            elif seeks is not None and not _seek_fits(seeks, payload, row):
                found.seek.append(f"does not fit {row['source']}")
    return found


def read_payload(fd: int, row: dict[str, Any]) -> bytes:
    """A track's payload as it lies in the tar, shorter where that is cut."""
    return os.pread(fd, row["size"], row["offset"])


def payload_fault(payload: bytes, row: dict[str, Any], *, copied: bool) -> str:
    """Why a payload is not the one of its row, "" if it is; of a copy its source's hash tells."""
    if not copied or len(payload) != row["size"]:
        return samples_fault(payload, row)
    same = hashlib.sha256(payload).hexdigest() == row["source_sha256"]
    return "" if same else "has other bytes than its source"


def original_fault(path: Path, row: dict[str, Any]) -> str:
    """Why a copy is not the track of its row to those who decode it here, "" if it is."""
    place = (row[name] for name in ("offset", "size", "frames", "sample_rate"))
    try:
        track = WholeTrack(Original(path, *place))
    except DamagedTrack as error:
        return str(error)
    digest = hashlib.sha256(track.read(0, row["frames"]).astype("<i2").tobytes())
    same = digest.hexdigest() == row["pcm_sha256"]
    return "" if same else "decodes to other samples here than where it was packed"


def samples_fault(payload: bytes, row: dict[str, Any]) -> str:
    """Why a payload is not the track of its row, "" if it is."""
    if len(payload) != row["size"]:
        return f"has {len(payload)} of {row['size']} bytes"
    digest = hashlib.sha256()
    try:
        with soundfile.SoundFile(io.BytesIO(payload)) as sound:
            said = (sound.samplerate, sound.channels, sound.frames, sound.format.lower())
            wanted = tuple(row[name] for name in ("sample_rate", "channels", "frames", "codec"))
            if said != wanted:
                return f"says {said}, want {wanted}"
            for samples in sample_blocks(sound):
                digest.update(samples.astype("<i2").tobytes())
    except soundfile.LibsndfileError as error:
        return f"does not decode: {error.error_string.strip()}"
    return "" if digest.hexdigest() == row["pcm_sha256"] else "decodes to other samples"


def sample_blocks(sound: soundfile.SoundFile) -> Iterator[np.ndarray]:
    """All samples of a sound, int16 [n] at a time."""
    while len(samples := sound.read(BLOCK_FRAMES, dtype="int16")):
        yield samples


def facts_fault(fd: int, row: dict[str, Any]) -> str:
    """Why a track's JSON member is not what its row says, "" if it is."""
    wanted = {name: value for name, value in row.items() if name not in NOT_FACTS}
    return "" if read_facts(fd, row) == wanted else "has other facts in its JSON member"


def read_facts(fd: int, row: dict[str, Any]) -> dict[str, Any] | None:
    """The JSON member behind a payload, None where there is none."""
    at = row["offset"] + -(-row["size"] // _TAR_BLOCK) * _TAR_BLOCK
    try:
        member = tarfile.TarInfo.frombuf(os.pread(fd, _TAR_BLOCK, at), "utf-8", "strict")
        facts = json.loads(os.pread(fd, member.size, at + _TAR_BLOCK))
    except (tarfile.HeaderError, ValueError, RecursionError):
        return None
    named = member.name == f"{row['key']}.json" and member.isreg()
    return facts if named and isinstance(facts, dict) else None


def _order(path: Path, rows: list[dict[str, Any]]) -> list[str]:
    """What is wrong with the sequence of members: payload and JSON of each track, in order."""
    wanted = [
        name
        for row in rows
        for name in (payload_name(row["key"], row["codec"]), f"{row['key']}.json")
    ]
    try:
        with tarfile.open(path, "r:") as tar:
            members = tar.getmembers()
            end = tar.offset
    except (tarfile.TarError, EOFError, ValueError) as error:
        return [f"is no whole tar: {error}"]
    places = [(m.name, m.offset_data, m.size) for m in members[::2]]
    if [m.name for m in members] != wanted or not all(m.isreg() for m in members):
        return [f"lists {len(members)} members that are not its {len(rows)} tracks in order"]
    if places != [
        (name, row["offset"], row["size"]) for name, row in zip(wanted[::2], rows, strict=True)
    ]:
        return ["has payloads elsewhere than the index says"]
    with open(path, "rb") as file:
        file.seek(end)
        rest = file.read(2 * _TAR_RECORD)
    if any(rest) or (end + len(rest)) % _TAR_RECORD or len(rest) >= 2 * _TAR_RECORD:
        return ["does not end as a tar ends"]
    return []


def _seeks(
    out: Path, number: int, rows: list[dict[str, Any]], found: Contents
) -> np.ndarray | None:
    """A shard's seek table, uint32, None if it is not one or has another length."""
    try:
        seeks = np.load(out / SEEK / seek_name(number))
    except (OSError, ValueError, EOFError) as error:
        found.seek.append(f"cannot be read: {error}")
        return None
    seconds = sum(_seconds(row) for row in rows)
    if seeks.dtype != np.dtype("<u4") or seeks.shape != (seconds,):
        found.seek.append(f"holds {seeks.dtype} {[*seeks.shape]}, want uint32 [{seconds}]")
        return None
    return np.asarray(seeks)


def _seconds(row: dict[str, Any]) -> int:
    """Seconds begun of a track: its entries in the seek table."""
    return int(-(-row["frames"] // row["sample_rate"]))


def _seek_fits(seeks: np.ndarray, payload: bytes, row: dict[str, Any]) -> bool:
    """Whether each entry is the last frame that begins at or before its second."""
    block = int.from_bytes(payload[_BLOCK_SIZE_AT : _BLOCK_SIZE_AT + 2], "big")
    for second, at in enumerate(seeks[row["seek"] : row["seek"] + _seconds(row)].tolist()):
        try:
            number, _ = frame_number(payload[at : at + _HEAD_BYTES])
            if number != second * row["sample_rate"] // block:
                return False
        except ValueError:
            return False
    return True
