"""What lies in a shard, track by track: the tar's order, facts, samples and seek table."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from tarfile import BLOCKSIZE, RECORDSIZE, HeaderError, TarInfo
from typing import Any

import numpy as np
import soundfile

from shards.errors import DamagedTrack
from shards.names import DATA, SEEK, seek_name, shard_name
from shards.place import Fetch, Place, at_once, opened
from shards.sandboxed import Original, WholeTrack
from shards.schema import payload_name
from shards.seek import frame_number

BLOCK_FRAMES = 1 << 20
NOT_FACTS = frozenset({"offset", "seek", "fingerprint"})
"""Members of a receipt's row that are not in the tar's JSON: they are known when it is written."""

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


def check_shard(out: Place, number: int, receipt: dict[str, Any]) -> Contents:
    """Compare a shard with its receipt, down to the samples; in a store by a request a track."""
    found, rows = Contents(), receipt["rows"]
    seeks = _seeks(out, number, rows, found) if "seek" in receipt else None
    copied = bool(receipt.get("copied"))
    begins = [row["offset"] - BLOCKSIZE for row in rows]
    at = 0
    tar = out / DATA / shard_name(number)
    with opened(tar) as fetch:
        for row, end in zip(rows, [*begins[1:], receipt["bytes"]], strict=True):
            here = at_once(tar, fetch, at, max(0, end - at))
            payload = read_payload(here, row)
            why = payload_fault(payload, row, copied=copied) or facts_fault(here, row)
            if not why and copied:
                why = original_fault(tar, row)
            if why:
                found.tracks[row["source"]] = why
            elif seeks is not None and not _seek_fits(seeks, payload, row):
                found.seek.append(f"does not fit {row['source']}")
            behind = _behind_members(here, row, at)
            if behind < 0 or (row is not rows[-1] and behind != end):
                found.tar.append(f"does not hold {row['source']} and its facts in order")
            at = end if row is not rows[-1] else behind
        if at >= 0 and not _is_end(fetch(at, 2 * RECORDSIZE), at):
            found.tar.append("does not end as a tar ends")
    return found


def read_payload(fetch: Fetch, row: dict[str, Any]) -> bytes:
    """A track's payload as it lies in the tar, shorter where that is cut."""
    return fetch(row["offset"], row["size"])


def payload_fault(payload: bytes, row: dict[str, Any], *, copied: bool) -> str:
    """Why a payload is not the one of its row, "" if it is; of a copy its source's hash tells."""
    if not copied or len(payload) != row["size"]:
        return samples_fault(payload, row)
    same = hashlib.sha256(payload).hexdigest() == row["source_sha256"]
    return "" if same else "has other bytes than its source"


def original_fault(path: Place, row: dict[str, Any]) -> str:
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


def facts_fault(fetch: Fetch, row: dict[str, Any]) -> str:
    """Why a track's JSON member is not what its row says, "" if it is."""
    wanted = {name: value for name, value in row.items() if name not in NOT_FACTS}
    return "" if read_facts(fetch, row) == wanted else "has other facts in its JSON member"


def read_facts(fetch: Fetch, row: dict[str, Any]) -> dict[str, Any] | None:
    """The JSON member behind a payload, None where there is none."""
    at = row["offset"] + _padded(row["size"])
    member = _member(fetch, at, f"{row['key']}.json")
    try:
        facts = json.loads(fetch(at + BLOCKSIZE, member.size)) if member else None
    except (ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) else None


def _behind_members(fetch: Fetch, row: dict[str, Any], at: int) -> int:
    """Where a track ends that has its payload and its JSON member at `at`, -1 if it has not."""
    payload = _member(fetch, at, payload_name(row["key"], row["codec"]))
    if not payload or (at + BLOCKSIZE, payload.size) != (row["offset"], row["size"]):
        return -1
    at += BLOCKSIZE + _padded(payload.size)
    facts = _member(fetch, at, f"{row['key']}.json")
    return at + BLOCKSIZE + _padded(facts.size) if facts else -1


def _member(fetch: Fetch, at: int, name: str) -> TarInfo | None:
    """The header of a regular member of this name, None where there is another or none."""
    try:
        member = TarInfo.frombuf(fetch(at, BLOCKSIZE), "utf-8", "strict")
    except (HeaderError, UnicodeDecodeError):
        return None
    return member if member.name == name and member.isreg() else None


def _padded(size: int) -> int:
    """Bytes that a member takes in a tar."""
    return -(-size // BLOCKSIZE) * BLOCKSIZE


def _is_end(rest: bytes, at: int) -> bool:
    """Whether what follows the last member at `at` is zeros to the end of a record."""
    whole = 2 * BLOCKSIZE <= len(rest) < 2 * RECORDSIZE and (at + len(rest)) % RECORDSIZE == 0
    return whole and not any(rest)


def load_seeks(out: Place, number: int) -> np.ndarray:
    """The seek tables of a shard's tracks end to end, as they lie there."""
    return np.asarray(np.load(io.BytesIO((out / SEEK / seek_name(number)).read_bytes())))


def _seeks(
    out: Place, number: int, rows: list[dict[str, Any]], found: Contents
) -> np.ndarray | None:
    """A shard's seek table, uint32, None if it is not one or has another length."""
    try:
        seeks = load_seeks(out, number)
    except (OSError, ValueError, EOFError) as error:
        found.seek.append(f"cannot be read: {error}")
        return None
    seconds = sum(_seconds(row) for row in rows)
    if seeks.dtype != np.dtype("<u4") or seeks.shape != (seconds,):
        found.seek.append(f"holds {seeks.dtype} {[*seeks.shape]}, want uint32 [{seconds}]")
        return None
    return seeks


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
