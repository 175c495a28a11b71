"""A composition: what its two arrangements share, in beats and in semitones above the tonic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scripts.demo_corpus.styles import STYLES, Drums, Style, read_pattern
from scripts.demo_corpus.theory import SCALES, Chord, chord_tones, read_progression

FORMS = {2: "AB", 3: "ABA", 4: "AABA"}
MELODY_RANGE = (-3, 14)


@dataclass(frozen=True)
class Section:
    """One letter of the form: its chords in turn and its melody (start, length, pitch)."""

    beats: int
    chords: tuple[Chord, ...]
    melody: tuple[tuple[float, float, int], ...]


@dataclass(frozen=True)
class Composition:
    """A piece before anyone plays it."""

    style: Style
    form: str
    sections: dict[str, Section]
    drums: Drums
    bass: str
    comp: str


def section_bars(style: Style, tempo_bpm: float) -> int:
    """Bars of a section: the power of two that first lasts 5 s."""
    bars = 2
    while bars * style.beats * 60 / tempo_bpm < 5.0:
        bars *= 2
    return bars


def compose(
    style_name: str, mode: str, tempo_bpm: float, target_s: float, rng: np.random.Generator
) -> Composition:
    """A piece of about `target_s` seconds at this tempo, sections A and B both heard."""
    style = STYLES[style_name]
    bars = section_bars(style, tempo_bpm)
    section_s = bars * style.beats * 60 / tempo_bpm
    form = FORMS[int(np.clip(round(target_s / section_s), 2, 4))]
    progressions = rng.choice(getattr(style, mode), size=2, replace=False)
    cells = rng.permutation(style.melody)
    sections = {
        letter: compose_section(
            style, SCALES[mode], read_progression(str(progression)), tuple(pair), bars, rng
        )
        for letter, progression, pair in zip(
            "AB", progressions, (cells[:2], cells[2:]), strict=True
        )
    }
    return Composition(
        style=style,
        form=form,
        sections=sections,
        drums=style.drums[rng.integers(len(style.drums))],
        bass=str(rng.choice(style.bass)),
        comp=str(rng.choice(style.comp)),
    )


def compose_section(
    style: Style,
    scale: tuple[int, ...],
    progression: tuple[Chord, ...],
    cells: tuple[str, ...],
    bars: int,
    rng: np.random.Generator,
) -> Section:
    """A section over a progression, its melody in two alternating rhythms."""
    beats = bars * style.beats
    num_chords = beats // style.chord_beats
    # Two chords only: keep the last one, which leads back to the first.
    few = (progression[0], progression[-1])
    chords = tuple((progression if num_chords >= 4 else few) * num_chords)[:num_chords]
    rhythm = [
        (bar * style.beats + start, length)
        for bar in range(bars)
        for start, length, _ in read_pattern(cells[bar % 2], style.beats)
    ]
    pitches = walk([chords[int(s // style.chord_beats)] for s, _ in rhythm], rhythm, scale, rng)
    melody = tuple((s, n, p) for (s, n), p in zip(rhythm, pitches, strict=True))
    return Section(beats=beats, chords=chords, melody=melody)


def walk(
    chords: list[Chord],
    rhythm: list[tuple[float, float]],
    scale: tuple[int, ...],
    rng: np.random.Generator,
) -> list[int]:
    """One pitch a note: near the last one, a chord tone wherever a note falls on a beat."""
    grid = np.arange(MELODY_RANGE[0], MELODY_RANGE[1] + 1)
    pitches = [int(rng.choice([0, 4, 7]))]
    for chord, (start, _) in zip(chords, rhythm, strict=True):
        allowed = chord_tones(chord) if start % 1 == 0 else scale
        choices = grid[np.isin(grid % 12, np.mod(allowed, 12))]
        distance = np.abs(choices - pitches[-1])
        weight = np.exp(-distance / 2.5) * np.where(distance == 0, 0.4, 1.0)
        pitches.append(int(rng.choice(choices, p=weight / weight.sum())))
    return pitches[1:]
