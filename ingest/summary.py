"""What a build or an archive comes to, in a few lines or as JSON."""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ingest.build import Built
from ingest.plan import make_plan
from ingest.scan import Scan
from ingest.settings import Settings
from shards.files import read_parquet, shown
from shards.index import Index
from shards.labels import SPLITS, Labels, label_names
from shards.place import Place
from shards.schema import REJECTED

EXAMPLES = 5
MIB = 1 << 20


def of_build(built: Built, *, as_json: bool) -> str:
    """What was packed, how fast, what was left out, and what to type next."""
    manifest = built.manifest
    speed = built.new_seconds / max(built.elapsed_s, 1e-9)
    if as_json:
        return json.dumps(
            {
                **_counts(manifest),
                "new_tracks": built.new_tracks,
                "elapsed_s": round(built.elapsed_s, 3),
                "times_real_time": round(speed, 1),
                "rejected_by_code": {code: len(rs) for code, rs in _by_code(built.rejected)},
                "changed": built.changed,
            }
        )
    lines = [_holds(built.out, manifest)]
    if built.new_tracks:
        rate = built.new_tracks / built.elapsed_s
        done = "measured" if manifest.get("foreign") else "packed"
        lines.append(
            f"{built.new_tracks} of them {done} now in {built.elapsed_s:.1f} s: "
            f"{rate:.1f} tracks/s, {speed:.0f} × real time"
        )
    else:
        lines.append("nothing to do: the archive is complete")
    lines += _rejections(built.rejected, manifest["others"])
    if built.changed:
        lines.append(
            f"{built.changed} audio files changed since they were packed; the archive keeps what "
            "it has: pack into a new --out to have them as they are now"
        )
    where = shlex.quote(str(built.out))
    lines.append(f"next: ingest labels {where} LABELS.csv --all")
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
    return "\n".join([first, *_rejections(rejected, found.others)])


def of_archive(path: Path, *, as_json: bool) -> str:
    """What an archive holds."""
    index = Index.open(path)
    manifest = index.manifest
    latest = manifest["generations"][-1]
    rejected = read_parquet(path / latest["rejected"]).to_pylist()
    labels = {name: Labels.open(index, name).info for name in label_names(path)}
    if as_json:
        return json.dumps({**_counts(manifest), "labels": labels})
    lines = [_holds(path, manifest)]
    lines.append(f"licence: {shown(manifest['licence']) or 'not stated'}")
    for name, info in labels.items():
        counts = ", ".join(f"{split} {info['counts'][split]}" for split in SPLITS)
        classes = f", {len(info['classes'])} classes" if info["classes"] else ""
        lines.append(f"labels {name}: {info['kind']}{classes}; {counts}; by {info['split']['by']}")
    return "\n".join(lines + _rejections(rejected, manifest["others"]))


def _counts(manifest: dict[str, Any]) -> dict[str, Any]:
    return {
        "tracks": manifest["tracks"],
        "hours": round(manifest["duration_s"] / 3600, 4),
        "bytes": sum(shard["bytes"] for shard in manifest["shards"]),
        "shards": len(manifest["shards"]),
        "sample_rate": manifest["sample_rate"],
        "codec": manifest["codec"],
        "rejected": manifest["rejected"],
        "others": manifest["others"],
    }


def _holds(path: Place, manifest: dict[str, Any]) -> str:
    counts = _counts(manifest)
    return (
        f"{shown(path)}: {counts['tracks']} tracks, {counts['hours']:.2f} h, "
        f"{counts['bytes'] / MIB:.1f} MiB of {counts['codec']} at {counts['sample_rate']} Hz "
        f"in {counts['shards']} shards"
    )


def _rejections(rejected: list[dict[str, str]], others: int) -> list[str]:
    """Rejected files by reason with examples, then the number of files that are no audio."""
    lines = [f"rejected: {len(rejected)}" + (f", all listed in {REJECTED}" if rejected else "")]
    for code, rows in _by_code(rejected):
        lines.append(f"  {code}: {len(rows)}")
        lines += [f"    {row['path']} {row['message']}" for row in rows[:EXAMPLES]]
        if len(rows) > EXAMPLES:
            lines.append(f"    … and {len(rows) - EXAMPLES} more")
    if others:
        lines.append(f"other files ignored: {others}")
    return lines


def _by_code(rejected: Iterable[dict[str, str]]) -> list[tuple[str, list[dict[str, str]]]]:
    """Rejections of each code, the most frequent code first."""
    codes: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rejected:
        codes[row["code"]].append(row)
    return sorted(codes.items(), key=lambda item: (-len(item[1]), item[0]))
