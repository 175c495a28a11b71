"""The events of a table's tracks, from its own rows or from the files that a column names."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

from ingest.labels.events import Row, events_of, file_rows
from ingest.labels.kinds import MIN_TRACKS, NoLabels, Target
from ingest.labels.table import Joined
from shards.files import sha256_file, shown
from shards.index import Index
from shards.place import Place

NO_EVENTS = "tracks without events"


def of_rows(
    kind: str, table: Place, rows: list[list[Row]], joined: Joined, index: Index, which: str
) -> Target:
    """Events of tracks that have a row an event in the table."""
    return _target(
        kind, ((place, table, own) for place, own in enumerate(rows)), joined, index, which
    )


def of_files(
    kind: str, table: Place, column: str, joined: Joined, index: Index, which: str
) -> tuple[Target, str]:
    """Events of tracks whose cells name a file each, and the SHA-256 over all these files."""
    names = zip(joined.columns[joined.by], joined.columns[column], strict=True)
    files = {
        place: _found(table.parent, track, cell)
        for place, (track, cell) in enumerate(names)
        if cell
    }
    read = ((place, file, file_rows(file)) for place, file in files.items())
    target = _target(kind, read, joined, index, which)
    sums = "".join(sha256_file(file) for file in files.values())
    return target, hashlib.sha256(sums.encode()).hexdigest()


def _found(folder: Place, track: str, cell: str) -> Place:
    """A file named in a table: beside the table, or in a folder above the track."""
    above = [parent.as_posix() for parent in PurePosixPath(track).parents]
    for at in [folder, *(folder / name for name in above if name != ".")]:
        file = at / cell
        with suppress(OSError):  # no name for a file
            if file.is_file():
                return file
    raise NoLabels(f"no file {shown(cell)} beside the table nor above {shown(track)}")


def _target(
    kind: str,
    tracks: Iterable[tuple[int, Place, list[Row]]],
    joined: Joined,
    index: Index,
    which: str,
) -> Target:
    """Events of tracks given as place, file and rows; those without any are left out."""
    duration_s = index.column("duration_s")
    left_out: Counter[str] = Counter()
    kept: dict[int, list[dict[str, Any]]] = {}
    for place, file, rows in tracks:
        events, odd = events_of(
            kind,
            rows,
            file=file.name,
            which=which,
            duration_s=float(duration_s[joined.rows[place]]),
        )
        left_out.update(odd if events else {**odd, NO_EVENTS: 1})
        if events:
            kept[place] = events
    if len(kept) < MIN_TRACKS:
        raise NoLabels(f"{len(kept)} tracks have events, want {MIN_TRACKS} or more")
    return Target(kind, list(kept), list(kept.values()), dict(left_out))
