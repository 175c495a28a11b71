"""Musical keys as people write them → one of the 24 of `shards.targets.KEYS`.

    C  Cm  CM  C minor  c:min  C# major  Dbmaj  A♭ minor  F-sharp minor     tonic and mode
    8A  12B                                                                 Camelot
    1m  8d                                                                  Open Key

A tonic alone is a major, if it is a capital. What could mean two things is refused: a small letter
alone, German names (their B is B flat), modes that are neither major nor minor.
"""

from __future__ import annotations

import re
import unicodedata

from shards.targets import KEYS

NO_KEY = frozenset(["-", "?", "x", "n", "n/a", "na", "none", "null", "unknown", "no key", "atonal"])
"""Cells that say that a track has no key, or that nobody knows it."""

_SEMITONES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_ACCIDENTALS = {"#": 1, "sharp": 1, "b": -1, "flat": -1}
_MAJOR, _MINOR = ("", "major", "maj"), ("m", "minor", "min")
_TONIC = re.compile(r"(?P<letter>[A-Ga-g])(?:[ _-]?(?P<name>(?i:sharp|flat))|(?P<sign>[#b]{0,2}))")
_KEY = re.compile(_TONIC.pattern + r"[ _:-]*(?P<mode>[A-Za-z]*)")
_WHEEL = re.compile(r"(?P<hour>0?[1-9]|1[0-2])(?P<ring>[ABabmd])")
_GERMAN = re.compile(r"\b(h|his|dur|moll)\b", re.IGNORECASE)
_TWO = re.compile(r"[/,;|&]|\b(and|to|or)\b|[A-Ga-g][#b]?\s*(?:->|→|-)\s*[A-G](?![a-z])")


class NoKey(ValueError):
    """Text that is no key; `known` if it says so itself, by naming none or two."""

    def __init__(self, reason: str, *, known: bool = False) -> None:
        super().__init__(reason)
        self.known = known


def key_of(text: str) -> str:
    """The key that a text names; `NoKey` says why it names none."""
    plain = unicodedata.normalize("NFKC", text).replace("♯", "#").replace("♭", "b").strip()
    if plain.casefold() in NO_KEY:
        raise NoKey("no key", known=True)
    if wheel := _WHEEL.fullmatch(plain):
        return _of_wheel(int(wheel["hour"]), wheel["ring"])
    if _TWO.search(plain):
        raise NoKey("two keys", known=True)
    if _GERMAN.search(plain):
        raise NoKey("German names are refused, whose B is B flat: write major or minor")
    found = _KEY.fullmatch(plain)
    if not found:
        raise NoKey("want a key such as 'C', 'F# minor', 'Ab:maj' or '8A'")
    return _named(found["letter"], (found["name"] or found["sign"]).lower(), found["mode"])


def _named(letter: str, accidental: str, mode: str) -> str:
    """A key from the parts of its name."""
    if not mode and letter.islower():
        raise NoKey(f"a small letter alone may be minor: write '{letter.upper()}' or with its mode")
    if mode == "M":
        minor = False
    elif mode.lower() in _MINOR or mode.lower() in _MAJOR:
        minor = mode.lower() in _MINOR
    else:
        raise NoKey(f"{mode!r} is neither major nor minor")
    signs = (accidental,) if accidental in _ACCIDENTALS else accidental  # "flat", or "bb"
    steps = sum(_ACCIDENTALS[sign] for sign in signs)
    return KEYS[(_SEMITONES[letter.lower()] + steps) % 12 + 12 * minor]


def _of_wheel(hour: int, ring: str) -> str:
    """A key on Camelot's wheel (C major is 8B) or of the Open Key (C major is 1d), in fifths."""
    fifths = hour - (8 if ring in "ABab" else 1)
    minor = ring in "Aam"
    return KEYS[(7 * fifths + 9 * minor) % 12 + 12 * minor]


def is_key(text: str, *, spelled: bool) -> bool:
    """Whether a text names a key, or none or two; `spelled`: with the word major or minor."""
    if spelled and not re.search(r"(?i)(maj|min)(or)?\b", text):
        return False
    try:
        key_of(text)
    except NoKey as reason:
        return reason.known
    return True
