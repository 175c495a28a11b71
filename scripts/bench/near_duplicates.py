"""Near duplicates: recall and precision on real music, recall after transforms, speed, scale.

    python scripts/bench/near_duplicates.py AUDIO [--tracks 40] [--scale 100000]

AUDIO holds labels.csv (column path) and versions.csv (group, type, path): tracks of a group of type
"transcode" are second encodes, which must be found; nothing else may be.
"""

from __future__ import annotations

import argparse
import csv
import io
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ingest import near
from ingest.fingerprint import SIZE, Fingerprint, encode

RATE = 16_000
EXCERPT_S = 60
SHORT_S, LONG_S = (1.0, 8.0), 20.0


def to_int16(audio: np.ndarray) -> np.ndarray:
    return np.clip(np.floor(audio.astype(np.float64) * 32_768 + 0.5), -32_768, 32_767).astype("i2")


def decode(file: Path | io.BytesIO) -> np.ndarray:
    """Samples of a sound file as an archive holds them: mono, 16 kHz, int16."""
    audio, rate_hz = soundfile.read(file, dtype="float32", always_2d=True)
    return to_int16(soxr.resample(audio.mean(axis=1), rate_hz, RATE))


def fingerprint(samples: np.ndarray) -> bytes:
    maker = Fingerprint(RATE)
    maker.add(samples)
    return maker.result()


def through(rate_hz: int, level: float, **form: str) -> Callable[[np.ndarray], np.ndarray]:
    """Encode at a rate and a compression level of 0 to 1, and decode."""

    def transform(samples: np.ndarray) -> np.ndarray:
        audio = soxr.resample(samples.astype(np.float32) / 32_768, RATE, rate_hz)
        file = io.BytesIO()
        mode = {"bitrate_mode": "CONSTANT"} if form["format"] == "MP3" else {}
        with soundfile.SoundFile(
            file, "w", rate_hz, 1, compression_level=level, **mode, **form
        ) as out:
            for start in range(0, len(audio), 8_192):  # libsndfile's Vorbis dies of long writes
                out.write(audio[start : start + 8_192])
        through.kbps.append(file.tell() * 8 * RATE / 1000 / max(1, len(samples)))
        file.seek(0)
        return decode(file)

    return transform


through.kbps = []  # type: ignore[attr-defined]

MP3 = {"format": "MP3", "subtype": "MPEG_LAYER_III"}
OGG = {"format": "OGG", "subtype": "VORBIS"}
OPUS = {"format": "OGG", "subtype": "OPUS"}


def gain(level_db: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: to_int16(x / 32_768 * 10 ** (level_db / 20))


def resampled(x: np.ndarray) -> np.ndarray:
    return to_int16(soxr.resample(soxr.resample(x / 32_768, RATE, 22_050), 22_050, RATE))


def late(num_samples: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.concatenate([np.zeros(num_samples, np.int16), x])


HALF_HOP = 256  # of the fingerprint's 32 ms: the worst offset there is

TRANSFORMS = {
    "mp3 44.1 kHz": through(44_100, 0.9, **MP3),
    "mp3 22.05 kHz": through(22_050, 0.75, **MP3),
    "ogg q0": through(44_100, 1.0, **OGG),
    "opus": through(48_000, 0.85, **OPUS),
    "gain -12 dB": gain(-12),
    "gain +6 dB, clipped": gain(6),
    "1 s late": late(RATE + HALF_HOP),
    "0.5 s trimmed": lambda x: x[RATE // 2 + HALF_HOP :],
    "22.05 kHz and back": resampled,
    "10 % shorter": lambda x: x[: len(x) * 9 // 10],
    "mp3, late, -12 dB": lambda x: TRANSFORMS["mp3 44.1 kHz"](gain(-12)(late(RATE + HALF_HOP)(x))),
}


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def oracle(audio: Path) -> dict[str, np.ndarray]:
    """Fingerprint every file, print precision and recall; the samples of different recordings."""
    names = [row["path"] for row in table(audio / "labels.csv")]
    samples = {name: decode(audio / name) for name in names}
    begun = time.process_time()
    prints = [fingerprint(x) for x in samples.values()]
    spent = time.process_time() - begun
    seconds = sum(map(len, samples.values())) / RATE
    print(f"{len(names)} files, {seconds / 3600:.2f} h: {seconds / spent:.0f} x real time")
    groups: dict[str, list[str]] = defaultdict(list)
    for row in table(audio / "versions.csv"):
        groups[row["type"].split("(")[0] + " " + row["group"]].append(row["path"])
    related = {frozenset(group): kind for kind, group in groups.items()}
    first = near.near_duplicates(prints)
    found = {frozenset((names[i], names[first[i]])) for i in range(len(names)) if first[i] != i}
    wanted = {pair for pair, kind in related.items() if kind.startswith("transcode")}
    print(f"second encodes found: {len(found & wanted)} of {len(wanted)}")
    print(f"other pairs found: {[sorted(pair) for pair in found - wanted]}")
    margin(names, near.Sketches(prints), related)
    return {name: samples[name] for i, name in enumerate(names) if first[i] == i}


def margin(names: Sequence[str], sketches: near.Sketches, related: dict[frozenset, str]) -> None:
    """How far the weakest true pair and the strongest other pairs are from the limits."""
    pairs = near.candidates(sketches.index(), sketches.index(), same=True)
    shared, share = near.compare(sketches, pairs[:, 0], sketches, pairs[:, 1])
    for true in (True, False):
        rows = []
        for (a, b), count, part in zip(pairs, shared, share, strict=True):
            kind = related.get(frozenset((names[a], names[b])), "unrelated")
            if kind.startswith("transcode") is true:
                rows.append((int(count), round(float(part), 3), kind, names[a], names[b]))
        rows.sort(reverse=not true)
        print("weakest true pairs:" if true else "strongest other pairs:")
        for row in rows[:5]:
            print("  ", *row)


def recall(samples: dict[str, np.ndarray], tracks: int) -> None:
    """Share of transformed tracks that match their origin and nothing else."""
    by_length = sorted(samples, key=lambda name: name[::-1])  # any order but that of the folders
    rng = np.random.default_rng(0)
    for title, low, high in (
        (f"{LONG_S:g} s and more", LONG_S, np.inf),
        (f"{SHORT_S[0]:g} to {SHORT_S[1]:g} s", *SHORT_S),
    ):
        names = [n for n in by_length if low <= len(samples[n]) / RATE < high]
        names = list(rng.permutation(names)[:tracks])
        cuts = [samples[name][: EXCERPT_S * RATE] for name in names]
        prints = [fingerprint(x) for x in cuts]
        original = near.Sketches(prints)
        print(f"{len(names)} tracks of {title}: recall, wrong pairs, weakest / median share, kbps")
        for kind, transform in TRANSFORMS.items():
            through.kbps.clear()  # type: ignore[attr-defined]
            changed = [fingerprint(transform(x)) for x in cuts]
            pairs, _ = near.matches(changed, prints)
            right = pairs[:, 0] == pairs[:, 1]
            rows = np.arange(len(names))
            _, share = near.compare(near.Sketches(changed), rows, original, rows)
            kbps = f"{np.median(through.kbps):.0f}" if through.kbps else "-"  # type: ignore[attr-defined]
            print(
                f"  {kind:20} {right.sum()}/{len(names)}  {(~right).sum()}  "
                f"{share.min():.2f} / {np.median(share):.2f}  {kbps}",
                flush=True,
            )


def synthetic(tracks: int) -> tuple[list[bytes], np.ndarray]:
    """Fingerprints, and of each the track it is a copy of: a tenth are copies of a third's worth.

    A fifth of all landmarks come from a Zipf law, as common sounds do.
    """
    rng = np.random.default_rng(0)
    top = 2**32 // 50  # the smallest 160 of 8000 landmarks
    common = rng.integers(0, top, 1_000_000)
    origin = np.arange(tracks)
    prints: list[bytes] = []
    for track in range(tracks):
        hashes = rng.integers(0, top, SIZE)
        hashes[: SIZE // 5] = common[np.minimum(rng.zipf(1.3, SIZE // 5), len(common)) - 1]
        times = rng.integers(0, 6_000, SIZE)
        if track % 10 == 9:
            origin[track] = (track - int(rng.integers(0, track)) - 1) // 10 * 10
            source = near.Sketches([prints[origin[track]]])
            kept = rng.permutation(int(source.counts[0]))[: SIZE // 3]
            hashes[: len(kept)] = source.hashes[0, kept]
            times[: len(kept)] = source.times[0, kept].astype(np.int64) + 31
        _, places = np.unique(hashes, return_index=True)
        prints.append(encode(hashes[places], times[places]))
    return prints, origin


def scale(tracks: int) -> None:
    prints, origin = synthetic(tracks)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    first = near.near_duplicates(prints)
    spent = time.process_time() - begun
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    copies = origin != np.arange(tracks)
    print(
        f"{tracks} synthetic tracks: {spent:.1f} s of one core, {memory:.0f} MiB more than the "
        "fingerprints; "
        f"{(first == origin)[copies].sum()} of {copies.sum()} copies found, "
        f"{(first != origin)[~copies].sum()} others joined"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("audio", type=Path, nargs="?", help="folder of real music")
    parser.add_argument("--tracks", type=int, default=40, help="for the recall after transforms")
    parser.add_argument("--scale", type=int, nargs="*", default=[10_000, 100_000])
    args = parser.parse_args()
    for tracks in args.scale:
        scale(tracks)
    if args.audio:
        recall(oracle(args.audio), args.tracks)


if __name__ == "__main__":
    main()
