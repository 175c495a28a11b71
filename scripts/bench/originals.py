"""What archives of original files cost: views a second from a tar of MP3s and from packed FLAC.

    python scripts/bench/originals.py AUDIO_DIR [--tracks 80] [--workers 2]

Ogg and MP3 files of 20 s and more are encoded as MP3 at their own rate, all channels, about 128
kbit/s, and read three ways: from a tar by `ingest index`, from shards of FLAC, from shards of WAV.
Each round is one pass over all tracks in the same order, which is longer than what readers keep of
decoded tracks, so none is met again.
"""

from __future__ import annotations

import argparse
import sys
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ingest.build import build_shards
from ingest.foreign import index_tars
from ingest.settings import Settings
from shards.index import Index
from shards.plan import TrainPlan
from shards.stream import stream
from shards.views.pair import AnchorPositive

BATCH = 8
MIN_SECONDS = 20.0


def as_mp3(path: Path, target: Path) -> None:
    audio, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    form = {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": 0.7}
    soundfile.write(target, audio, rate_hz, **form)


def archives(files: list[Path], folder: Path) -> dict[str, Path]:
    """Name → the archive of these files, made three ways."""
    (folder / "in").mkdir()
    names = [f"{number:05d}.mp3" for number in range(len(files))]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(as_mp3, files, [folder / "in" / name for name in names]))
    with tarfile.open(folder / "originals.tar", "w") as tar:
        for name in names:
            tar.add(folder / "in" / name, name)
    index_tars([folder / "originals.tar"], folder / "index", sample_rate=16_000)
    for codec in ("flac", "wav"):
        build_shards(folder / "in", folder / codec, settings=Settings(codec=codec))
    return {"mp3 in a tar": folder / "index", "flac": folder / "flac", "wav": folder / "wav"}


def views_a_second(path: Path, num_workers: int) -> float:
    """Of one pass over an archive by two clips of 4 s a track; the first batch starts decoders."""
    plan = TrainPlan(Index.open(path), AnchorPositive(clip_s=4.0), seed=0)
    num_batches = len(plan.selection) // BATCH
    batches = stream(plan, batch_size=BATCH, num_workers=num_workers, prefetch=2)
    assert next(batches).valid.all()
    begun = time.perf_counter()
    for _ in range(num_batches - 1):
        assert next(batches).valid.all()
    seconds = time.perf_counter() - begun
    batches.close()
    return 2 * BATCH * (num_batches - 1) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("audio", type=Path)
    parser.add_argument("--tracks", type=int, default=80)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    files = sorted(path for kind in ("ogg", "mp3") for path in given.audio.rglob(f"*.{kind}"))
    files = [path for path in files if whole(path)]
    files = files[:: max(1, len(files) // given.tracks)][: given.tracks]
    with tempfile.TemporaryDirectory() as folder:
        made = archives(files, Path(folder))
        index = Index.open(made["mp3 in a tar"])
        hours = index.column("duration_s").sum() / 3600
        size = index.manifest["shards"][0]["bytes"] / 2**20
        print(f"{len(index)} tracks, {hours:.2f} h, {size:.0f} MiB; {given.workers} threads")
        for name, path in made.items():
            rates = [views_a_second(path, given.workers) for _ in range(given.rounds)]
            print(f"{name:<12}", " ".join(f"{rate:8.1f}" for rate in rates), "views/s")


def whole(path: Path) -> bool:
    try:
        return bool(soundfile.info(path).duration >= MIN_SECONDS)
    except soundfile.LibsndfileError:
        return False


if __name__ == "__main__":
    main()
