"""select(): which tracks of archives a view can use, under conditions."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from shards import mapped
from shards.columns import numbers
from shards.errors import InputError
from shards.files import json_bytes, shown
from shards.filters import Condition, labels_of, parse
from shards.index import Index
from shards.selection import COLUMNS, READ, Origin, Selection, blocks, files_of
from shards.verdicts import JUDGED, Judge
from shards.views.view import View

MAPPED_TRACKS = 1 << 20
"""From so many tracks on a selection is written to a file and mapped."""


def select(
    indexes: Sequence[Index],
    view: View,
    *,
    where: Sequence[str] = (),
    duplicates: bool = False,
    map_from: int = MAPPED_TRACKS,
    folder: Path | None = None,
) -> Selection:
    """The tracks that a view can use and that meet all conditions.

    Tracks with the same samples as another of their archive are left out unless `duplicates`.
    Near duplicates (other masters, other codecs) and truncated tracks are kept: a condition on
    `near_duplicate_of` or `truncated` leaves them out.

    Args:
        indexes: Archives of one sample rate.
        view: Says how long a track must be.
        where: Conditions, see `filters`.
        duplicates: Keep exact copies.
        map_from: Tracks of all archives from which on the selection is a mapped file.
        folder: Where such files lie; a private one for temporary files if None.
    """
    conditions = [parse(text) for text in where]
    rates = sorted({index.sample_rate for index in indexes})
    if len(rates) != 1:
        raise InputError(f"Want archives of one sample rate, got {rates} Hz: pack them alike.")
    if sum(map(len, indexes)) < map_from:
        columns: dict[str, np.ndarray] = {}
        facts = _build(indexes, view, conditions, duplicates, columns.__setitem__)
    else:
        name = _name(indexes, view, conditions, duplicates)
        columns, facts = mapped.columns_of(
            folder or mapped.private_folder(),
            name,
            lambda write: _build(indexes, view, conditions, duplicates, write),
        )
    if not facts["ends"][-1]:
        raise InputError(_nothing_left(indexes, view, facts["left_out"]))
    return Selection(
        columns,
        tuple(_origins(indexes, facts["ends"])),
        left_out=facts["left_out"],
        sha256=facts["sha256"],
        layout_sha256=facts["layout_sha256"],
        indexes=tuple(indexes),
        **files_of(indexes),
    )


def _build(
    indexes: Sequence[Index],
    view: View,
    conditions: Sequence[Condition],
    duplicates: bool,
    write: mapped.Write,
) -> dict[str, Any]:
    """Write the columns one after another; what else there is to know of the selection."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
    ends: list[int] = []
    left_out = Counter[str]()
    added = {name: _added(indexes, name) for name in COLUMNS}
    for number, index in enumerate(indexes):
        judge = Judge(index, view, conditions, duplicates=duplicates)
        counts = np.zeros(len(judge.reasons), np.int64)
        for first, table in index.groups(sorted({*READ, *JUDGED})):
            verdict = judge.verdict(first, table)
            counts += np.bincount(verdict, minlength=len(counts))
            for name, column in _kept(index, first, table, verdict == 0).items():
                parts[name].append(narrow(column + added[name][number]))
        left_out.update({r: int(n) for r, n in zip(judge.reasons, counts, strict=True) if r and n})
        ends.append((ends[-1] if ends else 0) + int(counts[0]))
    sha256 = {}
    for name in COLUMNS:
        column = np.concatenate(parts.pop(name) or [np.zeros(0, np.uint8)])
        write(name, column)
        if name in ("row", "shard"):
            sha256[name] = _sha256(column)
    return {
        "ends": ends,
        "left_out": dict(left_out),
        "sha256": sha256["row"],
        "layout_sha256": sha256["shard"],
    }


def _kept(index: Index, first: int, table: pa.Table, kept: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of the rows that are kept of some from row `first` on."""
    how = index.how[first : first + len(table)]
    columns = {"row": np.arange(first, first + len(table)), "how": how}
    columns |= {name: numbers(table.column(name)) for name in READ}
    return columns if kept.all() else {name: column[kept] for name, column in columns.items()}


def _added(indexes: Sequence[Index], name: str) -> list[int]:
    """What makes rows and shards of several archives differ."""
    sizes = {"row": [len(i) for i in indexes], "shard": [len(i.shards) for i in indexes]}
    if name not in sizes:
        return [0] * len(indexes)
    return [0, *np.cumsum(sizes[name]).tolist()[:-1]]


def narrow(column: np.ndarray) -> np.ndarray:
    """The same integers in the fewest bytes that hold them."""
    return column.astype(np.min_scalar_type(int(column.max(initial=0))))


def _sha256(column: np.ndarray) -> str:
    digest = hashlib.sha256()
    for block in blocks(column):
        digest.update(block.astype("<i8").tobytes())
    return digest.hexdigest()


def _name(
    indexes: Sequence[Index], view: View, conditions: Sequence[Condition], duplicates: bool
) -> str:
    """What a selection depends on, as a hash: equal names, equal columns."""
    facts = [
        [[index.footer_sha256, index.fingerprint, len(index.shards)] for index in indexes],
        [labels_of(conditions, index) for index in indexes],
        [condition.text for condition in conditions],
        view.min_frames(indexes[0].sample_rate),
        duplicates,
        COLUMNS,
    ]
    return hashlib.sha256(json_bytes(facts)).hexdigest()[:32]


def _origins(indexes: Sequence[Index], ends: list[int]) -> Iterator[Origin]:
    first_rows = _added(indexes, "row")
    for index, row, begin, end in zip(indexes, first_rows, [0, *ends[:-1]], ends, strict=True):
        yield Origin(index.path, index.fingerprint, row, begin, end)


def _nothing_left(indexes: Sequence[Index], view: View, left_out: Mapping[str, int]) -> str:
    rate = indexes[0].sample_rate
    longest_s = max(index.column("duration_s").max(initial=0.0) for index in indexes)
    counts = "; ".join(f"{count} {reason}" for reason, count in left_out.items())
    return (
        f"No track of {', '.join(shown(index.path) for index in indexes)} can be used: this view "
        f"needs {view.min_frames(rate) / rate:.1f} s, the longest has {longest_s:.1f} s. Left out: "
        f"{counts or 'none'}. Take longer tracks, or a shorter view (--view.clip-s, "
        "--view.min-gap-s), or fewer conditions (--where)."
    )
