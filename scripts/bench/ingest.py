"""How fast `ingest` packs, beside a bare loop and beside other packers, on the same files.

.venv/bin/python scripts/bench/ingest.py [AUDIO_DIR] [--tracks N] [--peers webdataset,lhotse]
.venv/bin/python scripts/bench/ingest.py --memory --noop

Every packer is a command of its own that gets the same folder, as many processes as there are
cores and one thread in each. They run in turn, several rounds, each round in another order; printed
are medians, and medians of the ratios within a round. Once a round each packs a single short track:
that is its start, which the last columns leave out. Without AUDIO_DIR the demo corpus is rendered.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # not this folder, whose ingest.py would hide the package

import soundfile  # noqa: E402

from scripts.bench.measured import Measured, measure  # noqa: E402
from scripts.bench.scale import scale  # noqa: E402
from shards.files import shown  # noqa: E402

SHORTEST_S, LONGEST_S = 1.0, 3600.0
MIB = 1 << 20


@dataclass(frozen=True)
class Packer:
    """A program that packs a folder, the module that shows it is there, and what it leaves out."""

    command: tuple[str, ...]
    needs: str = ""
    install: str = ""
    lacks: str = ""


INGEST = Packer(("ingest", "build-shards"))
BARE = Packer(("scripts.bench.packers.bare",), lacks="everything but the audio")
PEERS = {
    "webdataset": Packer(
        ("scripts.bench.packers.webdataset_writer",),
        needs="webdataset",
        install="webdataset",
        lacks="checks, hashes, index, resumption, fsync, an order that repeats",
    ),
    "lhotse": Packer(
        ("scripts.bench.packers.lhotse_shar",),
        needs="lhotse.shar",
        install="lhotse audioread cytoolz toolz intervaltree sortedcontainers tabulate",
        lacks="checks, hashes, resumption, fsync; takes the first channel only; FLAC level 5",
    ),
    "datasets": Packer(
        ("scripts.bench.packers.hf_datasets",),
        needs="datasets",
        install="datasets",
        lacks="checks, hashes, fsync; Arrow files, written twice (map's cache, then the data set)",
    ),
}


def main() -> None:
    """Measure what was asked for."""
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="bench-ingest-", dir=options.work_dir) as work:
        if options.memory or options.noop:
            scale(Path(work), environment(options), options)
        else:
            compare(Path(work), options)


def arguments() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("audio_dir", type=Path, nargs="?")
    parser.add_argument("--tracks", type=int, default=100, help="at most so many, 0 all")
    parser.add_argument("--peers", default="webdataset,lhotse,datasets", help='"" measures none')
    parser.add_argument("--peer-packages", default="", help="folder that pip filled for the peers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--num-workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--work-dir", type=Path, help="where files are made")
    parser.add_argument("--memory", action="store_true", help="peak memory by number of tracks")
    parser.add_argument("--noop", action="store_true", help="seconds of a build with nothing to do")
    parser.add_argument("--quick", action="store_true", help="only show that it works")
    options = parser.parse_args()
    options.peers = [name for name in options.peers.split(",") if name]
    if unknown := set(options.peers) - set(PEERS):
        parser.error(f"--peers: want some of {', '.join(PEERS)}, got {', '.join(sorted(unknown))}")
    if options.quick:
        options.tracks, options.rounds = 4, 1
    return options


def compare(work: Path, options: argparse.Namespace) -> None:
    """All packers on the same tracks."""
    audio_dir = options.audio_dir or demo_corpus(work / "demo", options)
    hours, count = gather(audio_dir, work / "tracks", options.tracks, options.num_workers)
    alone(work / "tracks", work / "one")
    env = environment(options)
    packers = {"bare loop": BARE, "ingest": INGEST, **installed(options, env)}
    print(
        f"{count} tracks, {hours:.2f} h, {options.num_workers} processes, {options.rounds} rounds"
    )
    starts: dict[str, list[Run]] = {name: [] for name in packers}
    runs: dict[str, list[Run]] = {name: [] for name in packers}
    for number in range(options.rounds):
        for name in turned(list(packers), number):
            try:
                if not options.quick:
                    starts[name].append(run(packers[name], work / "one", work, env, options))
                runs[name].append(run(packers[name], work / "tracks", work, env, options))
            except Failed as failed:
                if name not in PEERS:
                    sys.exit(str(failed))
                print(f"left out: {name}, {str(failed).strip().splitlines()[-1][:300]}")
                shutil.rmtree(work / "out", ignore_errors=True)
                del packers[name], starts[name], runs[name]
                continue
            took = runs[name][-1].measured
            told = f"round {number + 1}, {name}: {took.seconds:.2f} s, {took.cpu_s:.2f} CPU s"
            print(told, file=sys.stderr, flush=True)
    print("\n".join(table(runs, starts, count=count, hours=hours)))
    lacks = [f"{name} lacks {packer.lacks}" for name, packer in packers.items() if packer.lacks]
    print("\n" + "\n".join(lacks))


class Failed(Exception):
    """A packer that did not end well."""


@dataclass(frozen=True)
class Run:
    """A measured run and what it wrote, bytes."""

    measured: Measured
    out_bytes: int


def run(
    packer: Packer, audio_dir: Path, work: Path, env: dict[str, str], options: argparse.Namespace
) -> Run:
    """Pack a folder once into a new one, which is removed."""
    out = work / "out"
    place = ["--out", out] if packer is INGEST else [out]
    module, *words = packer.command
    workers = ["--num-workers", str(options.num_workers)]
    command = [sys.executable, "-m", module, *words, audio_dir, *place, *workers]
    measured = measure([str(part) for part in command], env, ROOT)
    if measured.code:
        words = " ".join(packer.command)
        raise Failed(f"{words} ended with {measured.code}:\n{measured.output}")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    shutil.rmtree(out)
    return Run(measured, size)


def environment(options: argparse.Namespace) -> dict[str, str]:
    """One thread a process; the peers' packages come after ours."""
    paths = [str(ROOT), options.peer_packages, os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": "1",
        "LHOTSE_AUDIO_BACKEND": "LibsndfileBackend",  # saves it trying others that are not there
    }


def installed(options: argparse.Namespace, env: dict[str, str]) -> dict[str, Packer]:
    """The peers that can be imported; why another is left out is printed."""
    found = {}
    for name in options.peers:
        if reason := why_not(PEERS[name], env):
            print(f"skipped: {name}, {reason}")
        else:
            found[name] = PEERS[name]
    return found


def why_not(packer: Packer, env: dict[str, str]) -> str:
    """Why a peer cannot run and how to install it, "" if it can."""
    command = [sys.executable, "-c", f"import {packer.needs}"]
    tried = subprocess.run(command, env=env, capture_output=True, text=True)
    if not tried.returncode:
        return ""
    said = tried.stderr.strip().split("\n")[-1]
    install = f"pip install --no-deps --target DIR {packer.install}"
    return f"{said}; `{install}` and --peer-packages DIR add it"


def turned(names: list[str], number: int) -> list[str]:
    """Names in another order each round: a rotation, every other round backwards."""
    at = number % len(names)
    order = names[at:] + names[:at]
    return order if number % 2 == 0 else order[::-1]


def gather(audio_dir: Path, to: Path, at_most: int, num_workers: int) -> tuple[float, int]:
    """Copy tracks that read to their end under names of one kind; hours and number of them."""
    paths = sorted(path for path in audio_dir.rglob("*") if path.is_file())
    with Pool(num_workers) as pool:
        lengths = pool.map(seconds, paths, chunksize=4)
    usable = [(path, s) for path, s in zip(paths, lengths, strict=True) if s]
    step = max(1, len(usable) / at_most) if at_most else 1
    chosen = [usable[int(step * i)] for i in range(int(len(usable) / step))]
    if not chosen:
        sys.exit(f"No track of {SHORTEST_S:g} s and more below {shown(audio_dir)}.")
    to.mkdir()
    for number, (path, _) in enumerate(chosen):
        shutil.copyfile(path, to / f"{number:06d}{path.suffix.lower()}")
    return sum(s for _, s in chosen) / 3600, len(chosen)


def seconds(path: Path) -> float:
    """Length of a track that decodes whole, 0 of anything else; its bytes are in memory then."""
    try:
        info = soundfile.info(path)
        if not SHORTEST_S <= info.duration <= LONGEST_S:
            return 0.0
        frames = sum(len(block) for block in soundfile.blocks(path, 1 << 18, dtype="float32"))
    except (RuntimeError, ValueError, MemoryError):  # no audio, or not whole
        return 0.0
    return frames / info.samplerate if frames == info.frames else 0.0


def alone(tracks: Path, to: Path) -> None:
    """A folder with the smallest track."""
    to.mkdir()
    smallest = min(tracks.iterdir(), key=lambda path: path.stat().st_size)
    shutil.copyfile(smallest, to / smallest.name)


def demo_corpus(to: Path, options: argparse.Namespace) -> Path:
    """A rendered corpus of about as many tracks as are wanted."""
    from scripts.demo_corpus.corpus import build_corpus

    pieces = max(1, (options.tracks or 240) // 2)
    build_corpus(to, seed=0, pieces=pieces, notes=0, workers=options.num_workers)
    return to


COLUMNS = (
    *("seconds", "tracks/s", "× real time", "CPU s/h", "main MiB", "worker MiB", "all MiB"),
    *("out MiB", "of bare", "ingest is", "start s", "of bare*", "ingest is*"),
)


def table(
    runs: dict[str, list[Run]], starts: dict[str, list[Run]], *, count: int, hours: float
) -> Iterator[str]:
    """A line for each packer; the columns with a star leave the start of the program out."""
    yield f"{'':<12}" + "".join(f"{name:>12}" for name in COLUMNS)
    whole = {name: [one.measured.seconds for one in of] for name, of in runs.items()}
    start = {name: [one.measured.seconds for one in of] for name, of in starts.items()}
    past = {name: list(map(float.__sub__, whole[name], start[name])) for name in whole}
    for name, of in runs.items():
        s = median(whole[name])
        m = [one.measured for one in of]
        cells = [
            f"{s:.2f}",
            f"{count / s:.1f}",
            f"{3600 * hours / s:.0f}",
            f"{median(one.cpu_s for one in m) / hours:.2f}",
            f"{max(one.main_mib for one in m):.0f}",
            f"{max(one.worker_mib for one in m):.0f}",
            f"{max(one.sum_mib for one in m):.0f}",
            f"{of[-1].out_bytes / MIB:.1f}",
            ratio(whole["bare loop"], whole[name]),
            ratio(whole[name], whole["ingest"]),
            f"{median(start[name]):.2f}" if start[name] else "-",
            ratio(past["bare loop"], past[name]),
            ratio(past[name], past["ingest"]),
        ]
        yield f"{name:<12}" + "".join(f"{cell:>12}" for cell in cells)


def ratio(above: Sequence[float], below: Sequence[float]) -> str:
    """Median of the ratios round by round."""
    ratios: Iterable[float] = [a / b for a, b in zip(above, below, strict=True)]
    return f"{median(ratios):.2f}×" if above else "-"


if __name__ == "__main__":
    main()
