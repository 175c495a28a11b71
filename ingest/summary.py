"""What a build or an archive comes to, in a few lines or as JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ingest.build import Built
from ingest.plan import make_plan
from ingest.scan import Scan
from ingest.settings import Settings
from ingest.slow import called, num_slow, slow
from shards.files import shown, typed
from shards.names import REJECTED
from shards.place import Place

if TYPE_CHECKING:
    from ingest.faults import Fault, Report
    from ingest.repair import Repaired

EXAMPLES = 5
MIB = 1 << 20


def of_build(built: Built, *, as_json: bool) -> str:
    """What was packed, how fast, what was left out, and what to type next."""
    manifest = built.manifest
    speed = built.new_seconds / max(built.elapsed_s, 1e-9)
    if as_json:
        return json.dumps(
            {
                **counts_of(manifest),
                "new_tracks": built.new_tracks,
                "elapsed_s": round(built.elapsed_s, 3),
                "times_real_time": round(speed, 1),
                "rejected_by_code": {code: len(rs) for code, rs in by_code(built.rejected)},
                "changed": built.changed,
            }
        )
    lines = [holds(built.out, manifest)]
    if built.new_tracks:
        rate = built.new_tracks / built.elapsed_s
        done = "measured" if manifest.get("foreign") else "packed"
        lines.append(
            f"{built.new_tracks} of them {done} now in {built.elapsed_s:.1f} s: "
            f"{rate:.1f} tracks/s, {speed:.0f} × real time"
        )
    else:
        lines.append("nothing to do: the archive is complete")
    lines += slow(manifest)
    lines += rejections(built.rejected, manifest["others"])
    if built.changed:
        lines.append(
            f"{built.changed} audio files changed since they were packed; the archive keeps what "
            "it has: pack into a new --out to have them as they are now"
        )
    lines.append(f"next: ingest labels {typed(built.out)} LABELS.csv --all")
    return "\n".join(lines)


def of_scan(audio_dir: str, found: Scan, settings: Settings, *, as_json: bool) -> str:
    """What a build would pack, before anything is decoded."""
    found.sources = found.sources[: settings.limit or None]
    plan = make_plan(found, settings, {}, after=[])
    size = sum(source.size for source in plan.sources)
    rejected = [vars(r) for r in found.rejected]
    if as_json:
        return json.dumps(
            {
                "files": len(plan.sources),
                "bytes": size,
                "shards": plan.end_shard,
                "rejected": len(rejected),
                "others": found.others,
            }
        )
    first = (
        f"{shown(audio_dir)}: {len(plan.sources)} audio files, {size / MIB:.1f} MiB, "
        f"for {plan.end_shard} shards; nothing was written"
    )
    return "\n".join([first, *rejections(rejected, found.others)])


def of_verify(path: Place, report: Report, level: str, *, as_json: bool) -> str:
    """What was looked at, and each fault with what it means and what to type."""
    if as_json:
        return json.dumps({"level": level, **asdict(report)})
    looked = [f"{report.files} files"]
    if report.read:
        looked.append(f"{report.read} read to the end")
    if report.decoded_tracks:
        looked.append(f"{report.decoded_tracks} tracks decoded")
    found = f"{len(report.missing)} missing, {len(report.damaged)} damaged"
    lines = [f"{shown(path)}: {', '.join(looked)}; {found if report.faults else 'all is well'}"]
    lines += _faults(report.faults)
    if report.unfinished:
        lines.append("an addition was interrupted: run `ingest build-shards` again to end it")
    return "\n".join(lines)


def of_repair(path: Place, repaired: Repaired, *, dry_run: bool, as_json: bool) -> str:
    """What was restored, what was not, and why."""
    if as_json:
        return json.dumps({"dry_run": dry_run, **asdict(repaired)})
    if not repaired.report.faults:
        return f"{shown(path)}: nothing to repair"
    what = "would be restored" if dry_run else "restored"
    counts = f"files {what} as they were: {len(repaired.restored)}"
    lines = [f"{shown(path)}: {counts}; still damaged: {len(repaired.left)}"]
    lines += [f"{what}: {name}" for name in repaired.restored]
    lines += [f"written anew: {name}: {why}" for name, why in repaired.changed.items()]
    lines += _faults(repaired.left)
    lines += [f"lost: {row.path} {row.message}" for row in repaired.lost]
    if repaired.lost and repaired.left:
        lines.append("add --drop-lost to go on without these tracks")
    return "\n".join(lines)


def _faults(faults: list[Fault]) -> list[str]:
    return [f"  {fault}" for fault in faults]


def counts_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """The figures that every summary begins with."""
    return {
        "tracks": manifest["tracks"],
        "hours": round(manifest["duration_s"] / 3600, 4),
        "bytes": sum(shard["bytes"] for shard in manifest["shards"]),
        "shards": len(manifest["shards"]),
        "sample_rate": manifest["sample_rate"],
        "codec": manifest["codec"],
        "sandboxed": num_slow(manifest),
        "rejected": manifest["rejected"],
        "others": manifest["others"],
    }


def holds(path: Place, manifest: dict[str, Any]) -> str:
    """The same in a line."""
    counts = counts_of(manifest)
    return (
        f"{shown(path)}: {counts['tracks']} tracks, {counts['hours']:.2f} h, "
        f"{counts['bytes'] / MIB:.1f} MiB of {called(counts['codec'])} at "
        f"{counts['sample_rate']} Hz "
        f"in {counts['shards']} shards"
    )


def rejections(rejected: list[dict[str, str]], others: int) -> list[str]:
    """Rejected files by reason with examples, then the number of files that are no audio."""
    lines = [f"rejected: {len(rejected)}" + (f", all listed in {REJECTED}" if rejected else "")]
    for code, rows in by_code(rejected):
        lines.append(f"  {code}: {len(rows)}")
        lines += [f"    {row['path']} {row['message']}" for row in rows[:EXAMPLES]]
        if len(rows) > EXAMPLES:
            lines.append(f"    … and {len(rows) - EXAMPLES} more")
    if others:
        lines.append(f"other files ignored: {others}")
    return lines


def by_code(rejected: Iterable[dict[str, str]]) -> list[tuple[str, list[dict[str, str]]]]:
    """Rejections of each code, the most frequent code first."""
    codes: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rejected:
        codes[row["code"]].append(row)
    return sorted(codes.items(), key=lambda item: (-len(item[1]), item[0]))
