"""index_tars: tars that were there before → an archive that reads them where they lie.

Each member that ingest can decode is a track. It is measured in a decoder process as in a build,
and what a reader will deliver is what was measured. One receipt a tar makes an interrupted run
resume; a tar with another size or time than its receipt says is measured again.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ingest.build import Built
from ingest.card import write_card
from ingest.catalog import TABLES, commit
from ingest.folder import finished, last_manifest
from ingest.lock import locked
from ingest.packing import counted
from ingest.payload import COPY
from ingest.plan import PLAN_INFO, Plan
from ingest.pool import Decoded, Outcome, Pool
from ingest.progress import Progress
from ingest.scan import Rejected
from ingest.settings import Settings
from ingest.shard import RECEIPTS, facts_of, receipt_name, receipt_of
from ingest.tars import Contents, Member, MemberInputs, best_rate, look_into
from ingest.versions import created_by
from shards.errors import InputError
from shards.files import read_parquet, sha256_file, shown
from shards.names import MANIFEST
from shards.process import cores
from shards.sealed import write_sealed


def index_tars(
    tars: Iterable[Path | str],
    out: Path | str,
    *,
    sample_rate: int = 0,
    settings: Settings | None = None,
    num_workers: int | None = None,
) -> Built:
    """Measure all audio in these tars and write index and manifest; run again, it goes on.

    Args:
        tars: WebDataset tars; they are only read.
        out: Folder of the index.
        sample_rate: Of the archive, in Hz; 0 takes the one that most FLAC and WAV members have,
            or 16 kHz if most are neither.
        settings: Limits and licence as in a build.
        num_workers: Decoder processes.
    """
    begun, out = time.monotonic(), Path(out)
    paths = _by_name(map(Path, tars), out)
    check_out(out)
    (out / RECEIPTS).mkdir(parents=True, exist_ok=True)
    with locked(out):
        before = last_manifest(out)
        rate_hz = sample_rate or (before or {}).get("sample_rate") or best_rate(paths)
        settings = replace(settings or Settings(), sample_rate=rate_hz, codec=COPY)
        progress = measure(paths, out, settings, num_workers)
        manifest = finished(out)
        if progress is not None or not manifest or _names(manifest) != list(paths):
            manifest = _commit(paths, out, settings, before)
        write_card(out, manifest)
    return Built(
        out=out,
        manifest=manifest,
        rejected=read_parquet(out / manifest["generations"][-1]["rejected"]).to_pylist(),
        new_tracks=progress.tracks if progress else 0,
        new_seconds=progress.seconds if progress else 0.0,
        elapsed_s=time.monotonic() - begun,
        changed=0,
    )


def _by_name(tars: Iterable[Path], out: Path) -> dict[str, Path]:
    """Tars by their path relative to the output folder, sorted."""
    named = {os.path.relpath(tar.resolve(), out.resolve()): tar for tar in tars}
    missing = [shown(tar) for tar in named.values() if not tar.is_file()]
    if missing or not named:
        raise InputError(f"Want tars, got {', '.join(missing[:5]) or 'none'}: no such files.")
    try:
        "".join(named).encode()
    except UnicodeEncodeError:
        raise InputError("A tar's path is no UTF-8: rename it, the manifest is text.") from None
    return dict(sorted(named.items()))


def check_out(out: Path) -> None:
    """Refuse a folder in which `ingest build-shards` packed, or where our names are taken."""
    if not out.exists():
        return
    manifest = last_manifest(out)
    taken = sorted(path.name for path in out.iterdir() if path.name in {MANIFEST, *TABLES.values()})
    if (out / PLAN_INFO).exists() or (manifest and not manifest.get("foreign")):
        raise InputError(f"--out {shown(out)} is an archive of its own. Give another folder.")
    if taken and not manifest and not (out / RECEIPTS).is_dir():
        raise InputError(f"--out {shown(out)} holds {', '.join(taken)} of others. Give another.")


def measure(
    paths: dict[str, Path], out: Path, settings: Settings, num_workers: int | None
) -> Progress | None:
    """Write the receipts that are missing; what was done, None if there was nothing to do."""
    known = _receipts(out)
    todo: dict[int, str] = {}
    for number, (name, path) in enumerate(paths.items()):
        before, receipt = known.get(name, (-1, {}))
        if not identity(name, path, settings).items() <= receipt.items():
            todo[number] = name
        elif before != number:  # tars were added or taken away before it
            write_sealed(out / RECEIPTS / receipt_name(number), receipt)
    _sweep(out, len(paths))
    if not todo:
        return None
    progress = Progress(None, doing="measuring")
    workers = num_workers or cores()
    with Pool(MemberInputs(out), out, settings, num_workers=workers) as pool:
        for number, name in todo.items():
            receipt = _measure(paths[name], name, pool, settings, progress)
            write_sealed(out / RECEIPTS / receipt_name(number), receipt)
    progress.close()
    return progress


def _measure(
    path: Path, name: str, pool: Pool, settings: Settings, progress: Progress
) -> dict[str, Any]:
    """The receipt of one tar."""
    before = identity(name, path, settings)
    found = look_into(path, name)
    outcomes = counted(pool.decode(found.members), progress)
    receipt = {**before, **_receipt(found, outcomes, settings), "sha256": sha256_file(path)}
    if identity(name, path, settings) != before:
        raise InputError(f"{shown(path)} changed while it was measured: run the same again.")
    return receipt


def _sweep(out: Path, num_tars: int) -> None:
    """Remove what is half written, and receipts beyond the last tar; only under the lock."""
    kept = {receipt_name(number) for number in range(num_tars)}
    litter = [path for path in (out / RECEIPTS).glob("shard-*.json") if path.name not in kept]
    for path in (*litter, *out.glob(".tmp-*"), *(out / RECEIPTS).glob(".tmp-*")):
        path.unlink()


def _receipts(out: Path) -> dict[str, tuple[int, dict[str, Any]]]:
    """Number and content of the receipts that can be read, by the name of their tar."""
    found = {}
    for path in (out / RECEIPTS).glob("shard-*.json"):
        try:
            number = int(path.stem.removeprefix("shard-"))
            receipt = receipt_of(out, number)
            found[receipt["name"]] = number, receipt
        except (InputError, ValueError, KeyError):
            continue  # it is written anew
    return found


def identity(name: str, path: Path, settings: Settings) -> dict[str, Any]:
    """What a receipt must say to hold for a tar as it is."""
    status = path.stat()
    return {
        "name": name,
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "settings": settings.as_dict(),
    }


def _receipt(found: Contents, outcomes: Iterator[Outcome], settings: Settings) -> dict[str, Any]:
    """Facts and place of every member that a reader will find, and why others have none."""
    rows, rejected = [], list(found.rejected)
    for member, outcome in zip(found.members, outcomes, strict=True):
        if isinstance(outcome, Rejected):
            outcome.key = member.key
            rejected.append(outcome)
            continue
        with outcome.payload:  # a copy; what will be read are the bytes in the tar
            rows.append(_row(member, outcome, settings))
    return {"rows": rows, "rejected": [vars(r) for r in rejected], "others": found.others}


def _row(member: Member, track: Decoded, settings: Settings) -> dict[str, Any]:
    return {
        **facts_of(track, settings),
        "offset": member.offset,
        "size": member.size,
        "seek": 0,
        "fingerprint": base64.b64encode(track.fingerprint).decode(),
    }


def _commit(
    paths: dict[str, Path], out: Path, settings: Settings, before: dict[str, Any] | None
) -> dict[str, Any]:
    """Index, rejected members and manifest of all receipts."""
    receipts = [receipt_of(out, number) for number in range(len(paths))]
    others = sum(receipt["others"] for receipt in receipts)
    shards = list(range(len(paths)))
    plan = Plan(0, 0, settings, created_by(), [], shards, [], others)
    codecs = sorted({row["codec"] for receipt in receipts for row in receipt["rows"]})
    also = {"foreign": True, "codec": ", ".join(codecs) or "none"}
    return commit(out, [plan], before, also=also)


def _names(manifest: dict[str, Any]) -> list[str]:
    return [shard["name"] for shard in manifest["shards"]]
