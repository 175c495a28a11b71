"""How fast clips come, beside a bare seek-and-read loop and other libraries, on the same tracks.

.venv/bin/python scripts/bench/stream.py [AUDIO_DIR] [--rounds 3] [--peer-packages DIR]
.venv/bin/python scripts/bench/stream.py --view hierarchical
.venv/bin/python scripts/bench/stream.py --hour --only inline,ray

Two-minute tracks are made of the audio (of $WHOLETONE_AUDIO, or of the demo corpus without it) and
packed for everybody from the same FLAC bytes. Rows have two clips: pairs of 4 s, or the whole
clips of hierarchical crops, 21 s each. A view is a clip, so a row is two. Every stream is a command
of its own with as many decoders as there are cores and one thread in each; they run in turn,
several rounds, each in another order. Printed are medians, and medians of the ratios within a
round. Clips of each run are compared with what the track holds. On a machine with other work,
trust CPU ms and not views/s.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import linear_regression, median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not this folder

from scripts.bench.ingest import demo_corpus, environment, turned, why_not  # noqa: E402
from scripts.bench.streams import corpus, picture  # noqa: E402
from scripts.bench.streams.common import CLIP_S  # noqa: E402
from scripts.bench.streams.contents import PACKED, STREAMERS, Streamer  # noqa: E402
from scripts.bench.streams.table import Runs, columns, table  # noqa: E402

AUDIO_DIR = os.environ.get("WHOLETONE_AUDIO")
HOUR_S = 3600.0
BEYOND_S = 240.0
"""What a run may take for start and end before it is given up."""


def main() -> None:
    """Prepare, measure in turn, print and draw."""
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="bench-stream-") as work:
        data = (options.data or Path(work) / "data").resolve()
        env = environment(options)
        prepare(data, Path(work), options)
        streamers = available(options, data, env)
        if options.hour:
            return hours(streamers, data, env, options)
        runs = rounds(streamers, data, env, options)
    print("\n".join(table(runs, streamers)))
    if options.picture:
        lines = {name: columns(runs, streamers, name) for name in runs}
        limits = {name: streamer.limit for name, streamer in streamers.items()}
        picture.bars(options.picture, lines, limits)
    if options.json:
        options.json.write_text(json.dumps(runs))


def arguments() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "audio_dir", type=Path, nargs="?", default=os.environ.get("WHOLETONE_AUDIO")
    )
    parser.add_argument("--data", type=Path, help="where tracks are packed, kept for the next time")
    parser.add_argument("--only", default="", help=f"some of {', '.join(STREAMERS)}")
    parser.add_argument("--peer-packages", default="", help="folder that pip filled for the peers")
    parser.add_argument("--view", default="pair", choices=CLIP_S)
    parser.add_argument("--tracks", type=int, default=100)
    parser.add_argument("--track-s", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=12.0, help="of each run, a fifth warms up")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--hour", action="store_true", help="memory over an hour of each")
    parser.add_argument("--picture", type=Path, help="bars of the table (.png)")
    parser.add_argument("--json", type=Path, help="everything measured")
    options = parser.parse_args()
    options.only = [name for name in options.only.split(",") if name] or list(STREAMERS)
    if unknown := set(options.only) - set(STREAMERS):
        parser.error(f"--only: want some of {', '.join(STREAMERS)}, got {', '.join(unknown)}")
    return options


def prepare(data: Path, work: Path, options: argparse.Namespace) -> None:
    """Tracks, archives and tables."""
    audio_dir = options.audio_dir
    if audio_dir is None and not (data / "prepared").exists():
        rendered = argparse.Namespace(tracks=options.tracks, num_workers=options.workers)
        audio_dir = demo_corpus(work / "demo", rendered)
    count = corpus.prepare(data, audio_dir, tracks=options.tracks, track_s=options.track_s)
    print(
        f"{count} tracks, view {options.view}, batches of {options.batch_size} rows, "
        f"{options.workers} decoders, "
        f"{options.rounds} rounds of {options.seconds:g} s; load of the machine before: "
        f"{os.getloadavg()[0]:.1f}",
        flush=True,
    )


def available(options: argparse.Namespace, data: Path, env: dict[str, str]) -> dict[str, Streamer]:
    """The streams that can run, their tracks packed; why another is left out is printed."""
    found, reasons = {}, {}
    for name in options.only:
        streamer = STREAMERS[name]
        if streamer.module not in reasons:
            reasons[streamer.module] = streamer.needs and why_not(streamer, env)  # type: ignore[arg-type]
            if not reasons[streamer.module] and streamer.module in PACKED:
                reasons[streamer.module] = pack(streamer.module, data, env)
        if reason := reasons[streamer.module]:
            print(f"skipped: {name}, {reason}", flush=True)
        else:
            found[name] = streamer
    return found


def pack(module: str, data: Path, env: dict[str, str]) -> str:
    """Pack a peer's tracks unless they are; why that failed, or ""."""
    done = data / f"{module}.packed"
    if done.exists():
        return ""
    code = (
        f"import pathlib, scripts.bench.streams.{module} as peer\n"
        f"if __name__ == '__main__': peer.pack(pathlib.Path({str(data)!r}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True)
    if ran.returncode:
        return f"packing failed: {ran.stderr.decode().strip().splitlines()[-1][:300]}"
    done.touch()
    return ""


def rounds(
    streamers: dict[str, Streamer], data: Path, env: dict[str, str], options: argparse.Namespace
) -> Runs:
    """All streams in turn; one that fails is named and left out."""
    runs: Runs = {name: [] for name in streamers}
    for number in range(options.rounds):
        for name in turned(list(runs), number):
            if not number:
                forget(data)  # so that the first run of each starts from the disk
            facts = run(streamers[name], data, env, options, again=not number)
            if "failed" in facts:
                print(f"left out: {name}, {facts['failed']}", flush=True)
                del runs[name]
                continue
            runs[name].append(facts)
            told = f"{facts['views_per_s']:.1f} views/s, {1e3 * facts['cpu_s_per_view']:.2f} CPU ms"
            print(f"round {number + 1}, {name}: {told}", file=sys.stderr, flush=True)
    return runs


def run(
    streamer: Streamer,
    data: Path,
    env: dict[str, str],
    options: argparse.Namespace,
    *,
    again: bool = False,
    memory_every_s: float = 2.0,
) -> dict[str, Any]:
    """What a stream's own process has measured, or why it failed."""
    words = ["-m", "scripts.bench.streams.run", streamer.module, data, "--begun", time.time()]
    words += ["--payload", streamer.payload, "--view", options.view, "--crops", streamer.crops]
    words += ["--backend", streamer.backend, "--batch-size", options.batch_size]
    words += ["--workers", options.workers, "--seconds", options.seconds]
    words += ["--memory-every", memory_every_s, *(["--again"] if again else [])]
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, *map(str, words)],
            **{"stdin": subprocess.DEVNULL, "stdout": said, "stderr": errors},
            **{"env": env, "cwd": ROOT, "start_new_session": True},
        )
        try:
            process.wait(options.seconds + BEYOND_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return {"failed": f"nothing came in {options.seconds + BEYOND_S:g} s"}
        said.seek(0)
        errors.seek(0)
        lines = said.read().decode(errors="replace").splitlines()
        why = (errors.read().decode(errors="replace").strip() or "no error").splitlines()[-1]
    if process.returncode or not lines or not lines[-1].startswith("{"):
        return {"failed": f"ended with {process.returncode}: {why[:300]}"}
    facts: dict[str, Any] = json.loads(lines[-1])
    return {"failed": f"{facts['wrong']} clips are wrong"} if facts["wrong"] else facts


def forget(data: Path) -> None:
    """Ask the kernel to drop what it keeps of the files in memory."""
    for path in data.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def hours(
    streamers: dict[str, Streamer], data: Path, env: dict[str, str], options: argparse.Namespace
) -> None:
    """Memory of each stream over an hour (or --seconds, if more than a minute)."""
    options.seconds = options.seconds if options.seconds > 60 else HOUR_S
    runs = {}
    for name, streamer in streamers.items():
        facts = run(streamer, data, env, options, memory_every_s=options.seconds / 240)
        if "failed" in facts:
            print(f"left out: {name}, {facts['failed']}", flush=True)
            continue
        runs[name] = memory = facts["memory_mib"]
        print(f"{name}: {facts['views_per_s']:.1f} views/s; {in_words(memory)}", flush=True)
    if options.picture:
        picture.lines(options.picture, runs)
    if options.json:
        options.json.write_text(json.dumps(runs))


def in_words(memory: list[tuple[float, float]]) -> str:
    """What (seconds, MiB) of a stream come to once a tenth of the time has passed."""
    settled = memory[len(memory) // 10 :]
    tenth = max(1, len(settled) // 10)
    mib = [one for _, one in settled]
    early, late = median(mib[:tenth]), median(mib[-tenth:])
    slope = linear_regression(*zip(*settled, strict=True)).slope if len(settled) > 1 else 0.0
    return (
        f"{early:.0f} MiB after a tenth of the time, {min(mib):.0f} to {max(mib):.0f} since, "
        f"{late:.0f} at the end; slope {HOUR_S * slope:+.2f} MiB an hour"
    )


if __name__ == "__main__":
    main()
