"""The output folder: whether it is whole, what it knows of each key, what in it is litter."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ingest.growth import Verdicts
from ingest.lock import LOCK
from ingest.plan import PLAN, PLAN_INFO, Plan, plan_paths
from ingest.shard import RECEIPTS
from shards.errors import InputError
from shards.files import read_parquet, sha256_file, shown
from shards.manifest import check_shards, read_manifest, to_repair
from shards.names import DATA, MANIFEST, SEEK, of_generation
from shards.place import Place

OURS = {DATA, SEEK, RECEIPTS, LOCK, PLAN}
"""What a build may have left before its plan was complete."""


REPAIRED = ".repaired-*"
"""Folders of shards that a repair has decided on and not yet put in their places."""


def check_out(out: Place) -> None:
    """Refuse a folder that holds anything but an archive, so that nothing is mixed."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {shown(out)} is a file. Want a folder.")
    if next(out.glob(REPAIRED), None):
        raise InputError(f"A repair of {shown(out)} was interrupted. {to_repair(out)}")
    if not out.exists() or (out / PLAN_INFO).exists():
        return
    if (out / MANIFEST).exists():
        raise InputError(f"{shown(out / PLAN_INFO)} is missing. {to_repair(out)}")
    strange = [path.name for path in out.iterdir() if path.name not in OURS]
    strange = sorted(name for name in strange if not name.startswith(".tmp-"))
    if strange:
        raise InputError(
            f"--out {shown(out)} is no archive and holds {shown(', '.join(strange[:5]))}. "
            "Give a new or an empty folder."
        )


def check_generations(out: Place, plans: list[Plan]) -> None:
    """Refuse to go on where a plan was lost: its shards would be taken for litter."""
    manifest = last_manifest(out)
    if manifest and len(manifest["generations"]) > len(plans):
        lost = plan_paths(out, len(plans))[1]
        raise InputError(f"{shown(lost)} is missing. {to_repair(out)}")


def last_manifest(out: Place) -> dict[str, Any] | None:
    """The manifest as it lies there, true or not."""
    try:
        return read_manifest(out)
    except InputError:
        return None


def finished(out: Place) -> dict[str, Any] | None:
    """The manifest of an archive that is whole, None if there is anything to do."""
    manifest = last_manifest(out)
    if manifest is None:
        return None
    begun = (out / of_generation(PLAN_INFO, len(manifest["generations"]))).exists()
    try:
        check_shards(out, manifest)
    except InputError:
        return None
    whole = all(
        (out / name).is_file() and sha256_file(out / name) == file["sha256"]
        for name, file in manifest["files"].items()
    )
    return manifest if whole and not begun else None


def verdicts(out: Place, manifest: dict[str, Any] | None) -> Verdicts:
    """What an archive knows of each key."""
    if manifest is None:
        return Verdicts()
    latest = manifest["generations"][-1]
    packed = read_parquet(out / latest["index"], columns=["key"])["key"].to_pylist()
    refused = read_parquet(out / latest["rejected"], columns=["key", "code"]).to_pydict()
    return Verdicts(set(packed), dict(zip(refused["key"], refused["code"], strict=True)))


def withdraw(out: Place, plan: Plan) -> None:
    """Forget a generation that came to nothing; the sweep removes its shards."""
    table, vouches = plan_paths(out, plan.generation)
    vouches.unlink()
    table.unlink()


def sweep(out: Place, plans: list[Plan]) -> None:
    """Remove what is half written or belongs to no plan; only under the lock."""
    litter = [path for folder in (out, *_below(out)) for path in folder.glob(".tmp-*")]
    end_shard = plans[-1].end_shard if plans else 0
    for folder in _below(out):
        for path in folder.glob("shard-*"):
            number = path.stem.removeprefix("shard-")
            if number.isdecimal() and int(number) >= end_shard:
                litter.append(path)
    known = {plan_paths(out, plan.generation)[0] for plan in plans}
    litter += [path for path in out.glob("plan-*.parquet") if path not in known]
    for path in litter:
        if isinstance(path, Path) and path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _below(out: Place) -> list[Place]:
    return [out / DATA, out / RECEIPTS, out / SEEK]
