"""What a column holds, read off its values by rules that are few and written down.

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
from dataclasses import dataclass

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
    """Labels of the tracks that have any: the kind, and a value each."""

    kind: str
    places: list[int]  # positions of the labelled tracks among those joined
    values: list[str] | list[list[str]] | list[float]


class NoLabels(ValueError):
    """A column that is not a label set, and why."""


def read_target(cells: list[str], *, kind: str, separator: str) -> Target:
    """Type the cells of one column; an empty cell leaves its track without a label."""
    places = [place for place, cell in enumerate(cells) if cell]
    filled = [cells[place] for place in places]
    if len(filled) < 3:
        raise NoLabels(f"{len(filled)} tracks have a value, want 3 or more")
    if len(set(filled)) < 2:
        raise NoLabels(f"every value is {filled[0][:40]!r}")
    if kind == "number":
        return Target(kind, places, _numbers(filled))
    if kind == "tags":
        tags = [[tag.strip() for tag in cell.split(separator)] for cell in filled]
        return Target(kind, places, [sorted({tag for tag in one if tag}) for one in tags])
    return Target("class", places, filled)


def infer_kind(name: str, cells: list[str], *, separator: str) -> str:
    """Kind of a column by the rules above."""
    filled = [cell for cell in cells if cell]
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
