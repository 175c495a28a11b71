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

from ingest.card import write_card
from ingest.catalog import commit, created_by
from ingest.folder import check_out, finished, last_manifest, sweep, verdicts, withdraw
from ingest.growth import PASSING, news, planned
from ingest.lock import locked
from ingest.plan import Plan, check_settings, check_sources, make_plan, read_plans, write_plan
from ingest.pool import Outcome, Pool
from ingest.progress import Progress
from ingest.scan import Rejected, Scan, scan
from ingest.settings import Settings
from ingest.shard import RECEIPTS, is_complete, receipt_of, write_shard
from shards.errors import InputError
from shards.files import read_parquet, shown
from shards.schema import DATA, SEEK

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Built:
    """What a build did and what the archive holds now."""

    out: Path
    manifest: dict[str, Any]
    rejected: list[dict[str, str]]
    new_tracks: int
    new_seconds: float
    elapsed_s: float
    changed: int
    """Packed tracks whose source is another file now; the archive keeps what it has."""


def build_shards(
    audio_dir: Path | str,
    out: Path | str,
    *,
    settings: Settings | None = None,
    num_workers: int | None = None,
) -> Built:
    """Pack all audio below a folder; a build that was interrupted goes on where it stopped.

    Files that are new since become a generation of their own: nothing that is packed is touched.
    """
    audio_dir, out = Path(audio_dir), Path(out)
    settings = settings or Settings()
    begun = time.monotonic()
    check_out(out)
    found = scan(audio_dir, without=out, known=planned(read_plans(out)))
    if not found.sources and finished(out) is None:
        raise no_audio(audio_dir, found)
    for folder in (DATA, RECEIPTS, SEEK):
        (out / folder).mkdir(parents=True, exist_ok=True)
    done: list[Progress] = []
    with locked(out):
        plans = read_plans(out)
        sweep(out, plans)
        if plans:
            check_plans(out, plans, found, settings)
        manifest = finished(out)
        if plans and manifest is None:  # finish what was begun
            done.append(build(audio_dir, out, plans, num_workers))
            manifest = commit(out, plans, last_manifest(out))
        new = news(plans, found, verdicts(out, manifest), limit=settings.limit)
        if new and found.sources:
            plans.append(make_plan(new.scan, settings, created_by(), after=plans))
            write_plan(out, plans[-1])
            done.append(build(audio_dir, out, plans, num_workers))
            if manifest is None or not came_to_nothing(out, plans[-1]):
                manifest = commit(out, plans, manifest)
            else:
                withdraw(out, plans.pop())
        sweep(out, plans)
        assert manifest is not None
        write_card(out, manifest)
    return Built(
        out=out,
        manifest=manifest,
        rejected=read_parquet(out / manifest["generations"][-1]["rejected"]).to_pylist(),
        new_tracks=sum(progress.tracks for progress in done),
        new_seconds=sum(progress.seconds for progress in done),
        elapsed_s=time.monotonic() - begun,
        changed=new.changed,
    )


def check_plans(out: Path, plans: list[Plan], found: Scan, settings: Settings) -> None:
    """Refuse to go on with other settings or another folder; say if versions have changed."""
    check_settings(out, plans[0], settings)
    if found.sources:  # a finished archive outlives its sources
        check_sources(out, plans, found)
    before, now = plans[-1].created_by, created_by()
    if before != now:
        changed = [
            f"{name} {v} → {now.get(name)}" for name, v in before.items() if now.get(name) != v
        ]
        log.warning("Versions changed since %s was begun: %s.", shown(out), ", ".join(changed))


def build(audio_dir: Path, out: Path, plans: list[Plan], num_workers: int | None) -> Progress:
    """Build the shards of all plans that are not complete; what was done."""
    slices = {n: (plan, part) for plan in plans for n, part in plan.by_shard().items()}
    todo = [n for n, (plan, part) in slices.items() if not is_complete(out, n, plan.settings, part)]
    tracks = sum(len(slices[n][1]) for n in todo)
    total = sum(len(part) for _, part in slices.values())
    progress = Progress(total)
    progress.skip(total - tracks)
    if todo:
        # The tar writer's package takes a second to load: meanwhile the decoders start.
        threading.Thread(target=import_module, args=("webdataset.writer",)).start()
        settings = plans[-1].settings
        workers = min(num_workers or cores(), tracks)
        with Pool(audio_dir, out / DATA, settings, num_workers=workers) as pool:
            sources = itertools.chain.from_iterable(slices[n][1] for n in todo)
            outcomes = counted(pool.decode(sources), progress)
            for number in todo:
                plan, part = slices[number]
                of_shard = itertools.islice(outcomes, len(part))
                write_shard(out, number, plan.settings, part, of_shard)
    progress.close()
    return progress


def came_to_nothing(out: Path, plan: Plan) -> bool:
    """Whether a generation holds no track and no verdict that lasts."""
    receipts = [receipt_of(out, number) for number in range(plan.first_shard, plan.end_shard)]
    codes = {row["code"] for receipt in receipts for row in receipt["rejected"]}
    return not (plan.rejected or any(r["rows"] for r in receipts) or codes - PASSING)


def counted(outcomes: Iterator[Outcome], progress: Progress) -> Iterator[Outcome]:
    """The same outcomes, each told to the progress."""
    for outcome in outcomes:
        if isinstance(outcome, Rejected):
            progress.refused()
        else:
            progress.packed(outcome.seconds)
        yield outcome


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def no_audio(audio_dir: Path, found: Scan) -> InputError:
    """Why nothing can be packed."""
    rejected = "".join(f" {r.path} {r.message}." for r in found.rejected[:5])
    return InputError(
        f"No audio below {shown(audio_dir)}: {found.others} other files, "
        f"{len(found.rejected)} rejected.{rejected} Want wav, flac, ogg, mp3 or aiff files."
    )
