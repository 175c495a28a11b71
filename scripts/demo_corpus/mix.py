"""From a track's notes to its samples: the band, the room, the equaliser, the level."""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from scripts.demo_corpus.arrange import Track
from scripts.demo_corpus.drums import NUM_KITS, draw_kit
from scripts.demo_corpus.instruments import NUM_MAKES, RATE, RELEASE_S, Array, held_note, lift
from scripts.demo_corpus.plan import Rendering, SingleNote

ROOM_S = 1.2
CHAINS = 4  # rooms with equalisers that a track wanders between
WANDER_S = 2.5  # from one draw of the mixture to the next
RIDE_DB = 2.0  # how far the faders of the roles wander
UNIT = 441  # 441 samples at 22.05 kHz are 320 at 16 kHz and 882 at 44.1 kHz
RELEASE_DEFAULT_S = 0.06
GAIN_DB = (-18.0, -3.0)  # the peak's level
NOTE_GAIN_DB = {"pp": (-24.0, -14.0), "mf": (-16.0, -8.0), "ff": (-10.0, -3.0)}
LEVEL_DB = {"melody": 0.0, "chords": -6.0, "bass": 0.0, "drums": 3.0}


def mix(track: Track, rendering: Rendering) -> Array:
    """The rendering's samples at its file's rate, float32 [frames, channels]."""
    rng = rendering.rng(1)
    stems = play(track, rendering, rng)
    levels_db = np.array(list(LEVEL_DB.values())) + rng.normal(0, 1.5, len(LEVEL_DB))
    pans = rng.uniform(-0.8, 0.8, len(LEVEL_DB))
    gains = 10 ** (levels_db[:, None] / 20) * np.sqrt([(1 - pans) / 2, (1 + pans) / 2]).T
    if rendering.container.channels == 1:
        gains = 10 ** (levels_db[:, None] / 20)
    stems *= 10 ** (wander(len(stems), stems.shape[1] / RATE, stems.shape[1], rng) * RIDE_DB / 20)
    channels = gains.T.astype(np.float32) @ stems  # [1 or 2, n]
    sound = colour(rfft(channels), stems.shape[1], rendering.container.sample_rate, rng)
    sound = sound[:, : int(track.duration_s * rendering.container.sample_rate)]
    return set_level(sound, float(rng.uniform(*GAIN_DB)), rendering.container.sample_rate)


def colour(spectrum: Array, n: int, sample_rate: int, rng: np.random.Generator) -> Array:
    """Samples [channels, frames] that wander between a few random rooms and equalisers.

    Were they constant, they would be the easiest way to know a track again, and learning from two
    clips of a track would learn the room. As it is, all that stays is the music.
    """
    chains = [draw_equaliser(n, rng) * (1 + draw_room(n, rng)) for _ in range(CHAINS)]
    sounds = [at_rate(spectrum * chain, n, sample_rate) for chain in chains]
    frames = sounds[0].shape[1]
    share = np.exp(2 * wander(CHAINS, frames / sample_rate, frames, rng))
    share /= share.sum(axis=0)
    return sum(sound * part for sound, part in zip(sounds, share, strict=True))


def wander(count: int, duration_s: float, frames: int, rng: np.random.Generator) -> Array:
    """Curves [count, frames], float32: normal draws every few seconds, straight lines between."""
    knots = np.linspace(0, frames, int(duration_s / WANDER_S) + 2)
    draws = rng.standard_normal((count, len(knots)))
    at = np.arange(frames)
    return np.stack([np.interp(at, knots, draw) for draw in draws]).astype(np.float32)


def padded_length(duration_s: float) -> int:
    """Samples at `RATE` that hold the track and its room, a length the Fourier transform likes."""
    return UNIT * int(next_fast_len(int(np.ceil((duration_s + ROOM_S) * RATE / UNIT)), real=True))


def play(track: Track, rendering: Rendering, rng: np.random.Generator) -> Array:
    """One dry line a role, float32 [roles, n]."""
    stems = np.zeros((len(LEVEL_DB), padded_length(track.duration_s)), np.float32)
    lines = dict(zip(LEVEL_DB, stems, strict=True))
    for note in track.notes:
        instrument = rendering.band[note.role]
        shot = held_note(instrument, rendering.makes[note.role], note.midi, 0.5)
        release_s = RELEASE_S.get(instrument, RELEASE_DEFAULT_S)
        sound = lift(shot, note.hold_s, release_s)
        at = round(note.start_s * RATE)
        lines[note.role][at : at + len(sound)] += np.float32(note.velocity) * sound
    kit = draw_kit(int(rng.integers(NUM_KITS)))
    loud = {drum: np.float32(0.35 * 10 ** (rng.normal(0, 1.5) / 20)) for drum in kit}
    for hit in track.hits:
        sound = kit[hit.drum]
        at = round(hit.start_s * RATE)
        lines["drums"][at : at + len(sound)] += loud[hit.drum] * np.float32(hit.velocity) * sound
    return stems


def draw_room(n: int, rng: np.random.Generator) -> Array:
    """Spectrum [n // 2 + 1] of a decaying noise tail: a small room or a hall, near or far."""
    decay_s = float(np.exp(rng.uniform(np.log(0.03), np.log(0.25))))
    t = np.arange(int(ROOM_S * RATE)) / RATE
    tail = rng.standard_normal(len(t), dtype=np.float32) * np.exp(-t / decay_s).astype(np.float32)
    tail *= rng.uniform(0.02, 0.2) / np.sqrt((tail**2).sum())
    return np.asarray(rfft(tail, n))


def draw_equaliser(n: int, rng: np.random.Generator) -> Array:
    """Gain [n // 2 + 1], float32: a tilt, two shelves and a band, all of random strength."""
    octave = np.log2(np.maximum(rfftfreq(n, 1 / RATE), 20) / 1000).astype(np.float32)
    low, high = rng.uniform(-3, -1), rng.uniform(1, 2.5)
    centre, width = rng.uniform(-2.5, 2), rng.uniform(0.4, 1.2)
    gain_db = (
        rng.uniform(-1, 1) * octave
        + rng.uniform(-4, 4) / (1 + np.exp(3 * (octave - low)))
        + rng.uniform(-4, 4) / (1 + np.exp(-3 * (octave - high)))
        + rng.uniform(-5, 5) * np.exp(-(((octave - centre) / width) ** 2))
    )
    return np.asarray(10 ** (gain_db / 20), dtype=np.float32)


def at_rate(spectrum: Array, n: int, sample_rate: int) -> Array:
    """Samples at another rate from a spectrum at `RATE`: band-limited, exact in length."""
    m = n // UNIT * (UNIT * sample_rate // RATE)
    kept = spectrum[..., : m // 2 + 1]
    return np.asarray(irfft(kept, m) * (m / n), dtype=np.float32)


def set_level(sound: Array, peak_db: float, sample_rate: int) -> Array:
    """The sound [channels, frames] at this peak, its end faded, as float32 [frames, channels]."""
    fade = int(0.1 * sample_rate)
    sound[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return np.ascontiguousarray((10 ** (peak_db / 20) / np.abs(sound).max() * sound).T)


def render_note(note: SingleNote, sample_rate: int) -> Array:
    """A single note in its own room, float32 [frames, 1]."""
    rng = note.rng()
    duration_s = float(rng.uniform(2.0, 3.0))
    shot = held_note(note.instrument, int(rng.integers(NUM_MAKES)), note.midi, note.touch)
    release_s = RELEASE_S.get(note.instrument, RELEASE_DEFAULT_S)
    line = np.zeros((1, padded_length(duration_s)), np.float32)
    sound = lift(shot, float(rng.uniform(0.8, duration_s - 0.4)), release_s)
    at = round(rng.uniform(0, 0.1) * RATE)
    line[0, at : at + len(sound)] = sound
    n = line.shape[1]
    spectrum = rfft(line) * (1 + draw_room(n, rng)) * draw_equaliser(n, rng)
    samples = at_rate(spectrum, n, sample_rate)[:, : int(duration_s * sample_rate)]
    return set_level(samples, float(rng.uniform(*NOTE_GAIN_DB[note.dynamic])), sample_rate)
