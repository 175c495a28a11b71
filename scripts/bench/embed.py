"""Hours of audio embedded a second, and memory, beside a plain loop over the original files.

.venv/bin/python scripts/bench/embed.py [AUDIO_DIR] [--tracks 60] [--rounds 3]

Tracks of 20 s and more (of $WHOLETONE_AUDIO, or of the demo corpus without it) are packed once, as
a pre-training run needs them anyway. Both sides embed the windows of 4 s of the same tracks with
the same small ResNet. The loop does what is written first: soundfile.read of the original file, mix
down, resample, one batch of the track's windows. Each run is a command of its own, in turn, each
round in another order; `embed` starts with nothing in its folder. Then `embed` alone over copies of
the tracks, twice and four times as many, for its memory. Printed are medians.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not this folder

from scripts.bench.ingest import demo_corpus, environment, turned  # noqa: E402
from scripts.bench.measured import Measured, measure  # noqa: E402

SMALL = {"width": 8, "layers": [1, 1, 1, 1], "num_heads": 4, "dim": 128}
MIN_SECONDS = 20.0
FIRST, SECOND = "plain loop", "evaluate.embed"


def main() -> None:
    """Prepare, measure in turn, print."""
    options = arguments()
    if options.side:
        return SIDES[options.side](options)
    with tempfile.TemporaryDirectory(prefix="bench-embed-") as work:
        folder = Path(work)
        audio_dir = options.audio_dir or demo_corpus(folder / "demo", options)
        files = chosen(audio_dir, options.tracks)
        hours = prepare(folder, files)
        print(f"{len(files)} tracks, {hours:.2f} h; load before: {os.getloadavg()[0]:.1f}")
        runs: dict[str, list[Measured]] = {name: [] for name in SIDES}
        for number in range(options.rounds):
            for name in turned(list(SIDES), number):
                runs[name].append(run(name, folder / "shards", folder))
                print(f"round {number + 1}, {told(name, runs[name][-1], hours)}", flush=True)
        summary(runs, hours)
        memory(folder, files)


def arguments() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    default = os.environ.get("WHOLETONE_AUDIO")
    parser.add_argument("audio_dir", type=Path, nargs="?", default=default)
    parser.add_argument("--tracks", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--num-workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--side", default="", help=argparse.SUPPRESS)
    parser.add_argument("--shards", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.audio_dir = options.audio_dir and Path(options.audio_dir)
    return options


def chosen(audio_dir: Path, count: int) -> list[Path]:
    """Whole tracks, spread over the folder."""
    import soundfile

    files = []
    for path in sorted(audio_dir.rglob("*")):
        if path.suffix.lower() in (".ogg", ".mp3", ".flac", ".wav"):
            try:
                if soundfile.info(path).duration >= MIN_SECONDS:
                    files.append(path)
            except soundfile.LibsndfileError:
                continue
    return files[:: max(1, len(files) // count)][:count]


def prepare(folder: Path, files: list[Path]) -> float:
    """An archive of the files, and an encoder; hours of audio."""
    from train.checkpoint import export_encoder
    from train.encoders import build_encoder

    export_encoder(build_encoder("resnet", SMALL, seed=0), folder, card="")
    return pack(folder / "in", folder / "shards", files, copies=1)


def pack(folder: Path, shards: Path, files: list[Path], *, copies: int) -> float:
    """An archive of so many copies of the files; hours of audio."""
    from ingest.build import build_shards
    from shards.index import Index

    folder.mkdir()
    for copy in range(copies):
        for number, path in enumerate(files):
            (folder / f"{copy:02d}-{number:05d}{path.suffix}").symlink_to(path.resolve())
    build_shards(folder, shards)
    return float(Index.open(shards).column("duration_s").sum() / 3600)


def run(name: str, shards: Path, folder: Path) -> Measured:
    """One side as a command of its own."""
    shutil.rmtree(folder / "embeddings", ignore_errors=True)
    command = [sys.executable, "-m", "scripts.bench.embed", "--side", name]
    command += ["--shards", str(shards), "--folder", str(folder)]
    options = argparse.Namespace(peer_packages="")
    found = measure(command, environment(options), ROOT)
    if found.code:
        raise SystemExit(f"{name} failed:\n{found.output}")
    return found


def facts(found: Measured) -> dict[str, float]:
    """What the side itself has measured: seconds without the start of Python, a sum to compare."""
    last: dict[str, float] = json.loads(found.output.splitlines()[-1])
    return last


def told(name: str, found: Measured, hours: float) -> str:
    seconds = facts(found)["seconds"]
    memory = f"{found.main_mib:.0f} MiB, with its workers {found.sum_mib:.0f} MiB"
    return f"{name}: {hours / seconds:.4f} h/s, {found.cpu_s:.1f} CPU s, {memory}"


def summary(runs: dict[str, list[Measured]], hours: float) -> None:
    """Medians, and the ratio within each round."""
    for name, some in runs.items():
        seconds = median(facts(one)["seconds"] for one in some)
        peak = median(one.sum_mib for one in some)
        print(f"{name}: {hours / seconds:.4f} hours of audio a second, {peak:.0f} MiB")
    both = zip(runs[FIRST], runs[SECOND], strict=True)
    ratios = [facts(a)["seconds"] / facts(b)["seconds"] for a, b in both]
    norms = {name: round(facts(some[0])["norm"], 2) for name, some in runs.items()}
    print(f"{SECOND} is {median(ratios):.2f} times as fast; norms of a mean vector: {norms}")


def memory(folder: Path, files: list[Path]) -> None:
    """Peak memory of `embed` over more and more tracks."""
    for copies in (2, 4):
        shards = folder / f"shards-{copies}"
        hours = pack(folder / f"in-{copies}", shards, files, copies=copies)
        print(f"{copies * len(files)} tracks, {told(SECOND, run(SECOND, shards, folder), hours)}")


def plain_loop(options: argparse.Namespace) -> None:
    """File by file: read, mix down, resample, embed all windows of the track."""
    import numpy as np
    import soundfile
    import torch
    from torchaudio.functional import resample

    from train.checkpoint import load_encoder

    encoder = load_encoder(options.folder)
    size, vectors, begun = encoder.clip_frames, [], time.perf_counter()
    with torch.inference_mode():
        for path in sorted((options.shards.parent / "in").iterdir()):
            samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
            mono = torch.from_numpy(samples.mean(axis=1))
            mono = resample(mono, rate_hz, encoder.sample_rate)
            count = max(1, (len(mono) - (size + 1) // 2) // size + 1)
            padded = torch.nn.functional.pad(mono, (0, max(0, count * size - len(mono))))
            windows = padded[: count * size].view(count, size)
            frames = (len(mono) - size * torch.arange(count)).clamp(1, size)
            vectors.append(encoder.embed(windows, frames).mean(dim=0).numpy())
    told_at_the_end(begun, np.stack(vectors))


def by_embed(options: argparse.Namespace) -> None:
    """By `embed`, from an empty folder."""
    import numpy as np

    from evaluate.embed import Extraction, embed_tracks
    from shards.index import Index
    from train.checkpoint import load_encoder

    encoder, begun = load_encoder(options.folder), time.perf_counter()
    index = Index.open(options.shards)
    found = embed_tracks(
        encoder,
        index,
        np.arange(len(index)),
        folder=options.folder / "embeddings",
        extraction=Extraction(num_workers=options.num_workers),
    )
    told_at_the_end(begun, found.vectors)


def told_at_the_end(begun: float, vectors: object) -> None:
    """Seconds, and a number that both sides must nearly share, as a line of JSON."""
    import numpy as np

    seconds = time.perf_counter() - begun
    norm = float(np.linalg.norm(np.asarray(vectors), axis=1).mean())
    print(json.dumps({"seconds": seconds, "norm": norm}))


SIDES = {FIRST: plain_loop, SECOND: by_embed}


if __name__ == "__main__":
    main()
