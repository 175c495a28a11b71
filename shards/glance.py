"""An archive at a glance: one line for a terminal, a small table for a notebook."""

from __future__ import annotations

import html
from collections import Counter
from typing import TYPE_CHECKING

from shards.errors import InputError
from shards.labels import SPLITS, Labels
from shards.text import shown

if TYPE_CHECKING:
    from shards.archive import Archive

MOST = 5
"""Of a kind, before the rest is counted together."""


def in_a_line(archive: Archive) -> str:
    """Where, how much, of what, under which licence, with which labels."""
    facts = [shown(archive.index.path), *(text for _, text in _facts(archive))]
    names = ", ".join(map(shown, archive.label_names))
    return f"Archive({'; '.join(facts)}{f'; labels {names}' if names else ''})"


def as_html(archive: Archive) -> str:
    """The same as a table, with each label set and the first tracks."""
    lines = [("archive", shown(archive.index.path)), *_facts(archive)]
    lines += [(f"labels {shown(name)}", _labels(archive, name)) for name in archive.label_names]
    head = "".join(f"<tr><th>{_safe(name)}</th><td>{_safe(text)}</td></tr>" for name, text in lines)
    tracks = "".join(_row(archive, place) for place in range(min(MOST, len(archive))))
    titles = "".join(f"<th>{name}</th>" for name in ("", "title", "artist", "seconds", "source"))
    more = f"<p>… and {len(archive) - MOST} more</p>" if len(archive) > MOST else ""
    return f"<div><table>{head}</table><table><tr>{titles}</tr>{tracks}</table>{more}</div>"


def _facts(archive: Archive) -> list[tuple[str, str]]:
    """Name and text of what holds for all tracks."""
    tracks = f"{len(archive)} tracks"
    if len(archive) != len(archive.index):
        tracks += f" of {len(archive.index)}"
    column = archive.index.column
    licences = Counter(text or "not stated" for text in column("licence")[archive.rows])
    codecs = Counter(column("codec")[archive.rows])
    return [
        ("tracks", tracks),
        ("hours", f"{archive.duration_s / 3600:.2f} h"),
        ("samples", f"mono {archive.sample_rate} Hz, {_counted(codecs, len(archive))}"),
        ("licence", _counted(licences, len(archive))),
    ]


def _counted(counts: Counter[str], total: int) -> str:
    """Values with how often they occur, the frequent ones first; no number if it is always one."""
    if len(counts) == 1:
        return shown(next(iter(counts)))
    most = counts.most_common(MOST)
    text = ", ".join(f"{shown(name)} {count}" for name, count in most)
    rest = total - sum(count for _, count in most)
    return f"{text}, others {rest}" if rest else text or "none"


def _labels(archive: Archive, name: str) -> str:
    """A label set in a line; one that is damaged says so."""
    try:
        labels = Labels.open(archive.index, name)
    except InputError as error:
        return str(error)
    counts = ", ".join(f"{split} {len(labels.rows(split))}" for split in SPLITS)
    classes = f", {len(labels.classes)} classes" if labels.classes else ""
    classes += f", {labels.info['holds']}" if labels.info.get("holds") else ""
    return f"{labels.kind}{classes}; {counts}"


def _row(archive: Archive, place: int) -> str:
    """A track as a row of the table."""
    track = archive.index[int(archive.rows[place])]
    cells = (place, track.title, track.artist, f"{track.duration_s:.1f}", track.source)
    return f"<tr>{''.join(f'<td>{_safe(cell)}</td>' for cell in cells)}</tr>"


def _safe(value: object) -> str:
    """Text from outside for a page."""
    return html.escape(shown(value))
