"""How soon the commands explain themselves: seconds of `--help`, best of five, by whole process.

.venv/bin/python scripts/bench/help.py
"""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "ingest --help": [BIN / "ingest", "--help"],
    "ingest build-shards --help": [BIN / "ingest", "build-shards", "--help"],
    "train/run.py --help": [sys.executable, "train/run.py", "--help"],
    "train/run.py --method byol --help": [
        sys.executable,
        "train/run.py",
        "--method",
        "byol",
        "--help",
    ],
    "python -m shards bench --help": [sys.executable, "-m", "shards", "bench", "--help"],
    "evaluate --help": [BIN / "evaluate", "--help"],
    "evaluate embed --help": [BIN / "evaluate", "embed", "--help"],
}
WANTED_S = {"train/run.py --method byol --help": 3.0}


def seconds(command):
    begun = time.perf_counter()
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


for name, command in COMMANDS.items():
    best = min(seconds(command) for _ in range(5))
    print(f"{name:36} {best:5.2f} s   (wanted: at most {WANTED_S.get(name, 0.3)} s)")
