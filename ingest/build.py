"""build_shards: a folder of audio → an archive; interrupted anywhere, run again, same bytes."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest.bucket import scan_bucket
from ingest.card import write_card
from ingest.catalog import commit
from ingest.folder import (
    check_generations,
    check_out,
    finished,
    last_manifest,
    sweep,
    verdicts,
    withdraw,
)
from ingest.growth import PASSING, news, planned
from ingest.lock import LOCK, locked
from ingest.packing import pack
from ingest.plan import Plan, check_settings, check_sources, make_plan, read_plans, write_plan
from ingest.progress import Progress, Tally
from ingest.scan import Scan, Source, scan
from ingest.settings import Settings
from ingest.shard import RECEIPTS, is_complete, receipt_of
from ingest.versions import created_by
from shards.errors import InputError
from shards.files import read_parquet, shown
from shards.names import DATA, SEEK
from shards.place import REQUESTS, Place, Remote, place
from shards.process import Worker, cores

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Crew:
    """Who packs.

    Args:
        num_workers: Decoder processes, of each task on a cluster; as many as cores if None here.
        ray_address: Of a cluster that packs instead of this machine; "" for none.
        ahead: Decoders that have been started; who did that ends them.
    """

    num_workers: int | None = None
    ray_address: str = ""
    ahead: Sequence[Worker] = ()


@dataclass(frozen=True)
class Built:
    """What a build did and what the archive holds now."""

    out: Place
    manifest: dict[str, Any]
    rejected: list[dict[str, str]]
    new_tracks: int
    new_seconds: float
    elapsed_s: float
    changed: int
    """Packed tracks whose source is another file now; the archive keeps what it has."""


def build_shards(
    audio_dir: Place | str,
    out: Place | str,
    *,
    settings: Settings | None = None,
    num_workers: int | None = None,
    ray_address: str = "",
    ahead: Sequence[Worker] = (),
) -> Built:
    """Pack all audio below a folder; a build that was interrupted goes on where it stopped.

    Files that are new since become a generation of their own: nothing that is packed is touched.
    """
    audio_dir, out = place(audio_dir), place(out)
    settings, crew = settings or Settings(), Crew(num_workers, ray_address, ahead)
    begun = time.monotonic()
    check_out(out)
    if (out / LOCK).exists():
        with locked(out):  # who comes second need not read through the audio first
            pass
    found = scan_place(audio_dir, without=out, known=planned(read_plans(out)))
    if not found.sources and finished(out) is None:
        raise no_audio(audio_dir, found)
    for folder in (DATA, RECEIPTS, SEEK):
        (out / folder).mkdir(parents=True, exist_ok=True)
    done: list[Tally] = []
    with locked(out):
        plans = read_plans(out)
        check_generations(out, plans)
        sweep(out, plans)
        if plans:
            check_plans(out, plans, found, settings)
        manifest = finished(out)
        if plans and manifest is None:  # finish what was begun
            done.append(build(audio_dir, out, plans, crew))
            manifest = conclude(out, plans, last_manifest(out))
        new = news(plans, found, verdicts(out, manifest), limit=settings.limit)
        if new and found.sources:
            plans.append(make_plan(new.scan, settings, created_by(), after=plans))
            write_plan(out, plans[-1])
            done.append(build(audio_dir, out, plans, crew))
            manifest = conclude(out, plans, manifest)
        sweep(out, plans)
        assert manifest is not None
        write_card(out, manifest)
    return Built(
        out=out,
        manifest=manifest,
        rejected=read_parquet(out / manifest["generations"][-1]["rejected"]).to_pylist(),
        new_tracks=sum(tally.tracks for tally in done),
        new_seconds=sum(tally.seconds for tally in done),
        elapsed_s=time.monotonic() - begun,
        changed=new.changed,
    )


def scan_place(audio_dir: Place, *, without: Place, known: Mapping[bytes, Source]) -> Scan:
    """All audio below a folder, or below one of an object store."""
    if isinstance(audio_dir, Remote):
        return scan_bucket(audio_dir, without=without, known=known)
    return scan(audio_dir, without=without if isinstance(without, Path) else None, known=known)


def check_plans(out: Place, plans: list[Plan], found: Scan, settings: Settings) -> None:
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


def build(audio_dir: Place, out: Place, plans: list[Plan], crew: Crew) -> Tally:
    """Build the shards of all plans that are not complete; what was done."""
    slices = {n: part for plan in plans for n, part in plan.slices().items()}
    todo = {n: part for n, part in slices.items() if not is_complete(out, n, part)}
    total, left = (sum(len(part.sources) for part in some.values()) for some in (slices, todo))
    progress = Progress(total, before=total - left)
    if todo and crew.ray_address:
        from ingest.cluster import pack_on_cluster  # imports ray

        workers = crew.num_workers or 1
        for tally in pack_on_cluster(
            audio_dir, out, todo, address=crew.ray_address, num_workers=workers
        ):
            progress.add(tally)
    elif todo:
        workers = crew.num_workers or cores()
        pack(audio_dir, out, todo, workers, progress, ahead=crew.ahead)
    progress.close()
    return progress


def conclude(out: Place, plans: list[Plan], before: dict[str, Any] | None) -> dict[str, Any]:
    """Commit what was built; a later generation that came to nothing is forgotten instead."""
    if before and len(plans) > len(before["generations"]) and came_to_nothing(out, plans[-1]):
        withdraw(out, plans.pop())
    return finished(out) or commit(out, plans, before)


def came_to_nothing(out: Place, plan: Plan) -> bool:
    """Whether a generation holds no track and no verdict that lasts."""
    receipts = [receipt_of(out, number) for number in range(plan.first_shard, plan.end_shard)]
    codes = {row["code"] for receipt in receipts for row in receipt["rejected"]}
    return not (plan.rejected or any(r["rows"] for r in receipts) or codes - PASSING)


def readers(place: Place) -> int:
    """Files to read at a time: one a core, of a store so many that its answers come one by one."""
    return max(REQUESTS, cores()) if isinstance(place, Remote) else cores()


def no_audio(audio_dir: Place, found: Scan) -> InputError:
    """Why nothing can be packed."""
    rejected = "".join(f" {r.path} {r.message}." for r in found.rejected[:5])
    return InputError(
        f"No audio below {shown(audio_dir)}: {found.others} other files, "
        f"{len(found.rejected)} rejected.{rejected} Want wav, flac, ogg, mp3 or aiff files."
    )
