"""Eight synthesised instruments: one function each, from a pitch to a note that is still held.

Every function takes the frequency, the number of samples at `RATE`, the touch (0 soft and dark, 1
hard and bright) and a `make` (two builds of each instrument, so that a name is not a waveform), and
returns float [n]. Release is the player's: `lift` ends a note.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy.signal import butter, lfilter, sosfilt

Array = np.ndarray
RATE = 22050
HELD_S = 2.8
TABLE = 2048


def seconds(n: int) -> Array:
    """Time of each sample, [n]."""
    return np.arange(n) / RATE


def attack_decay(n: int, attack_s: float, decay_s: float, sustain: float) -> Array:
    """Envelope up to the release: linear attack, exponential decay to the sustain level, [n]."""
    t = seconds(n)
    fall = sustain + (1 - sustain) * np.exp(-np.maximum(t - attack_s, 0) / decay_s)
    return np.asarray(np.minimum(t / attack_s, 1.0) * fall)


def wave(phase: Array, hz: float, amplitudes: Array) -> Array:
    """Harmonics 1..K of these amplitudes along a phase in cycles, those above Nyquist left out."""
    orders = np.arange(1, len(amplitudes) + 1)
    heard = orders[orders * hz * 1.02 < RATE / 2]
    spectrum = np.zeros(TABLE // 2 + 1, complex)
    spectrum[heard] = -0.5j * TABLE * amplitudes[heard - 1]
    cycle = np.fft.irfft(spectrum)
    ahead = np.append(cycle[1:], cycle[0]) - cycle
    place = phase * TABLE
    left = place.astype(np.int64)
    place -= left
    left &= TABLE - 1
    return np.asarray(cycle[left] + place * ahead[left])


def vibrato(n: int, hz: float, rate_hz: float, cents: float, delay_s: float) -> Array:
    """Phase in cycles of a tone whose vibrato grows after a delay, [n]."""
    t = seconds(n)
    depth = np.clip((t - delay_s) / 0.4, 0, 1) * (2 ** (cents / 1200) - 1)
    return np.asarray(np.cumsum(hz * (1 + depth * np.sin(2 * np.pi * rate_hz * t))) / RATE)


def pluck(
    hz: float,
    n: int,
    *,
    lowpass: float,
    pick: float,
    damping: float,
    t60_s: float,
    rng: np.random.Generator,
) -> Array:
    """Karplus-Strong string (Jaffe and Smith, 1983), tuned by a third-order Lagrange delay."""
    period = RATE / hz
    whole = int(period - 2)
    d = period - 1 - whole  # in [1, 2), where Lagrange's filter is stable in the loop
    lagrange = [
        -(d - 1) * (d - 2) * (d - 3) / 6,
        d * (d - 2) * (d - 3) / 2,
        -d * (d - 1) * (d - 3) / 2,
        d * (d - 1) * (d - 2) / 6,
    ]
    taps = np.convolve(lagrange, [damping / 2, 1 - damping, damping / 2])
    loop = np.zeros(whole + len(taps))
    loop[0] = 1.0
    loop[whole:] -= 10 ** (-3 / (t60_s * hz)) * taps
    burst = np.zeros(n)
    length = round(period)
    burst[:length] = rng.uniform(-1, 1, length)
    burst[:length] -= burst[:length].mean()
    burst = lfilter([lowpass], [1, lowpass - 1], burst)
    comb = np.zeros(max(1, round(pick * period)) + 1)
    comb[0], comb[-1] = 1.0, -1.0
    return np.asarray(lfilter([1.0], loop, lfilter(comb, [1.0], burst)))


def guitar(hz: float, n: int, touch: float, make: int, rng: np.random.Generator) -> Array:
    """Plucked string over a wooden body: nylon, or steel nearer the bridge."""
    t60_s = (2.5, 4.0)[make] * (220 / hz) ** 0.4
    string = pluck(
        hz,
        n,
        lowpass=(0.15, 0.35)[make] + 0.4 * touch,
        pick=(0.27, 0.13)[make],
        damping=(0.35, 0.15)[make],
        t60_s=t60_s,
        rng=rng,
    )
    body = sosfilt(butter(1, (150, 420), "bandpass", fs=RATE, output="sos"), string)
    return np.asarray(string + 0.6 * body)


def bass(hz: float, n: int, touch: float, make: int, rng: np.random.Generator) -> Array:
    """Bass guitar: a heavy string, played with the finger or muted by the palm."""
    string = pluck(
        hz,
        n,
        lowpass=0.05 + 0.15 * touch,
        pick=(0.22, 0.35)[make],
        damping=(0.3, 0.5)[make],
        t60_s=(4.0, 1.2)[make] * (60 / hz) ** 0.2,
        rng=rng,
    )
    return np.asarray(np.tanh(string / np.abs(string).max() * (1.5 + touch)))


def epiano(hz: float, n: int, touch: float, make: int, rng: np.random.Generator) -> Array:
    """Electric piano by frequency modulation (Chowning, 1973): a tine's ping over a soft body."""
    t = seconds(n)
    decay = np.exp(-t / (1.1 * (220 / hz) ** 0.3))
    index = (0.5 + 1.6 * touch) * (0.25 + 0.75 * np.exp(-t / 0.25))
    body = np.sin(2 * np.pi * hz * t + index * np.sin(2 * np.pi * hz * t))
    ratio = min((7, 14)[make], int(0.35 * RATE / hz))
    tine = np.sin(2 * np.pi * hz * t + 0.6 * np.sin(2 * np.pi * ratio * hz * t)) * np.exp(-t / 0.12)
    tremolo = 1 - 0.25 * make * (1 + np.sin(2 * np.pi * 4.5 * t + rng.uniform(0, 6.28)))
    decay *= np.minimum(t / 0.003, 1)
    return np.asarray((body + (0.3 + 0.5 * touch) * tine) * decay * tremolo)


def organ(hz: float, n: int, touch: float, make: int, rng: np.random.Generator) -> Array:
    """Additive organ: drawbars of 8', 4', 2 2/3', 2' and 1', a key click, a slow rotor."""
    drawbars = np.zeros(8)
    drawbars[[0, 1, 2, 3, 5, 7]] = ((1, 0.8, 0.6, 0.2, 0.1, 0.1), (1, 0.25, 0.5, 0.5, 0.3, 0.4))[
        make
    ]
    drawbars[1:] *= 0.4 + 0.8 * touch
    t = seconds(n)
    rotor = (0.8, 6.2)[make]
    tone = wave(vibrato(n, hz, rotor, 5, 0.0), hz, drawbars)
    click = rng.standard_normal(n) * np.exp(-t / 0.004) * 0.4
    swell = 1 + 0.2 * np.sin(2 * np.pi * rotor * t + rng.uniform(0, 6.28))
    return np.asarray((tone * swell + click) * attack_decay(n, 0.008, 1.0, 1.0))


def brass(hz: float, n: int, touch: float, make: int, rng: np.random.Generator) -> Array:
    """Brass: harmonics that open with the breath (Risset, 1966), vibrato late in the note."""
    orders = np.arange(1, 41)
    bright = orders**-0.6 / (1 + (orders * hz / (1000 + 2000 * touch)) ** 4)
    dark = orders**-1.6 / (1 + (orders * hz / 700) ** 4)
    breath = attack_decay(n, (0.05, 0.09)[make], 0.15, 0.75)
    phase = vibrato(n, hz, rng.uniform(4.8, 5.6), (18, 6)[make], 0.35)
    opening = breath**2
    tone = wave(phase, hz, dark) * (1 - opening) + wave(phase, hz, bright) * opening
    return np.asarray(breath * tone)


def flute(hz: float, n: int, touch: float, make: int, rng: np.random.Generator) -> Array:
    """Flute: few harmonics, breath noise around the tone, vibrato in pitch and in loudness."""
    harmonics = np.array([1, 0.2 + 0.4 * touch, 0.05 + 0.25 * touch, 0.06, 0.02])
    rate_hz = rng.uniform(4.6, 5.6)
    tone = wave(vibrato(n, hz, rate_hz, 14, 0.25), hz, harmonics)
    high = min(3 * hz + 500, 0.45 * RATE)
    noise = sosfilt(
        butter(2, (0.7 * hz, high), "bandpass", fs=RATE, output="sos"), rng.standard_normal(n)
    )
    chiff = 1 + 3 * np.exp(-seconds(n) / 0.05)
    sway = 1 + 0.15 * np.sin(2 * np.pi * rate_hz * seconds(n))
    shape = attack_decay(n, (0.06, 0.03)[make], 0.3, 0.85)
    return np.asarray(shape * (tone * sway + (0.03, 0.08)[make] * chiff * noise))


def strings(hz: float, n: int, touch: float, make: int, rng: np.random.Generator) -> Array:
    """String section: four detuned saws, each with its own vibrato, a slow bow."""
    orders = np.arange(1, 61)
    saw = 1 / orders / (1 + (orders * hz / (1500 + 3500 * touch)) ** 2)
    players = sum(
        wave(
            vibrato(n, hz * 2 ** (cents / 1200), rng.uniform(4.5, 6.5), 9, 0.1) + rng.uniform(),
            hz,
            saw,
        )
        for cents in (-7, -2, 3, 7)
    )
    return np.asarray(players * attack_decay(n, (0.16, 0.07)[make], 0.5, 0.85))


def vibes(hz: float, n: int, touch: float, make: int, rng: np.random.Generator) -> Array:
    """Struck bar: vibraphone with its motor (partials 1:4:10), or a short marimba (1:3.93:9.2)."""
    t = seconds(n)
    ratios, ring_s = (((1, 4, 10), 1.2), ((1, 3.93, 9.2), 0.25))[make]
    levels = (1.0, 0.15 + 0.5 * touch, 0.25 * touch)
    bar = sum(
        level * np.sin(2 * np.pi * hz * ratio * t) * np.exp(-t * ratio**0.8 / ring_s)
        for ratio, level in zip(ratios, levels, strict=True)
        if ratio * hz < 0.48 * RATE
    )
    motor = 1 - (0.2 - 0.2 * make) * (1 + np.sin(2 * np.pi * 5 * t + rng.uniform(0, 6.28)))
    knock = rng.standard_normal(n) * np.exp(-t / 0.003) * 0.3 * touch
    return np.asarray((bar * motor + knock) * np.minimum(t / 0.001, 1))


Instrument = Callable[[float, int, float, int, np.random.Generator], Array]
INSTRUMENTS: dict[str, Instrument] = {
    "bass": bass,
    "brass": brass,
    "epiano": epiano,
    "flute": flute,
    "guitar": guitar,
    "organ": organ,
    "strings": strings,
    "vibes": vibes,
}
RELEASE_S = {
    "strings": 0.25,
    "flute": 0.08,
    "brass": 0.07,
    "organ": 0.04,
    "vibes": 0.3,
    "epiano": 0.15,
}
NUM_MAKES = 2


@cache
def held_note(instrument: str, make: int, midi: int, touch: float) -> Array:
    """A held note of `HELD_S` at a common loudness, float32, the same in every process."""
    which = (sorted(INSTRUMENTS).index(instrument), make, midi, round(100 * touch))
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(which)))
    hz = 440 * 2 ** ((midi - 69) / 12)
    note = INSTRUMENTS[instrument](hz, int(HELD_S * RATE), touch, make, rng)
    loudness = np.sqrt(np.mean(note[: RATE // 2] ** 2))
    note = np.asarray(0.1 / loudness * note, dtype=np.float32)
    note.flags.writeable = False
    return note


def lift(note: Array, hold_s: float, release_s: float) -> Array:
    """The note held for `hold_s`, then released; no longer than it sounds."""
    hold = min(round(hold_s * RATE), len(note) - round(release_s * RATE))
    fade = round(release_s * RATE)
    played: Array = note[: hold + fade].copy()
    played[hold:] *= np.linspace(1, 0, fade, dtype=np.float32) ** 2
    return played
