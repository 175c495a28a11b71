"""What of an archive stands in another one too, or twice in itself: leakage, before it happens."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.near import Sketches, compare, matches, near_duplicates
from shards.errors import InputError
from shards.files import read_parquet, shown
from shards.index import Index, to_repair
from shards.place import Place

EXAMPLES = 5


@dataclass(frozen=True)
class Copy:
    """A track and the one it repeats; `share` of landmarks in common is 1 for equal samples."""

    key: str
    source: str
    duration_s: float
    kind: str  # exact or near
    of_key: str
    of_source: str
    share: float


@dataclass(frozen=True)
class Check:
    """Tracks that were found again."""

    shards: Place
    against: Place | None
    tracks: int
    duration_s: float
    copies: list[Copy]


def check(shards: Place, against: Place | None = None) -> Check:
    """The tracks of an archive that stand in the other, or that repeat an earlier one of its own.

    Equal samples are exact copies, similar fingerprints near ones: second encodes, for instance.
    """
    index = Index.open(shards)
    if against is None:
        copies = within(index)
    elif against.resolve() == shards.resolve():
        raise InputError(
            f"--against {shown(against)} is the archive itself. Want another one; "
            "leave --against out to find repetitions within an archive."
        )
    else:
        copies = between(index, Index.open(against))
    return Check(shards, against, len(index), float(index.column("duration_s").sum()), copies)


def between(index: Index, other: Index) -> list[Copy]:
    """Tracks of `index` that stand in `other`, each with the track it resembles most."""
    earliest: dict[str, int] = {}
    for row, sha256 in enumerate(other.column("pcm_sha256")):
        earliest.setdefault(sha256, row)
    best = {
        row: (earliest[sha256], 1.0, "exact")
        for row, sha256 in enumerate(index.column("pcm_sha256"))
        if sha256 in earliest
    }
    pairs, shares = matches(_fingerprints(index), _fingerprints(other))
    for place in np.argsort(-shares, kind="stable"):
        row, of_row = pairs[place].tolist()
        best.setdefault(row, (of_row, float(shares[place]), "near"))
    return [
        _copy(index, row, other, of_row, kind, share)
        for row, (of_row, share, kind) in sorted(best.items())
    ]


def within(index: Index) -> list[Copy]:
    """Tracks that repeat an earlier one of the same archive, each with its cluster's first."""
    sha256 = index.column("pcm_sha256")
    prints = _fingerprints(index)
    first = near_duplicates(prints, pcm_sha256=list(sha256))
    rows = np.flatnonzero(first != np.arange(len(first)))
    pairs = np.arange(len(rows))
    _, shares = compare(
        Sketches(prints.take(rows)), pairs, Sketches(prints.take(first[rows])), pairs
    )
    earlier = set(sha256[first[rows]])
    copies = []
    for row, share in zip(rows.tolist(), shares.tolist(), strict=True):
        exact = sha256[row] in earlier  # of the cluster's first track, or of another before it
        earlier.add(sha256[row])
        kind = "exact" if exact else "near"
        copies.append(_copy(index, row, index, int(first[row]), kind, 1.0 if exact else share))
    return copies


def report(found: Check, *, as_json: bool) -> str:
    """Counts, hours and examples; as JSON all copies."""
    if as_json:
        return json.dumps(
            {
                "tracks": found.tracks,
                "hours": round(found.duration_s / 3600, 4),
                **{kind: _amount(found, kind) for kind in ("exact", "near")},
                "copies": [asdict(copy) for copy in found.copies],
            }
        )
    where = f"stand in {shown(found.against)}" if found.against else "repeat an earlier one"
    hours = found.duration_s / 3600
    count = f"{len(found.copies)} of {found.tracks} tracks ({hours:.2f} h)"
    lines = [f"{shown(found.shards)}: {count} {where}"]
    for kind, meaning in (("exact", "the same samples"), ("near", "the same recording")):
        amount = _amount(found, kind)
        lines.append(f"{kind} ({meaning}): {amount['tracks']} tracks, {amount['hours']:.2f} h")
        copies = [copy for copy in found.copies if copy.kind == kind]
        for copy in copies[:EXAMPLES]:
            share = "" if kind == "exact" else f" ({copy.share:.0%} of landmarks)"
            lines.append(f"  {shown(copy.source)} = {shown(copy.of_source)}{share}")
        if len(copies) > EXAMPLES:
            lines.append(f"  … and {len(copies) - EXAMPLES} more; --json lists all")
    return "\n".join(lines)


def _amount(found: Check, kind: str) -> dict[str, float]:
    durations_s = [copy.duration_s for copy in found.copies if copy.kind == kind]
    return {"tracks": len(durations_s), "hours": round(sum(durations_s) / 3600, 4)}


def _fingerprints(index: Index) -> pa.ChunkedArray:
    """Fingerprints in the order of the index, from the tables of all generations."""
    names = [generation["fingerprints"] for generation in index.manifest["generations"]]
    table = pa.concat_tables(read_parquet(index.path / name) for name in names)
    keys = table.column("key")
    missing = pc.is_in(pa.array(index.column("key"), pa.string()), keys).false_count
    if missing:
        raise InputError(
            f"{shown(index.path)} has no fingerprints of {missing} of its tracks. "
            f"{to_repair(index.path)}"
        )
    places = pc.index_in(pa.array(index.column("key"), pa.string()), keys)
    return table.column("fingerprint").take(places)


def _copy(index: Index, row: int, other: Index, of_row: int, kind: str, share: float) -> Copy:
    track, original = index[row], other[of_row]
    return Copy(
        key=track.key,
        source=track.source,
        duration_s=track.duration_s,
        kind=kind,
        of_key=original.key,
        of_source=original.source,
        share=round(share, 3),
    )
