"""A composition in the hands of a band: notes, drum hits and events, all in seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scripts.demo_corpus.compose import Composition, Section
from scripts.demo_corpus.plan import Rendering
from scripts.demo_corpus.styles import read_pattern
from scripts.demo_corpus.theory import Chord, chord_name, chord_tones

RING_S = 1.0  # after the last bar the room rings out
OCTAVE = {"flute": 12, "vibes": 12}  # where an instrument's melody lies, in semitones
BASS_LOW = 33
INTRO = "intro"


@dataclass(frozen=True)
class Note:
    """A played note: seconds, MIDI number, loudness 0 to 1."""

    start_s: float
    hold_s: float
    midi: int
    velocity: float
    role: str


@dataclass(frozen=True)
class Hit:
    """A stroke of a drum."""

    start_s: float
    drum: str
    velocity: float


@dataclass(frozen=True)
class Event:
    """A row of the events file."""

    start_s: float
    end_s: float
    kind: str
    value: str


@dataclass(frozen=True)
class Bar:
    """A bar of the track: where it starts in beats, its section, its place in the section."""

    start: float
    letter: str
    place: int
    section: Section


@dataclass(frozen=True)
class Track:
    """Everything that sounds, and everything that is known about it."""

    duration_s: float
    notes: list[Note]
    hits: list[Hit]
    events: list[Event]


def arrange(composition: Composition, rendering: Rendering) -> Track:
    """The composition as this band plays it, in its key and at its tempo."""
    rng = rendering.rng(0)
    beat_s = 60 / rendering.tempo_bpm
    bars = lay_out(composition, rendering.intro_bars)
    notes = [
        *play_melody(composition, rendering, bars),
        *play_bass(composition, rendering, bars),
        *play_chords(composition, rendering, bars, centre=float(rng.uniform(57, 65))),
    ]
    played = [humanise(note, beat_s, rng) for note in sorted(notes, key=lambda n: n.start_s)]
    hits = [
        Hit(on_time(start * beat_s, rng), drum, loud * float(rng.uniform(0.8, 1.0)))
        for bar in bars
        for drum, start, loud in drum_strokes(composition, bar)
    ]
    duration_s = len(bars) * composition.style.beats * beat_s + RING_S
    events = track_events(composition, rendering, bars, duration_s)
    events += [
        Event(n.start_s, n.start_s + n.hold_s, "note", f"{n.midi}:{rendering.band[n.role]}")
        for n in played
    ]
    events.sort(key=lambda event: (event.start_s, event.kind))
    return Track(duration_s=duration_s, notes=played, hits=hits, events=events)


def lay_out(composition: Composition, intro_bars: int) -> list[Bar]:
    """The bars of the form in turn, the intro first."""
    beats = composition.style.beats
    first = composition.sections[composition.form[0]]
    plan = [(INTRO, bar, first) for bar in range(intro_bars)]
    for letter in composition.form:
        section = composition.sections[letter]
        plan += [(letter, bar, section) for bar in range(section.beats // beats)]
    return [Bar(float(i * beats), *place) for i, place in enumerate(plan)]


def chord_at(composition: Composition, bar: Bar, beat: float) -> Chord:
    """The chord that sounds at a beat of a bar; an intro stays on the first one."""
    if bar.letter == INTRO:
        return bar.section.chords[0]
    return bar.section.chords[
        int((bar.place * composition.style.beats + beat) // composition.style.chord_beats)
    ]


def play_melody(composition: Composition, rendering: Rendering, bars: list[Bar]) -> list[Note]:
    """The tune in beats, around middle C or the octave above."""
    home = 55 + (rendering.tonic - 55) % 12 + OCTAVE.get(rendering.band["melody"], 0)
    return [
        Note(bar.start + start, length, home + pitch, 0.9 if start % 1 == 0 else 0.75, "melody")
        for bar in bars
        if bar.letter != INTRO and bar.place == 0
        for start, length, pitch in bar.section.melody
    ]


def play_bass(composition: Composition, rendering: Rendering, bars: list[Bar]) -> list[Note]:
    """The style's bass figure on every chord, in beats."""
    notes = []
    for bar in bars:
        for start, length, symbol in read_pattern(composition.bass, composition.style.beats):
            chord = chord_at(composition, bar, start)
            tones = chord_tones(chord)
            step = {"1": tones[0], "3": tones[1], "5": tones[2], "6": tones[0] + 9}.get(symbol)
            step = tones[0] + 12 if step is None else step
            root = BASS_LOW + (rendering.tonic + chord[0] - BASS_LOW) % 12
            notes.append(Note(bar.start + start, length, root + step - chord[0], 0.9, "bass"))
    return notes


def play_chords(
    composition: Composition, rendering: Rendering, bars: list[Bar], centre: float
) -> list[Note]:
    """The style's accompaniment, in beats, every chord voiced around one pitch."""
    notes = []
    for bar in bars:
        for start, length, symbol in read_pattern(composition.comp, composition.style.beats):
            voices = voicing(rendering.tonic, chord_at(composition, bar, start), centre)
            if symbol != "x":
                voices = [voices[int(symbol) - 1]]
            notes += [Note(bar.start + start, length, midi, 0.75, "chords") for midi in voices]
    return notes


def voicing(tonic: int, chord: Chord, centre: float) -> list[int]:
    """The chord's tones, each in the octave nearest the centre, low to high."""
    tones = [tonic + tone for tone in chord_tones(chord)]
    return sorted(int(tone + 12 * round((centre - tone) / 12)) for tone in tones)


def drum_strokes(composition: Composition, bar: Bar) -> list[tuple[str, float, float]]:
    """The (drum, beat, loudness) of a bar's strokes."""
    return [
        (drum, bar.start + start, 1.0 if symbol == "x" else 0.45)
        for drum, patterns in composition.drums.items()
        for start, _, symbol in read_pattern(
            patterns[bar.place % len(patterns)], composition.style.beats
        )
    ]


def on_time(start_s: float, rng: np.random.Generator) -> float:
    """A player's start: some milliseconds early or late, never before the track."""
    return max(0.0, start_s + float(rng.normal(0, 0.004)))


def humanise(note: Note, beat_s: float, rng: np.random.Generator) -> Note:
    """A note in beats as it is played, in seconds."""
    return Note(
        start_s=on_time(note.start_s * beat_s, rng),
        hold_s=note.hold_s * beat_s * float(rng.uniform(0.8, 0.95)),
        midi=note.midi,
        velocity=note.velocity * float(rng.uniform(0.8, 1.0)),
        role=note.role,
    )


def track_events(
    composition: Composition, rendering: Rendering, bars: list[Bar], duration_s: float
) -> list[Event]:
    """Sections, chords and beats; sections and chords leave no gap and end with the track."""
    beats, chord_beats = composition.style.beats, composition.style.chord_beats
    chord_starts = [
        (bar.start + beat, chord_name(rendering.tonic, chord_at(composition, bar, beat)))
        for bar in bars
        for beat in range(0, beats, chord_beats)
    ]
    # A section starts at its first bar, the intro at the track's: the form AA has two sections.
    section_starts = [(bar.start, bar.letter) for bar in bars if bar.place == 0]
    beat_starts = [(bar.start + beat, str(1 + beat)) for bar in bars for beat in range(beats)]
    spans = {"section": section_starts, "chord": chord_starts, "beat": beat_starts}
    return [
        event
        for kind, starts in spans.items()
        for event in tile(kind, starts, 60 / rendering.tempo_bpm, duration_s)
    ]


def tile(
    kind: str, starts: list[tuple[float, str]], beat_s: float, duration_s: float
) -> list[Event]:
    """Events that follow one another to the track's end."""
    edges_s = [start * beat_s for start, _ in starts] + [duration_s]
    return [Event(edges_s[i], edges_s[i + 1], kind, value) for i, (_, value) in enumerate(starts)]
