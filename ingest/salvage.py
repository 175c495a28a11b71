"""One damaged shard made again: from its own whole tracks, from their sources where they are not.

A track whose payload still decodes to its samples needs no source, so a flipped bit costs a look at
one file of AUDIO_DIR. The shard is written aside by the function that writes every shard; nothing
in the archive is touched here.
"""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile

from ingest.build import readers
from ingest.catalog import TABLES
from ingest.contents import (
    NOT_FACTS,
    load_seeks,
    payload_fault,
    read_facts,
    read_payload,
    sample_blocks,
)
from ingest.inputs import inputs_of
from ingest.payload import COPY, Sink, write
from ingest.plan import Plan
from ingest.pool import Decoded, Outcome, Pool
from ingest.scan import Rejected, Source
from ingest.shard import receipt_of, write_shard
from shards.errors import InputError
from shards.files import read_parquet
from shards.names import DATA, of_generation, shard_name
from shards.place import Place, opened, read_range
from shards.process import cores

Row = dict[str, Any]


@dataclass(frozen=True)
class Shard:
    """A shard to make again.

    Args:
        out: Its archive.
        plan: Of its generation.
        rows: Key → row of the receipt for every track it had.
        rejected: Key → the verdict on an input that was not packed.
    """

    out: Place
    plan: Plan
    number: int
    rows: dict[str, Row]
    rejected: dict[str, Rejected]

    @property
    def copied(self) -> bool:
        """Whether its payloads are their sources' bytes."""
        return self.plan.settings.codec == COPY

    @property
    def tar(self) -> Place:
        """Where it lies."""
        return self.out / DATA / shard_name(self.number)


Keep = Callable[[Shard, Path, Source], Decoded]
"""Shard, folder for scratch files, source → the outcome of a track that is whole in the tar."""


def shard_of(out: Place, plan: Plan, number: int) -> Shard:
    """What its receipt says of a shard, else the tables and the JSON members of its tar."""
    try:
        receipt = receipt_of(out, number)
        rows, rejected = receipt["rows"], receipt["rejected"]
    except InputError:
        try:
            rows, rejected = _from_tables(out, plan, number)
        except (InputError, OSError, KeyError):
            rows, rejected = [], []
    verdicts = {row["key"]: Rejected(**row) for row in rejected}
    return Shard(out, plan, number, {row["key"]: row for row in rows}, verdicts)


def _from_tables(out: Place, plan: Plan, number: int) -> tuple[list[Row], list[Row]]:
    index, rejected, prints = (
        read_parquet(out / of_generation(TABLES[what], plan.generation))
        for what in ("index", "rejected", "fingerprints")
    )
    fingerprints = dict(zip(*prints.to_pydict().values(), strict=True))
    rows = []
    with opened(out / DATA / shard_name(number)) as fetch:
        for place in index.select(["key", "shard", "offset", "size", "seek"]).to_pylist():
            if place.pop("shard") == number and (facts := read_facts(fetch, place)):
                fingerprint = base64.b64encode(fingerprints[place["key"]]).decode()
                rows.append({**facts, **place, "fingerprint": fingerprint})
    keys = {source.key for source in plan.slices()[number].sources}
    return rows, [row for row in rejected.to_pylist() if row["key"] in keys]


def make_again(shard: Shard, audio_dir: Place, work: Path, keep: Keep) -> list[Rejected]:
    """Write a shard below `work`; its tracks that nothing could restore."""
    part = shard.plan.slices()[shard.number]
    whole = whole_tracks(shard)
    settled = whole | shard.rejected.keys()
    needed = [_as_it_is(shard, audio_dir, s) for s in part.sources if s.key not in settled]
    lost: list[Rejected] = []
    workers = max(1, min(cores(), len(needed)))
    with Pool(inputs_of(audio_dir), work / DATA, part.settings, num_workers=workers) as pool:
        decoded = pool.decode(needed)

        def outcomes() -> Iterator[Outcome]:
            for source in part.sources:
                if source.key in whole:
                    yield keep(shard, work / DATA, source)
                elif source.key in shard.rejected:
                    yield shard.rejected[source.key]
                else:
                    outcome = _checked(shard, source, next(decoded))
                    if isinstance(outcome, Rejected):
                        lost.append(outcome)
                    yield outcome

        write_shard(work, shard.number, part, outcomes())
    return lost


def whole_tracks(shard: Shard) -> set[str]:
    """Keys of the tracks that the damaged tar still holds, sample for sample."""
    if not shard.tar.is_file():
        return set()
    with opened(shard.tar) as fetch, ThreadPoolExecutor(readers(shard.tar)) as threads:
        rows = shard.rows.values()
        faults = threads.map(
            lambda row: payload_fault(read_payload(fetch, row), row, copied=shard.copied), rows
        )
        return {key for key, fault in zip(shard.rows, faults, strict=True) if not fault}


def _as_it_is(shard: Shard, audio_dir: Place, source: Source) -> Source:
    """A source with its time as it is now, where the hash of its bytes will tell if it changed."""
    if source.key not in shard.rows:
        return source
    try:
        return replace(source, mtime_ns=inputs_of(audio_dir).mtime_ns(source))
    except OSError:
        return source


def _checked(shard: Shard, source: Source, outcome: Outcome) -> Outcome:
    """An outcome that belongs to the source as it was planned, and to the samples it had."""
    if isinstance(outcome, Rejected):
        return outcome
    row = shard.rows.get(source.key)
    facts = ("source_sha256", "pcm_sha256")
    if row and any(outcome.facts[name] != row[name] for name in facts):
        outcome.payload.close()
        message = "is another file than the one that was packed, or decodes to other samples now"
        return Rejected(row["source"], "scan", "changed", message)
    return replace(outcome, source=source)


def copied(shard: Shard, scratch: Path, source: Source) -> Decoded:
    """A whole track with the bytes it has; its seek table must be whole too."""
    row = shard.rows[source.key]
    seek = np.zeros(0, np.uint32)
    if shard.plan.settings.codec == "flac":
        end = row["seek"] - (-row["frames"] // row["sample_rate"])
        seek = load_seeks(shard.out, shard.number)[row["seek"] : end]
    payload = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - whoever writes the tar closes it
    payload.write(_payload(shard, row))
    return _decoded(source, row, payload, seek)


def encoded(shard: Shard, scratch: Path, source: Source) -> Decoded:
    """A whole track encoded again, so that what no decoder looks at is as it was, too.

    A copy is whole in every bit or not at all.
    """
    if shard.copied:
        return copied(shard, scratch, source)
    row = shard.rows[source.key]
    payload = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - whoever writes the tar closes it
    sink = Sink(payload.fileno())
    with soundfile.SoundFile(io.BytesIO(_payload(shard, row))) as sound:
        write(sample_blocks(sound), sink, codec=row["codec"], sample_rate=row["sample_rate"])
    seek = sink.seek_table(row["frames"], row["sample_rate"])
    return _decoded(source, row, payload, np.array(seek, np.uint32))


def _payload(shard: Shard, row: Row) -> bytes:
    return read_range(shard.tar, row["offset"], row["size"])


def _decoded(source: Source, row: Row, payload: IO[bytes], seek: np.ndarray) -> Decoded:
    return Decoded(
        source=source,
        facts={name: value for name, value in row.items() if name not in NOT_FACTS},
        payload=payload,
        seconds=row["duration_s"],
        seek=seek,
        fingerprint=base64.b64decode(row["fingerprint"]),
    )
