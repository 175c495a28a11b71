"""The words of the `ingest` command, one function each; what they need is loaded when they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

Folder = Annotated[str, tyro.conf.arg(metavar="FOLDER")]
File = Annotated[str, tyro.conf.arg(metavar="FILE")]
Column = Annotated[str, tyro.conf.arg(metavar="COLUMN")]


def build_shards(
    audio_dir: Positional[Folder],
    /,
    out: Folder,
    sample_rate: int = 16_000,
    codec: Literal["flac", "wav", "copy"] = "flac",
    shard_mib: float = 256.0,
    num_workers: int = 0,
    ray_address: str = "",
    min_seconds: float = 0.1,
    max_seconds: float = 21_600.0,
    licence: str = "",
    limit: int = 0,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Pack all audio below a folder into shards: wav, flac, ogg, mp3, aiff, found by content.

    Stopped at any moment and run again, it goes on where it was and ends with the same bytes.

    Args:
        audio_dir: Folder with raw tracks, or its URI in an object store (s3://bucket/music); links
            are reported and not followed.
        out: Folder of the archive, or its URI.
        sample_rate: Of the archive, in Hz.
        codec: Of the payload: flac, wav for the fastest reading, or copy for the files' own bytes,
            most of which a sandboxed decoder decodes at each visit, which is slow; of wav and copy
            only `ingest verify` is sure to notice a flipped bit, of flac every reader does.
        shard_mib: Size of a shard, about.
        num_workers: Decoder processes; 0 takes one a core, or one a shard on a cluster.
        ray_address: Pack on this Ray cluster, a task a shard; "local" starts one here.
        min_seconds: Shorter tracks are rejected.
        max_seconds: Longer tracks are rejected.
        licence: Of the audio, written into every track's facts.
        limit: Pack only so many tracks, a fair sample; 0 packs all.
        dry_run: Say what would be packed and write nothing.
        json: Print the summary as JSON.
    """
    from ingest.ahead import decoders_ahead
    from ingest.settings import Settings
    from shards.process import cores

    settings = Settings(sample_rate, codec, shard_mib, min_seconds, max_seconds, licence, limit)
    if dry_run:
        from ingest import summary
        from ingest.build import scan_place
        from shards.place import place

        found = scan_place(place(audio_dir), without=place(out), known={})
        print(summary.of_scan(audio_dir, found, settings, as_json=json))
        return 0
    with decoders_ahead(out, 0 if ray_address else num_workers or cores()) as ahead:
        from ingest import summary
        from ingest.build import build_shards as build

        built = build(
            audio_dir,
            out,
            settings=settings,
            num_workers=num_workers or None,
            ray_address=ray_address,
            ahead=ahead,
        )
    print(summary.of_build(built, as_json=json))
    return 3 if built.rejected else 0


def labels(
    shards: Positional[Folder],
    file: Positional[File],
    /,
    name: str = "",
    column: Column = "",
    all: bool = False,
    kind: Literal["class", "number", "tags", "key", "group", "beats", "segments", "auto"] = "auto",
    split_by: Literal["artist", "album", "folder", "track", "auto"] = "auto",
    split_column: Column = "",
    group_column: Column = "",
    separator: str = ";",
    event: str = "",
    seed: int = 0,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Join a table to an archive: one label set, or with --all one for each usable column.

    A column of numbers with more than 20 different values, or named bpm, tempo, pitch and the like,
    is a number; one with the separator in a cell holds tags; one of musical keys is a key; one
    named cover_group, version_group or clique says which tracks are versions of a piece (group);
    anything else is a class. Beats and segments (sections, chords) have a row an event: in the
    table, with columns such as path, start_s, end_s and value, or in a file a track that a column
    names (--kind beats --column beats_file). Train, valid and test are about 60, 20 and 20 % of
    every class and share no artist, else no album, else no folder; duplicates and versions of one
    piece always stay together.

    Args:
        shards: Folder made by `ingest build-shards`, or its URI.
        file: CSV or Parquet with a column that holds paths, file names or keys of tracks.
        name: Of the label set; the column's name unless given.
        column: That holds the labels; needed where more than one could.
        all: Make a label set of every usable column and say of each other why it is none.
        kind: Of the labels; unless given, read off the values.
        split_by: What train, valid and test never share; unless given, the coarsest that works.
        split_column: That holds the split itself: train, valid or validation, test.
        group_column: Tracks with the same value here stay together; unless given, a column named
            cover_group, version_group or group is used.
        separator: Between the tags of a cell.
        event: Rows that are meant where a column `kind` tells, such as chord.
        seed: Of the split.
        dry_run: Say what would come out and write nothing.
        json: Print a line of JSON for each label set.
    """
    from json import dumps

    from ingest.labels.add import Options, tell_labels
    from shards.place import place

    options = Options(
        name=name,
        column=column,
        all_columns=all,
        kind="" if kind == "auto" else kind,
        split_by="" if split_by == "auto" else split_by,
        split_column=split_column,
        group_column=group_column,
        separator=separator,
        event=event,
        seed=seed,
        dry_run=dry_run,
    )
    for told in tell_labels(place(shards), place(file), options):
        print(dumps(told.facts) if json else told.line)
    return 0


def index(
    tars: Positional[tuple[File, ...]],
    /,
    out: Folder,
    sample_rate: int = 0,
    num_workers: int = 0,
    min_seconds: float = 0.1,
    max_seconds: float = 21_600.0,
    licence: str = "",
    json: bool = False,
) -> int:
    """Make existing WebDataset tars an archive without repacking, whatever audio they hold.

    Every member is decoded once to measure it. Labels, training and evaluation then read FLAC and
    WAV of the archive's rate where they lie; all other audio (mp3, ogg, other rates) a sandboxed
    decoder decodes at each visit, which is slow: `ingest build-shards` on the originals packs them
    for fast reading. Run again after tars were added or changed, it measures those.

    Args:
        tars: WebDataset tars on this machine, not in an object store; they are only read.
        out: Folder of the index; the tars may lie in it or anywhere.
        sample_rate: Of the archive, in Hz; 0 takes the one that most FLAC and WAV members have, or
            16000 if most are neither.
        num_workers: Decoder processes; 0 takes one a core.
        min_seconds: Shorter tracks are rejected.
        max_seconds: Longer tracks are rejected.
        licence: Of the audio, written into every track's facts.
        json: Print the summary as JSON.
    """
    from ingest import summary
    from ingest.foreign import index_tars
    from ingest.settings import Settings
    from shards.place import local

    why = "tars are indexed where this machine can open them. Copy them into a folder first"
    paths, folder = [local(tar, why) for tar in tars], local(out, why)
    settings = Settings(min_seconds=min_seconds, max_seconds=max_seconds, licence=licence)
    workers = num_workers or None
    built = index_tars(
        paths, folder, sample_rate=sample_rate, settings=settings, num_workers=workers
    )
    print(summary.of_build(built, as_json=json))
    return 3 if built.rejected else 0


def verify(
    shards: Positional[Folder],
    /,
    level: Literal["size", "sha256", "decode"] = "sha256",
    subset: Annotated[str, tyro.conf.arg(metavar="I/N")] = "1/1",
    num_workers: int = 0,
    json: bool = False,
) -> int:
    """Say which files of an archive are missing or damaged, what that means, and what to type.

    Args:
        shards: Folder made by `ingest build-shards`, or its URI.
        level: size compares sizes; sha256 reads every byte, which finds any change; decode also
            decodes every track.
        subset: Read only a part of the shards: 3/10 the third of ten parts.
        num_workers: Files read at once; 0 takes one a core, of an object store at least 16.
        json: Print the report as JSON.
    """
    from ingest import summary
    from ingest.verify import part_of, verify_archive
    from shards.place import place

    out, part = place(shards), part_of(subset)
    report = verify_archive(out, level=level, subset=part, num_workers=num_workers or None)
    print(summary.of_verify(out, report, level, as_json=json))
    return 3 if report.faults else 0


def repair(
    shards: Positional[Folder],
    audio_dir: Positional[Folder],
    /,
    labels: tuple[File, ...] = (),
    drop_lost: bool = False,
    limit: int = 0,
    dry_run: bool = False,
    json: bool = False,
) -> int:
    """Bring back what is missing or damaged with the bytes it had; what is whole stays untouched.

    Tracks that are whole in a damaged shard are taken from it, the others from their files. A shard
    with tracks that nothing can restore stays as it is. Stopped at any moment, run it again.

    Args:
        shards: Folder made by `ingest build-shards`, or its URI.
        audio_dir: Folder that was packed, or its URI.
        labels: Tables that damaged label sets were made of.
        drop_lost: Take tracks that cannot be restored out of the archive, so that it opens again.
        limit: Repair so many shards and leave the rest; 0 repairs all.
        dry_run: Say what would be restored and write nothing.
        json: Print the summary as JSON.
    """
    from ingest import summary
    from ingest.repair import Options, repair_archive
    from shards.place import place

    out, tables = place(shards), tuple(map(place, labels))
    options = Options(tables, drop_lost, limit, dry_run)
    repaired = repair_archive(out, audio_dir, options)
    print(summary.of_repair(out, repaired, dry_run=dry_run, as_json=json))
    return 3 if repaired.left else 0


def info(shards: Positional[Folder], /, json: bool = False) -> int:
    """What an archive holds: hours, lengths, levels, copies, licences, labels, rejected files.

    Args:
        shards: Folder made by `ingest build-shards`, or its URI.
        json: Print it as JSON.
    """
    from ingest.info import of_archive

    print(of_archive(shards, as_json=json))
    return 0


def check(shards: Positional[Folder], /, against: Folder = "", json: bool = False) -> int:
    """Tracks of an archive that stand in another one: leakage between training and evaluation data.

    Exact copies have the same samples, near ones the same fingerprint: second encodes, other gains
    or starts. Exit code 3 if there are any. Without --against, repetitions within the archive.

    Args:
        shards: Folder made by `ingest build-shards`, or its URI.
        against: Folder of the other archive, or its URI; at any sample rate.
        json: Print counts and all copies as JSON.
    """
    from ingest.check import check as find
    from ingest.check import report
    from shards.place import place

    found = find(place(shards), place(against) if against else None)
    print(report(found, as_json=json))
    return 3 if found.copies else 0


COMMANDS: dict[str, Callable[..., int]] = {
    "build-shards": build_shards,
    "index": index,
    "labels": labels,
    "verify": verify,
    "repair": repair,
    "info": info,
    "check": check,
}
