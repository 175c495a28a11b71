"""What a column holds, read off its values by rules that are few and written down.

    key      every value is a musical key and the column is named key or the like, or every value
             has the word major or minor, or maj or min
    group    the column is named cover_group, version_group or clique: versions of one piece
    beats    the column is named beats_file (`ingest.labels.events`)
    number   every value is a finite number, and more than 20 different ones occur
             or the column is named like a quantity (bpm, tempo, …)
    tags     the separator occurs in a value
    class    everything else

No labels, unless the column is asked for by name: a column that describes the file instead of the
music; nearly all values different (names, paths, identifiers, free text). Never labels: fewer than
two different values, or fewer than three tracks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from ingest.labels.keys import NoKey, is_key, key_of

MIN_TRACKS = 3
MAX_CLASSES_OF_NUMBERS = 20
MAX_DIFFERENT = 0.5
"""Share of different values above which a column holds names and not classes."""

QUANTITIES = frozenset(
    [
        "bpm",
        "tempo",
        "tempo_bpm",
        "arousal",
        "valence",
        "energy",
        "danceability",
        "midi_pitch",
        "pitch",
    ]
)

KEY_NAMES = frozenset(
    ["key", "musical_key", "global_key", "manual_key", "camelot", "camelot_key", "open_key"]
)
PIECES = frozenset(["cover_group", "version_group", "clique"])
BEAT_FILES = frozenset(["beats_file"])

ABOUT_FILES = frozenset(
    [
        *("bytes", "size", "duration", "duration_s", "duration_ms", "length", "frames", "bitrate"),
        *("samplerate", "sample_rate", "sr", "rate", "channels", "container", "codec", "format"),
        *("bit_depth", "sha256", "sha1", "md5", "checksum", "url", "uri", "mtime", "date_added"),
        *("license", "licence", "license_evidence", "source_repo", "source_commit", "source_path"),
        *("decodes_with_soundfile", "magic"),
    ]
)


@dataclass(frozen=True)
class Target:
    """Labels of the tracks that have any: the kind, and a value each.

    Args:
        kind: One of `shards.labels.KINDS`.
        places: Positions of the labelled tracks among those joined.
        values: What a label table holds of each.
        left_out: Why cells that are not empty are no labels → how many.
    """

    kind: str
    places: list[int]
    values: list[Any]
    left_out: dict[str, int] = field(default_factory=dict)


class NoLabels(ValueError):
    """A column that is not a label set, and why."""


def read_target(cells: list[str], *, kind: str, separator: str) -> Target:
    """Type the cells of one column; an empty cell leaves its track without a label."""
    places = [place for place, cell in enumerate(cells) if cell]
    filled = [cells[place] for place in places]
    check_enough(filled)
    if kind == "key":
        return _keys(places, filled)
    if kind == "group":
        return Target(kind, places, filled)
    if kind == "number":
        return Target(kind, places, _numbers(filled))
    if kind == "tags":
        tags = [[tag.strip() for tag in cell.split(separator)] for cell in filled]
        return Target(kind, places, [sorted({tag for tag in one if tag}) for one in tags])
    return Target("class", places, filled)


def check_enough(values: list[str]) -> None:
    """`NoLabels` unless three tracks have a value and two of these differ."""
    if len(values) < MIN_TRACKS:
        raise NoLabels(f"{len(values)} tracks have a value, want {MIN_TRACKS} or more")
    if len(set(values)) < 2:
        raise NoLabels(f"every value is {values[0][:40]!r}")


def _keys(places: list[int], filled: list[str]) -> Target:
    """Keys; tracks that are said to have none or two are left out."""
    kept: dict[int, str] = {}
    left_out: dict[str, int] = {}
    for place, cell in zip(places, filled, strict=True):
        try:
            kept[place] = key_of(cell)
        except NoKey as reason:
            if not reason.known:
                raise NoLabels(f"{cell[:40]!r} is no key: {reason}") from None
            left_out[str(reason)] = left_out.get(str(reason), 0) + 1
    check_enough(list(kept.values()))
    return Target("key", list(kept), list(kept.values()), left_out)


def infer_kind(name: str, cells: list[str], *, separator: str) -> str:
    """Kind of a column by the rules above."""
    filled = [cell for cell in cells if cell]
    if name.lower() in PIECES:
        return "group"
    if name.lower() in BEAT_FILES:
        return "beats"
    if filled and all(is_key(cell, spelled=name.lower() not in KEY_NAMES) for cell in filled):
        return "key"
    if all(map(is_number, filled)):
        many = len(set(filled)) > MAX_CLASSES_OF_NUMBERS
        return "number" if many or name.lower() in QUANTITIES else "class"
    return "tags" if any(separator in cell for cell in filled) else "class"


def why_no_labels(name: str, cells: list[str], kind: str) -> str:
    """Why a column that nobody asked for by name is passed over, "" if it is not."""
    filled = [cell for cell in cells if cell]
    different = len(set(filled))
    if name.lower() in ABOUT_FILES:
        return "it describes the file, not the music"
    if kind == "class" and different > MAX_DIFFERENT * len(filled):
        return f"{different} different values in {len(filled)} tracks: names or free text"
    whole = bool(filled) and all(cell.lstrip("-").isdigit() for cell in filled)
    if whole and different == len(filled) and name.lower() not in QUANTITIES:
        return f"{different} different whole numbers in as many tracks: identifiers"
    return ""


def is_number(text: str) -> bool:
    """Whether text is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _numbers(filled: list[str]) -> list[float]:
    wrong = [cell for cell in filled if not is_number(cell)]
    if wrong:
        raise NoLabels(f"{len(wrong)} values are no numbers, the first is {wrong[0][:40]!r}")
    return [float(cell) for cell in filled]
