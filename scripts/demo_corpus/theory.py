"""Keys, chords and scales as semitones above the tonic, spelled as mir_eval reads them."""

from __future__ import annotations

import re

PITCH_NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MODES = ("major", "minor")
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
QUALITIES = {
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "min7": (0, 3, 7, 10),
    "hdim7": (0, 3, 6, 10),
}
DEGREES = {"I": 0, "II": 2, "bIII": 3, "III": 4, "IV": 5, "V": 7, "bVI": 8, "VI": 9, "bVII": 10}
SUFFIXES = {"": "", "7": "7", "maj7": "maj7", "h": "hdim7"}

Chord = tuple[int, str]  # root in semitones above the tonic, quality


def key_name(tonic: int, mode: str) -> str:
    """`F# minor`, for a tonic in pitch classes (C = 0)."""
    return f"{PITCH_NAMES[tonic % 12]} {mode}"


def chord_name(tonic: int, chord: Chord) -> str:
    """`A:min7`: the chord in the syntax of Harte et al. (2005)."""
    return f"{PITCH_NAMES[(tonic + chord[0]) % 12]}:{chord[1]}"


def chord_tones(chord: Chord) -> tuple[int, ...]:
    """The chord's tones in semitones above the tonic, root first."""
    return tuple(chord[0] + step for step in QUALITIES[chord[1]])


def read_chord(numeral: str) -> Chord:
    """`ii7` -> (2, "min7"): capitals are major, small letters minor, `h` half-diminished."""
    match = re.fullmatch(r"(b?)([IViv]+)(maj7|7|h|)", numeral)
    if match is None:
        raise ValueError(f"Want a Roman numeral such as bVI or ii7, got {numeral!r}.")
    flat, degree, suffix = match.groups()
    small = degree.islower() and suffix != "h"
    quality = "min" + suffix if small else SUFFIXES[suffix] or "maj"
    return DEGREES[flat + degree.upper()], quality


def read_progression(numerals: str) -> tuple[Chord, ...]:
    """`I vi IV V` -> its chords."""
    return tuple(read_chord(numeral) for numeral in numerals.split())
