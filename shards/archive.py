"""`shards.open(path)`: an archive for people, in a notebook or a script, without torch and Ray.

archive = shards.open("SHARDS")       # or "s3://bucket/SHARDS"
archive                               # hours, tracks, rate, licences, labels
archive[7].waveform                   # float32 [n]; .samples int16, .sample_rate, .track
archive[7, 10.0:14.0]                 # four seconds, without reading the rest; [7, -5.0:] the last
archive["0a3f…"]                      # by key
archive[:100], archive[[3, 1, 4]], archive[mask]    # smaller archives; nothing is read yet
archive.table                         # pyarrow, one row a track
archive.labels("genre")               # pyarrow; targets of the test split stay closed
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np

from shards.errors import InputError
from shards.index import Index
from shards.place import Place, Remote
from shards.reader import open_track
from shards.sound import Sound
from shards.text import shown

if TYPE_CHECKING:
    import pyarrow as pa

One: TypeAlias = "int | np.integer[Any] | str"
Many: TypeAlias = "slice | list[int] | np.ndarray | pa.Array | pa.ChunkedArray"


def open(path: str | os.PathLike[str] | Remote) -> Archive:
    """The archive in a folder or at a URI, to be looked at and listened to."""
    index = Index.open(path if isinstance(path, Remote) else os.fspath(path))
    return Archive(index, np.arange(len(index)))


class Archive:
    """Tracks of an archive: all of them, or those that were chosen by a slice, a list or a mask.

    Args:
        index: Of the archive.
        rows: Rows of the index, int64 [n], in the order wanted.
    """

    def __init__(self, index: Index, rows: np.ndarray) -> None:
        self.index, self.rows = index, rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, which: One | tuple[One, slice]) -> Sound: ...
    @overload
    def __getitem__(self, which: Many) -> Archive: ...
    def __getitem__(self, which: One | tuple[One, slice] | Many) -> Sound | Archive:
        """A track, `[track, from_s:to_s]` a part of one in seconds, or a smaller archive."""
        if isinstance(which, tuple):
            track, seconds = which
            return self._sound(self._row(track), seconds)
        if isinstance(which, int | np.integer | str):
            return self._sound(self._row(which), slice(None))
        return Archive(self.index, self.rows[_places(which)])

    def __iter__(self) -> Iterator[Sound]:
        """One track after the other, read when its turn comes."""
        return (self[place] for place in range(len(self)))

    def __contains__(self, key: str) -> bool:
        """Whether a track of this key is here."""
        return self.index.row_of_key.get(key) in self.rows

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent to another process, it is opened there: an index is larger than its path."""
        return _opened_again, (self.index.path, self.index.fingerprint, self.rows)

    @property
    def sample_rate(self) -> int:
        """Of every track, in Hz."""
        return self.index.sample_rate

    @property
    def duration_s(self) -> float:
        """Of all tracks together."""
        return float(self.index.column("duration_s")[self.rows].sum())

    @cached_property
    def table(self) -> pa.Table:
        """The index's rows of these tracks; `.to_pandas()` for those who have pandas."""
        return self.index.table.take(self.rows)

    @property
    def label_names(self) -> list[str]:
        """Names that `labels` takes."""
        from shards.labels import label_names

        return label_names(self.index.path)

    def labels(self, name: str) -> pa.Table:
        """Row, key, split, group and target of each labelled track here.

        Targets of the test split are null, so that nothing can be chosen by looking at them:
        `shards.Labels.test_targets` opens them for a selection that is already written.
        """
        from shards.label_table import label_table

        return label_table(self.index, self.rows, name)

    def __repr__(self) -> str:
        from shards.glance import in_a_line

        return in_a_line(self)

    def _repr_html_(self) -> str:
        """The archive at a glance, for a notebook."""
        from shards.glance import as_html

        return as_html(self)

    def _row(self, which: One) -> int:
        """Row of the index, by place in this archive or by key."""
        if isinstance(which, str):
            if which not in self:
                raise KeyError(f"No track here has the key {shown(which)!r}.")
            return self.index.row_of_key[which]
        if not -len(self) <= which < len(self):
            raise IndexError(f"Track {which} of an archive of {len(self)}.")
        return int(self.rows[which])

    def _sound(self, row: int, seconds: slice) -> Sound:
        """A part of a track; like any slice it ends where the track does."""
        if not isinstance(seconds, slice) or seconds.step is not None:
            raise InputError(f"Want a part of a track as from_s:to_s, got {seconds}.")
        frames, rate_hz = int(self.index.column("frames")[row]), self.sample_rate
        bounds = (None if s is None else round(s * rate_hz) for s in (seconds.start, seconds.stop))
        start, stop, _ = slice(*bounds).indices(frames)
        with open_track(self.index, row) as track:
            samples = track.read(start, max(0, stop - start))
        return Sound(samples, rate_hz, start / rate_hz, self.index[row])


def _opened_again(path: Place, fingerprint: str, rows: np.ndarray) -> Archive:
    """The tracks that were sent, if they still stand where they did."""
    index = Index.open(path)
    if index.fingerprint != fingerprint:
        raise InputError(f"{shown(path)} has changed since it was opened: open it again.")
    return Archive(index, rows)


def _places(which: Many) -> slice | np.ndarray:
    """A slice, places or a mask, as numpy takes it."""
    if isinstance(which, slice):
        return which
    places = np.asarray(which)
    if places.size and places.dtype.kind not in "iub":
        raise InputError(
            "Want a number, a key, [track, from_s:to_s], a slice, a list of numbers or a mask, "
            f"got {shown(repr(which))[:80]}."
        )
    return places if places.dtype.kind == "b" else places.astype(np.int64)
