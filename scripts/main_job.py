"""The main job: render (or take) a folder of music, pack, label, pre-train, judge, report.

Every step is a command that is printed before it runs, so that it can be typed again. Stopped and
called again, each step goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.recipe import STEPS, TRAIN, train_flags  # noqa: E402

BIN = Path(sys.executable).parent


def main() -> int:
    """Run the steps; the exit status of the first that fails."""
    options = arguments()
    begun = time.monotonic()
    audio = options.audio_dir or options.out / "demo"
    shards, run = options.out / "shards", options.out / "run"
    if options.audio_dir is None and not (audio / "labels.csv").is_file():
        step("render", [sys.executable, ROOT / "scripts/demo_corpus", audio])
    step("pack", [BIN / "ingest", "build-shards", audio, "--out", shards], also_fine=(3,))
    if not label(shards, audio, options.labels):
        print("\nno labels that an encoder could be judged by: give some with --labels FILE")
    tracks = usable_tracks(shards)
    batch_size = str(min(int(TRAIN["--batch-size"]), max(2, tracks // 2 * 2)))
    recipe = train_flags(batch_size=batch_size, steps=options.steps)
    flags = ["--index", shards, "--out", run, "--resume", *recipe]
    alone = "--num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no".split()
    threads = ["--num_cpu_threads_per_process", str(os.cpu_count())]  # the launcher's own: 1
    launch = [BIN / "accelerate", "launch", "--quiet", *alone, *threads, ROOT / "train/run.py"]
    step("pre-train", [*launch, *flags])
    if not label_files(shards):
        return 0
    step("judge", [BIN / "evaluate", shards, "--encoder", run])
    print(f"\nall in {time.monotonic() - begun:.0f} s")
    print(f"report:  {run / 'evaluation' / 'report.html'}")
    print(f"next:    scripts/quickstart YOUR_MUSIC  (now: {shown(audio)})")
    return 0


def arguments() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(prog="scripts/quickstart", description=__doc__)
    parser.add_argument("audio_dir", nargs="?", type=Path, help="a folder of music")
    parser.add_argument("--labels", type=Path, help="CSV or Parquet with labels of its tracks")
    parser.add_argument("--out", type=Path, help="where all goes")
    parser.add_argument(
        "--steps", default=str(STEPS), help="of training; the recipe's: %(default)s"
    )
    options = parser.parse_args()
    for name in ("audio_dir", "labels", "out"):  # the steps run elsewhere
        if getattr(options, name) is not None:
            setattr(options, name, getattr(options, name).resolve())
    options.out = options.out or ROOT / "quickstart-out" / place(options.audio_dir)
    return options


def place(audio_dir: Path | None) -> str:
    """A folder name for each folder of music, also where two have the same name."""
    if audio_dir is None:
        return "demo"
    return f"{audio_dir.name}-{hashlib.sha256(bytes(audio_dir)).hexdigest()[:8]}"


def step(name: str, command: list[str | Path], *, also_fine: tuple[int, ...] = ()) -> None:
    """Run a command, say what and how long; end the job with its status if it fails."""
    words = [str(word) for word in command]
    print(f"\n── {name} ──\n$ {shown(shlex.join(words))}", flush=True)
    begun = time.monotonic()
    with subprocess.Popen(words, cwd=ROOT) as child:
        try:
            status = child.wait()
        except KeyboardInterrupt:  # the child got it too, and may have to save what it did
            child.wait()
            print("\nstopped; the same command goes on from here", flush=True)
            raise SystemExit(130) from None
    print(f"   {name}: {time.monotonic() - begun:.0f} s", flush=True)
    if status not in (0, *also_fine):
        raise SystemExit(status if status > 0 else 128 - status)


def label(shards: Path, audio: Path, file: Path | None) -> bool:
    """Join labels: a file given, labels.csv of the folder, else the tags; whether there are any."""
    file = file or (audio / "labels.csv" if (audio / "labels.csv").is_file() else None)
    command: list[str | Path] = [BIN / "ingest", "labels", shards]
    if file is not None:
        step("label", [*command, file, "--all"])
    elif not label_files(shards):
        for tag in ("genre", "artist", "album"):  # what the files themselves say
            step("label", [*command, index_of(shards), "--column", tag], also_fine=(2,))
    return bool(label_files(shards))


def index_of(shards: Path) -> Path:
    """The archive's latest index, which is a table with the tags of all files."""
    from shards.manifest import read_manifest

    return shards / read_manifest(shards)["generations"][-1]["index"]


def label_files(shards: Path) -> list[Path]:
    """Label sets of the archive."""
    return list((shards / "labels").glob("*.json"))


def usable_tracks(shards: Path) -> int:
    """Tracks long enough for the view; the commands themselves say what is wrong with the rest."""
    from shards.index import Index
    from shards.views.pair import AnchorPositive

    index = Index.open(shards)
    view = AnchorPositive()
    return int((index.column("frames") >= view.min_frames(index.sample_rate)).sum())


def shown(text: object) -> str:
    """Paths below this checkout as one would type them here."""
    return str(text).replace(f"{ROOT}/", "").replace(f"{BIN}/", "")


if __name__ == "__main__":
    raise SystemExit(main())
