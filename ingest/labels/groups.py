"""Which tracks may never part: those of one artist, album or folder, and versions of one piece."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import PurePosixPath

from ingest.forest import Forest
from ingest.labels.table import Joined
from shards.index import Index

LEVELS = ("artist", "album", "folder", "track")
"""From coarse to fine."""

COLUMNS = {
    "artist": ("artist", "artist_id", "artist_name"),
    "album": ("album", "album_id", "album_name", "album_or_game"),
}
"""Columns of a table that say more than the tags of the files."""

VERSION_COLUMNS = ("cover_group", "version_group", "group")

NOBODY = frozenset(
    [
        *("", "-", "?", "n/a", "na", "none", "null", "unknown", "unknown artist", "unknown album"),
        *("various", "various artists", "various artist", "va", "v.a.", "v/a", "verschiedene"),
        *("anonymous", "traditional", "no artist", "untitled", "artist", "album"),
    ]
)
"""Names that link nothing."""


@dataclass(frozen=True)
class Level:
    """Of each track the group, named by the smallest key in it, and the own name, "" if unknown."""

    groups: list[str]
    names: list[str]

    def of(self, places: list[int]) -> Level:
        """The same of some tracks."""
        return Level([self.groups[p] for p in places], [self.names[p] for p in places])


def group_levels(index: Index, joined: Joined, *version_columns: str) -> dict[str, Level]:
    """Name of a level → the level of the joined tracks.

    Duplicates, exact and near, and tracks with the same value in a version column, are one group at
    every level.
    Albums of different artists in different folders are different albums: many bear one name.
    """
    artists, albums = (_names(name, index, joined) for name in ("artist", "album"))
    folders = [str(PurePosixPath(source).parent) for source in index.column("source")]
    versions = _version_links(index, joined, version_columns)
    keys = [str(key) for key in index.column("key")]
    linked = {
        "artist": (artists, [artists]),
        "album": (albums, [_pairs(artists, albums), _pairs(folders, albums)]),
        "folder": (folders, [folders]),
        "track": (keys, []),
    }
    return {
        level: Level(
            groups=_groups(keys, joined, versions, links),
            names=[names[row] for row in joined.rows],
        )
        for level, (names, links) in linked.items()
    }


def _groups(
    keys: list[str], joined: Joined, versions: list[tuple[int, int]], links: list[list[str]]
) -> list[str]:
    """Groups of the joined tracks, where equal names unite, and so do versions."""
    forest = Forest(len(keys))
    for a, b in versions:
        forest.unite(a, b)
    for names in links:
        first: dict[str, int] = {}
        for row, name in enumerate(names):
            if name:
                forest.unite(first.setdefault(name, row), row)
    return [keys[forest.root(row)] for row in joined.rows]  # keys ascend with the rows


def _pairs(outer: list[str], inner: list[str]) -> list[str]:
    """Names within names, "" where the inner one is unknown."""
    return [f"{a}\n{b}" if b else "" for a, b in zip(outer, inner, strict=True)]


def _version_links(index: Index, joined: Joined, columns: tuple[str, ...]) -> list[tuple[int, int]]:
    links = [
        (index.row_of_key[original], row)
        for column in ("duplicate_of", "near_duplicate_of")
        for row, original in enumerate(index.column(column))
        if original
    ]
    for column in columns:
        first: dict[str, int] = {}
        for row, cell in zip(joined.rows, joined.columns[column], strict=True):
            if cell:
                links.append((first.setdefault(cell, row), row))
    return links


def _names(level: str, index: Index, joined: Joined) -> list[str]:
    """Artist or album of each index row: the table's, else the file's own tag, else ""."""
    names = [normal(name) for name in index.column(level)]
    for column in COLUMNS[level]:
        if column in joined.columns:
            for row, cell in zip(joined.rows, joined.columns[column], strict=True):
                names[row] = normal(cell) or names[row]
            break
    return names


def normal(name: str) -> str:
    """A name regardless of case and spaces, "" for one that stands for nobody."""
    text = " ".join(unicodedata.normalize("NFKC", str(name)).casefold().split())
    return "" if text in NOBODY else text
