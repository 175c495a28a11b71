"""Six styles: metre, subdivision, harmonic rhythm, drums, bass, accompaniment, melody, harmony.

Patterns are written on the bar's grid, one symbol a step: `.` rests, `-` holds, anything else
starts a note. Drums: `x` loud, `o` soft. Bass: the chord's 1, 3, 5, its sixth 6, the octave 8.
Accompaniment: `x` the whole chord, a digit one of its voices. Each part has variants of different
density, and each piece draws its own: a style is a family, and styles share most of their drums.
"""

from __future__ import annotations

from dataclasses import dataclass

Drums = dict[str, tuple[str, ...]]  # one string a bar, taken in turn


@dataclass(frozen=True)
class Style:
    """What the pieces of a style have in common."""

    beats: int
    chord_beats: int
    drums: tuple[Drums, ...]
    bass: tuple[str, ...]
    comp: tuple[str, ...]
    melody: tuple[str, ...]
    major: tuple[str, ...]
    minor: tuple[str, ...]


STYLES = {
    "ballad": Style(
        beats=4,
        chord_beats=2,
        drums=(
            {"kick": ("x.........x.....",), "brush": ("o.o.o.o.x.o.o.o.",)},
            {
                "kick": ("x...............",),
                "rim": ("........x.......",),
                "brush": ("o...o...o...o...",),
            },
            {
                "kick": ("x......x........",),
                "snare": ("........x.......",),
                "brush": ("..o...o...o...o.",),
            },
        ),
        bass=("1-------1-----5-", "1-----1-1-------", "1-------1-------"),
        comp=("1-2-3-2-1-2-3-2-", "x-------x-------", "1---3---2---3---"),
        melody=("x-----x-x-------", "x-------x---x---", "....x---x-------", "x---x-------x-x-"),
        major=("I vi IV V", "I iii IV V", "IV V iii vi", "I V vi IV"),
        minor=("i bVI bIII bVII", "i bVII bVI V", "iv bVII bIII V", "i iv bVI V"),
    ),
    "blues": Style(
        beats=4,
        chord_beats=4,
        drums=(
            {"kick": ("x.....x.....",), "snare": ("...x.....x..",), "ride": ("x.ox.ox.ox.o",)},
            {"kick": ("x.....x....x",), "snare": ("...x.....x..",), "ride": ("x..x.ox..x.o",)},
            {"kick": ("x..x..x..x..",), "rim": ("...x.....x..",), "ride": ("x..x.ox..x.o",)},
        ),
        bass=("1--3--5--6--", "1-.1-55-.6-5", "1--5--6--5--", "1-13-35-56-6"),
        comp=("..x..x..x..x", "x-x......x-x", "...x-x...x-x", "x.......x..."),
        melody=("x-xx-x......", "..xx-xx-----", "x-----x-xx-x", "..x--x..x---"),
        major=("I7 IV7 I7 V7", "I7 I7 IV7 V7", "I7 IV7 V7 I7", "IV7 I7 V7 I7"),
        minor=("i7 iv7 i7 V7", "i7 i7 iv7 V7", "i7 bVI7 V7 i7", "iv7 i7 V7 i7"),
    ),
    "bossa": Style(
        beats=4,
        chord_beats=4,
        drums=(
            {
                "kick": ("x.....x.x.....x.",),
                "rim": ("x.....x.....x...", "....x.....x....."),
                "shaker": ("x.x.x.x.x.x.x.x.",),
            },
            {
                "kick": ("x.....x.x.....x.",),
                "rim": ("....x.....x.....", "x.....x.....x..."),
                "shaker": ("xoxoxoxoxoxoxoxo",),
            },
            {
                "kick": ("x.......x.....x.",),
                "rim": ("x.....x.....x...", "....x.....x....."),
                "hat": ("..o...o...o...o.",),
            },
        ),
        bass=("1-----5-5-----1-", "1-----5-8-----5-", "1-----1-5-----5-"),
        comp=("x--...x-..x-..x-", "..x-..x-....x-..", "x-..x-...x-...x-"),
        melody=("..x---x---x-x---", "x-----x-----x---", "..x-x-x---x-----", "x--x--x-----x---"),
        major=("Imaj7 vi7 ii7 V7", "ii7 V7 Imaj7 vi7", "Imaj7 IVmaj7 ii7 V7", "iii7 vi7 ii7 V7"),
        minor=("i7 iv7 iih V7", "i7 bVImaj7 iih V7", "iih V7 i7 bVImaj7", "iv7 bVII7 iih V7"),
    ),
    "house": Style(
        beats=4,
        chord_beats=4,
        drums=(
            {
                "kick": ("x...x...x...x...",),
                "clap": ("....x.......x...",),
                "hat": ("..x...x...x...x.",),
            },
            {
                "kick": ("x...x...x...x...",),
                "clap": ("....x.......x..o",),
                "hat": ("o.x.o.x.o.x.o.x.",),
            },
            {
                "kick": ("x...x...x...x...",),
                "rim": ("...x..x....x..x.",),
                "hat": ("ooxoooxoooxoooxo",),
            },
        ),
        bass=("..1...1...1...1.", "1.1.1.1.1.1.5.8.", "..1-..1-..5-..8-"),
        comp=("x-.x-.x-..x-.x-.", "..x...x...x...x.", "x--x--x--x--x-x-"),
        melody=("x-x-x---..x-x---", "..x-x-x-x---x-x-", "x--x--x-x--x--x-", "x.x..x.x..x.x..."),
        major=("I V vi IV", "vi IV I V", "I vi IV V", "IV I V vi"),
        minor=("i bVI bIII bVII", "i iv bVI V", "i bVII bVI V", "bVI bVII i V"),
    ),
    "march": Style(
        beats=2,
        chord_beats=2,
        drums=(
            {"kick": ("x...x...",), "snare": ("..x...xx",)},
            {"kick": ("x...x...",), "snare": ("..xo..xo", "x.xoxox.")},
            {"kick": ("x...x...",), "snare": ("oox.oox.",), "hat": ("x...x...",)},
        ),
        bass=("1-..5-..", "1---5---", "1-..1-5-"),
        comp=("..x...x.", "..x-..x-", "..x...xx"),
        melody=("x--xx--x", "x---x-x-", "x-x-x---", "x--xx---"),
        major=("I IV V7 I", "I V7 V7 I", "I ii V7 I", "I V7 IV I"),
        minor=("i iv V7 i", "i V7 V7 i", "i bVI V7 i", "i V7 iv i"),
    ),
    "waltz": Style(
        beats=3,
        chord_beats=3,
        drums=(
            {"kick": ("x...........",), "brush": ("....x...x...",)},
            {"kick": ("x...........",), "rim": ("....x...x...",), "ride": ("x.......o...",)},
            {"kick": ("x.........o.",), "brush": ("....x...x...",), "ride": ("x...........",)},
        ),
        bass=("1-----------", "1-------5---", "1---........"),
        comp=("....x--.x--.", "....x...x...", "1-2-3-2-3-2-"),
        melody=("x-------x---", "x---x---x---", "x-----x-x---", "x-----------"),
        major=("I IV V7 I", "I vi ii V7", "I V7 V7 I", "IV I V7 I"),
        minor=("i iv V7 i", "i bVI iv V7", "i V7 V7 i", "iv i V7 i"),
    ),
}


def read_pattern(pattern: str, beats: int) -> list[tuple[float, float, str]]:
    """The (start, length, symbol) of each note of a bar, in beats."""
    step = beats / len(pattern)
    notes = []
    for i, symbol in enumerate(pattern):
        if symbol in ".-":
            continue
        held = len(pattern[i + 1 :]) - len(pattern[i + 1 :].lstrip("-"))
        notes.append((i * step, (1 + held) * step, symbol))
    return notes
