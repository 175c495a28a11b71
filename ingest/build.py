"""build_shards: a folder of audio → an archive; interrupted anywhere, run again, same bytes."""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ingest.catalog import commit, created_by
from ingest.lock import LOCK, locked
from ingest.plan import (
    PLAN,
    PLAN_INFO,
    Plan,
    check_settings,
    check_sources,
    make_plan,
    new_sources,
    read_plan,
    write_plan,
)
from ingest.pool import Outcome, Pool
from ingest.progress import Progress
from ingest.scan import Rejected, Scan, scan
from ingest.settings import Settings
from ingest.shard import RECEIPTS, read_receipt, write_shard
from shards.errors import InputError
from shards.files import read_parquet, sha256_file, shown
from shards.index import check_shards, read_manifest
from shards.schema import DATA, REJECTED

log = logging.getLogger(__name__)

OURS = {DATA, RECEIPTS, LOCK, PLAN}
"""What a build may have left before its plan was complete."""


@dataclass(frozen=True)
class Built:
    """What a build did and what the archive holds now."""

    out: Path
    manifest: dict[str, Any]
    rejected: list[dict[str, str]]
    new_tracks: int
    new_seconds: float
    elapsed_s: float
    unplanned: int
    """Audio files that appeared after the build was planned: they are not in the archive."""


def build_shards(
    audio_dir: Path | str,
    out: Path | str,
    *,
    settings: Settings | None = None,
    num_workers: int | None = None,
) -> Built:
    """Pack all audio below a folder; a build that was interrupted goes on where it stopped."""
    audio_dir, out = Path(audio_dir), Path(out)
    settings = settings or Settings()
    begun = time.monotonic()
    found = scan(audio_dir, without=out)
    if not found.sources and _finished(out) is None:
        raise no_audio(audio_dir, found)
    check_out(audio_dir, out)
    (out / DATA).mkdir(parents=True, exist_ok=True)
    (out / RECEIPTS).mkdir(exist_ok=True)
    with locked(out):
        sweep(out)
        plan = the_plan(out, found, settings)
        progress = Progress(len(plan.sources))
        manifest = _finished(out)
        if manifest is None:
            receipts = build(audio_dir, out, plan, num_workers or cores(), progress)
            manifest = commit(out, plan, receipts)
        progress.close()
        sweep(out)
    return Built(
        out=out,
        manifest=manifest,
        rejected=read_parquet(out / REJECTED).to_pylist(),
        new_tracks=progress.tracks,
        new_seconds=progress.seconds,
        elapsed_s=time.monotonic() - begun,
        unplanned=new_sources(plan, found),
    )


def the_plan(out: Path, found: Scan, settings: Settings) -> Plan:
    """The plan that a build in this folder began with, or a new one."""
    plan = read_plan(out)
    if plan is None:
        plan = make_plan(found, settings, created_by())
        write_plan(out, plan)
        return plan
    check_settings(out, plan, settings)
    if found.sources or _finished(out) is None:  # a finished archive outlives its sources
        check_sources(out, plan, found)
    if plan.created_by != (now := created_by()):
        changed = [f"{k} {v} → {now[k]}" for k, v in plan.created_by.items() if now.get(k) != v]
        log.warning("Versions changed since %s was begun: %s.", shown(out), ", ".join(changed))
    return plan


def build(
    audio_dir: Path, out: Path, plan: Plan, num_workers: int, progress: Progress
) -> list[dict[str, Any]]:
    """Receipts of all shards, building those that are not complete."""
    slices = plan.by_shard()
    receipts = {n: read_receipt(out, n, plan.settings, slices[n]) for n in slices}
    todo = [number for number, receipt in receipts.items() if receipt is None]
    progress.skip(sum(len(slices[n]) for n in slices if n not in todo))
    if todo:
        # The tar writer's package takes a second to load: meanwhile the decoders start.
        threading.Thread(target=import_module, args=("webdataset.writer",)).start()
        num_workers = min(num_workers, sum(len(slices[n]) for n in todo))
        with Pool(audio_dir, out / DATA, plan.settings, num_workers=num_workers) as pool:
            sources = itertools.chain.from_iterable(slices[number] for number in todo)
            outcomes = counted(pool.decode(sources), progress)
            for number in todo:
                of_shard = itertools.islice(outcomes, len(slices[number]))
                receipts[number] = write_shard(out, number, plan.settings, slices[number], of_shard)
    return [receipt for receipt in receipts.values() if receipt is not None]


def counted(outcomes: Iterator[Outcome], progress: Progress) -> Iterator[Outcome]:
    """The same outcomes, each told to the progress."""
    for outcome in outcomes:
        if isinstance(outcome, Rejected):
            progress.refused()
        else:
            progress.packed(outcome.seconds)
        yield outcome


def check_out(audio_dir: Path, out: Path) -> None:
    """Refuse a folder that holds anything but an archive, so that nothing is mixed."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {shown(out)} is a file. Want a folder.")
    if not out.exists() or (out / PLAN_INFO).exists():
        return
    strange = [path.name for path in out.iterdir() if path.name not in OURS]
    strange = sorted(name for name in strange if not name.startswith(".tmp-"))
    if strange:
        raise InputError(
            f"--out {shown(out)} is no archive and holds {shown(', '.join(strange[:5]))}. "
            "Give a new or an empty folder."
        )


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def sweep(out: Path) -> None:
    """Remove what an interrupted build left half written; only under the lock."""
    for folder in (out, out / DATA, out / RECEIPTS):
        for path in folder.glob(".tmp-*"):
            path.unlink(missing_ok=True)


def no_audio(audio_dir: Path, found: Scan) -> InputError:
    """Why nothing can be packed."""
    rejected = "".join(f" {r.path} {r.message}." for r in found.rejected[:5])
    return InputError(
        f"No audio below {shown(audio_dir)}: {found.others} other files, "
        f"{len(found.rejected)} rejected.{rejected} Want wav, flac, ogg, mp3 or aiff files."
    )


def _finished(out: Path) -> dict[str, Any] | None:
    """The manifest of an archive that is whole, None if there is anything to do."""
    try:
        manifest = read_manifest(out)
        check_shards(out, manifest)
    except InputError:
        return None
    whole = all(
        (out / name).is_file() and sha256_file(out / name) == file["sha256"]
        for name, file in manifest["files"].items()
    )
    return manifest if whole else None
