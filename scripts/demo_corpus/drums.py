"""Three synthesised drum kits, each with its own tuning, snares and cymbals."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy.signal import butter, sosfilt

from scripts.demo_corpus.instruments import RATE, Array, seconds

Kit = dict[str, Array]
NUM_KITS = 3  # few, or the kit would tell the track before the music does


@cache
def draw_kit(number: int) -> Kit:
    """One float32 hit a drum, peaks of 1, the same in every process."""
    rng = np.random.Generator(np.random.Philox(number))
    hits = {name: drum(rng) for name, drum in DRUMS.items()}
    return {name: (hit / np.abs(hit).max()).astype(np.float32) for name, hit in hits.items()}


def kick(rng: np.random.Generator) -> Array:
    """A falling sine with the beater's click."""
    t = seconds(int(0.35 * RATE))
    low_hz, sweep_hz, ring_s = rng.uniform(42, 75), rng.uniform(60, 200), rng.uniform(0.06, 0.14)
    phase = np.cumsum(low_hz + sweep_hz * np.exp(-t / 0.025)) / RATE
    click = rng.uniform(0.05, 0.5) * rng.standard_normal(len(t)) * np.exp(-t / 0.003)
    return np.sin(2 * np.pi * phase) * np.exp(-t / ring_s) + click


def snare(rng: np.random.Generator) -> Array:
    """Two modes of the skin, and snares of filtered noise."""
    t = seconds(int(0.3 * RATE))
    hz = rng.uniform(150, 260)
    skin = np.sin(2 * np.pi * hz * t) + 0.6 * np.sin(2 * np.pi * 1.6 * hz * t)
    noise = band_noise(len(t), rng.uniform(600, 2500), rng.uniform(5000, 9500), rng)
    rattle = noise * np.exp(-t / rng.uniform(0.03, 0.1))
    return skin * np.exp(-t / 0.05) + rng.uniform(0.7, 2.5) * rattle


def hat(rng: np.random.Generator) -> Array:
    """Closed or half-open cymbals: high noise, short or long."""
    t = seconds(int(0.25 * RATE))
    noise = band_noise(len(t), rng.uniform(3000, 6500), 10500, rng)
    ring_s = np.exp(rng.uniform(np.log(0.012), np.log(0.08)))
    return np.asarray(noise * np.exp(-t / ring_s))


def ride(rng: np.random.Generator) -> Array:
    """A cymbal that rings: the stick's ping over a bed of inharmonic modes."""
    t = seconds(int(0.6 * RATE))
    modes_hz = rng.uniform(2500, 9000, 16)
    ring = np.sin(2 * np.pi * modes_hz[:, None] * t + rng.uniform(0, 6.28, (16, 1))).sum(axis=0)
    ping = 4 * np.sin(2 * np.pi * rng.uniform(3000, 4500) * t) * np.exp(-t / 0.03)
    return np.asarray(ring * np.exp(-t / rng.uniform(0.15, 0.25)) + ping)


def shaker(rng: np.random.Generator) -> Array:
    """Seeds against a shell: high noise that swells before it stops."""
    t = seconds(int(0.15 * RATE))
    noise = band_noise(len(t), rng.uniform(4500, 6000), 10000, rng)
    peak_s = rng.uniform(0.02, 0.04)
    return np.asarray(noise * t / peak_s * np.exp(1 - t / peak_s))


def brush(rng: np.random.Generator) -> Array:
    """Wires swept over the skin: soft noise, wide and slow."""
    t = seconds(int(0.4 * RATE))
    noise = band_noise(len(t), rng.uniform(500, 1200), rng.uniform(4000, 7000), rng)
    return np.asarray(noise * np.minimum(t / 0.02, 1) * np.exp(-t / rng.uniform(0.08, 0.14)))


def clap(rng: np.random.Generator) -> Array:
    """Hands a few milliseconds apart: bursts of noise around 1 kHz."""
    t = seconds(int(0.25 * RATE))
    noise = band_noise(len(t), rng.uniform(700, 900), rng.uniform(1800, 2600), rng)
    bursts = sum(np.exp(-(t - at) / 0.004) * (t >= at) for at in (0.0, 0.011, 0.022))
    tail = np.exp(-(t - 0.03) / rng.uniform(0.03, 0.06)) * (t >= 0.03)
    return np.asarray(noise * (bursts + tail))


def rim(rng: np.random.Generator) -> Array:
    """A stick on the rim, or claves: two short modes."""
    t = seconds(int(0.12 * RATE))
    hz = rng.uniform(900, 2400)
    click = np.sin(2 * np.pi * hz * t) + 0.5 * np.sin(2 * np.pi * rng.uniform(1.4, 2.2) * hz * t)
    return click * np.exp(-t / rng.uniform(0.008, 0.025))


def band_noise(n: int, low_hz: float, high_hz: float, rng: np.random.Generator) -> Array:
    """Noise of unit deviation in a band, [n]."""
    filtered = sosfilt(
        butter(2, (low_hz, high_hz), "bandpass", fs=RATE, output="sos"), rng.standard_normal(n)
    )
    return np.asarray(filtered / filtered.std())


DRUMS: dict[str, Callable[[np.random.Generator], Array]] = {
    "kick": kick,
    "snare": snare,
    "hat": hat,
    "ride": ride,
    "shaker": shaker,
    "brush": brush,
    "clap": clap,
    "rim": rim,
}
