"""Many tracks and one long one: is memory flat, and what does a finished build cost again?"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import soundfile

from scripts.bench.measured import Measured, measure

ROOT = Path(__file__).resolve().parents[2]
COUNTS, QUICK_COUNTS = (1_000, 10_000), (20, 60)
LONG_MINUTES, QUICK_MINUTES = 120, 2
TINY_RATE_HZ, TINY_FRAMES = 16_000, 3_200
NOOP_RUNS = 3


def scale(work: Path, env: dict[str, str], options: argparse.Namespace) -> None:
    """Print what was asked for: `--memory`, `--noop` or both."""
    again = {}
    for count in QUICK_COUNTS if options.quick else COUNTS:
        render_tiny(work / f"{count}", count)
        built = build(work / f"{count}", work / f"{count}-out", env, options)
        print(f"{count} tracks of {TINY_FRAMES / TINY_RATE_HZ:g} s: {line(built)}", flush=True)
        if options.noop:
            again[count] = nothing_to_do(work, count, env, options)
    if len(again) > 1:
        (few, few_s), (many, many_s) = again.items()
        each_us = (many_s - few_s) / (many - few) * 1e6
        print(f"nothing to do: {each_us:.0f} µs a track between {few} and {many}")
    if options.memory:
        minutes = QUICK_MINUTES if options.quick else LONG_MINUTES
        render_long(work / "long", minutes)
        built = build(work / "long", work / "long-out", env, options)
        speed = 60 * minutes / built.seconds
        print(f"one track of {minutes} minutes: {line(built)}, {speed:.0f} × real time")


def nothing_to_do(
    work: Path, count: int, env: dict[str, str], options: argparse.Namespace
) -> float:
    """Least seconds of a finished build that is run again."""
    runs = [build(work / f"{count}", work / f"{count}-out", env, options) for _ in range(NOOP_RUNS)]
    best = min(runs, key=lambda run: run.seconds)
    print(f"{count} tracks, nothing to do: {line(best)}", flush=True)
    return best.seconds


def line(run: Measured) -> str:
    """A run in words."""
    return (
        f"{run.seconds:.2f} s, {run.cpu_s:.2f} CPU s, "
        f"main {run.main_mib:.0f} MiB, largest worker {run.worker_mib:.0f} MiB"
    )


def build(audio_dir: Path, out: Path, env: dict[str, str], options: argparse.Namespace) -> Measured:
    """`ingest build-shards`, measured."""
    words = ["-m", "ingest", "build-shards", str(audio_dir), "--out", str(out)]
    workers = ["--num-workers", str(options.num_workers)]
    measured = measure([sys.executable, *words, *workers], env, ROOT)
    if measured.code:
        sys.exit(f"ingest build-shards ended with {measured.code}:\n{measured.output}")
    return measured


def render_tiny(folder: Path, count: int) -> None:
    """Tracks of a fifth of a second, all different, a hundred a folder."""
    for number in range(count):
        path = folder / f"{number // 100:04d}" / f"{number:06d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(-9_000, 9_000, TINY_FRAMES, dtype=np.int16)
        soundfile.write(path, noise, TINY_RATE_HZ)


def render_long(folder: Path, minutes: int, rate_hz: int = 44_100) -> None:
    """One stereo FLAC: a minute of a chord that beats, quieter or louder each time."""
    folder.mkdir()
    t = np.arange(60 * rate_hz) / rate_hz
    chord = sum(np.sin(2 * np.pi * hz * t) for hz in (220.0, 277.5, 330.3, 441.7))
    noise = np.random.default_rng(0).normal(0, 0.02, len(t))
    minute = np.stack([chord / 8 + noise, chord / 9 - noise], axis=1)
    with soundfile.SoundFile(folder / "long.flac", "w", rate_hz, 2, "PCM_16") as file:
        for number in range(minutes):
            file.write(minute * (0.5 + 0.4 * np.cos(number)))
