"""Small pieces of music: notes with harmonics, drums of noise; a seed is a piece."""

import io

import numpy as np
import soundfile
import soxr

RATE_HZ = 16_000


def note(pitch, seconds, timbre):
    """A tone with breath and up to nine harmonics that swell and fade on their own."""
    rng = np.random.default_rng((timbre, pitch))
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    hz = 440 * 2 ** ((pitch - 69) / 12)
    strength = rng.uniform(0.2, 1, 9)
    decay = rng.uniform(1, 6, 9)
    swell_hz = rng.uniform(3, 8, 9)
    wave = sum(
        s * np.exp(-d * t) * (1 + 0.5 * np.sin(2 * np.pi * w * t)) * np.sin(2 * np.pi * hz * k * t)
        for k, s, d, w in zip(range(1, 10), strength, decay, swell_hz, strict=True)
        if hz * k < 7_000
    )
    return np.minimum(1, t / 0.01) * (wave + 0.05 * rng.standard_normal(len(t)))


def drum(kind):
    """A hit of noise, equal whenever it is played."""
    rng = np.random.default_rng(1_000 + kind)
    t = np.arange(RATE_HZ // 4) / RATE_HZ
    thump = np.sin(2 * np.pi * (60 + 40 * kind) * t)
    return np.exp(-t * 15) * (thump + 0.3 * rng.standard_normal(len(t)))


def mixed(events, seconds):
    """Events (time in s, samples) as int16 [n], a quarter of full scale at the peak."""
    out = np.zeros(int(seconds * RATE_HZ))
    for start_s, samples in events:
        start = int(start_s * RATE_HZ)
        end = min(len(out), start + len(samples))
        out[start:end] += samples[: end - start]
    return np.round(out / np.abs(out).max() * 8_192).astype(np.int16)


def piece(seed, seconds=12.0, *, drums_only=False):
    """A melody with drums; with `drums_only`, pieces share their hits and differ in rhythm."""
    rng = np.random.default_rng(seed)
    beat_s = rng.uniform(0.2, 0.35)
    events = []
    for start_s in np.arange(0, seconds, beat_s):
        if rng.random() < 0.7:
            events.append((start_s, drum(int(rng.integers(3)))))
        if not drums_only:
            pitch = 48 + int(rng.integers(30))
            events.append((start_s, 2 * note(pitch, 1.0, seed)))
    return mixed(events, seconds)


def recoded(samples, *, rate_hz=44_100, level=0.9, **form):
    """Through a codec at another rate; MP3 of about 64 kbit/s unless told otherwise."""
    form = form or {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT"}
    audio = soxr.resample(samples.astype(np.float32) / 32_768, RATE_HZ, rate_hz)
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate_hz, 1, compression_level=level, **form) as out:
        for start in range(0, len(audio), 8_192):  # libsndfile's Vorbis dies of long writes
            out.write(audio[start : start + 8_192])
    file.seek(0)
    audio, rate_hz = soundfile.read(file, dtype="float32")
    return to_int16(soxr.resample(audio, rate_hz, RATE_HZ))


def to_int16(audio):
    return np.clip(np.round(audio * 32_768), -32_768, 32_767).astype(np.int16)
