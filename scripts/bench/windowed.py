"""What a disk is asked for when the order is windowed: bytes and requests of the first pass.

    python scripts/bench/windowed.py SHARDS [--window-shards 4] [--batches 40]

SHARDS is an archive on a disk. The kernel is asked to forget it before each way of reading ahead;
requests are those of all block devices, so the machine must be quiet.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # not this folder

from shards.bench.measure import forget
from shards.decode import Decoder
from shards.index import Index
from shards.plan import TrainPlan
from shards.steps import Steps
from shards.views.pair import AnchorPositive

BATCH = 32
WAYS = {"what is wanted": 0, "128 KiB": 128 << 10, "1 MiB": 1 << 20, "4 MiB": 4 << 20}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shards", type=Path)
    parser.add_argument("--window-shards", type=int, default=4)
    parser.add_argument("--batches", type=int, default=40)
    options = parser.parse_args()
    index = Index.open(options.shards)
    print("| order | ahead | requests a row | MiB of the disk a row | KiB a request | s |")
    print("|---|---|---|---|---|---|")
    for order in ("random", "windowed"):
        plan = TrainPlan(index, AnchorPositive(), order=order, window_shards=options.window_shards)
        for name, size in WAYS.items():
            forget(index)
            print(f"| {order} | {name} | {row(plan, size, options.batches)} |", flush=True)


def row(plan: TrainPlan, ahead_bytes: int, batches: int) -> str:
    """One line of the table."""
    decoder = Decoder.of(plan)
    shards = tuple(replace(shard, ahead_bytes=ahead_bytes) for shard in decoder.shards)
    decoder, steps = replace(decoder, shards=shards), Steps(plan, 0, None, BATCH, 0, 1)
    clips = np.empty((BATCH, plan.num_views, plan.clip_frames), np.int16)
    valid = np.empty(BATCH, bool)
    before, begun_s = asked(), time.perf_counter()
    for step in range(batches):
        decoder.fill(steps.rows(step), clips, valid)
    took_s = time.perf_counter() - begun_s
    requests, sectors = (now - then for now, then in zip(asked(), before, strict=True))
    rows = BATCH * batches
    per_request = sectors / 2 / max(1, requests)
    return f"{requests / rows:.2f} | {sectors / 2048 / rows:.2f} | {per_request:.0f} | {took_s:.1f}"


def asked() -> tuple[int, int]:
    """Reads that all whole disks have done since the machine started, and sectors of 512 bytes."""
    disks = {path.name for path in Path("/sys/block").iterdir()}
    fields = [line.split() for line in Path("/proc/diskstats").read_text().splitlines()]
    mine = [line for line in fields if line[2] in disks]
    return sum(int(line[3]) for line in mine), sum(int(line[5]) for line in mine)


if __name__ == "__main__":
    main()
