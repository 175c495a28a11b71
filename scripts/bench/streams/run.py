"""One stream, run by itself: rates between two moments, so that start and end cost nobody.

python -m scripts.bench.streams.run MODULE DATA --begun TIME [...]

Prints one line of JSON. Processor time and memory are those of this process and all below it.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from importlib import import_module
from pathlib import Path

import numpy as np

from scripts.bench.measured import family
from scripts.bench.streams.common import Given, sums

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
WARM_UP = 0.2
"""Share of the time before the clock starts: queues are full then and stay so to the end."""
BURSTS = 3
CHECKED = 3


def main():
    """Measure, and print what was measured."""
    options = arguments()
    module = import_module(f"scripts.bench.streams.{options.module}")
    given = Given(
        options.data,
        options.payload,
        options.view,
        options.batch_size,
        options.workers,
        options.crops,
        options.backend,
    )
    asked = time.time()
    batches = module.batches(given)
    first = next(batches)
    facts = {"first_s": time.time() - options.begun, "asked_s": time.time() - asked}
    least = BURSTS * options.workers * options.batch_size
    clips = given.starts.shape[2]
    facts |= measured(batches, clips, options.seconds, least, options.memory_every)
    facts["wrong"] = wrong(given, first)
    batches.close()
    if options.again:
        asked = time.time()
        batches = module.batches(given)
        next(batches)
        facts["again_s"] = time.time() - asked
        batches.close()
    print(json.dumps(facts), flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("module")
    parser.add_argument("data", type=Path)
    parser.add_argument("--begun", type=float, required=True, help="when this was typed")
    parser.add_argument("--payload", default="flac")
    parser.add_argument("--view", default="pair")
    parser.add_argument("--backend", default="")
    parser.add_argument("--crops", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--memory-every", type=float, default=2.0)
    parser.add_argument("--again", action="store_true", help="time the first batch once more")
    return parser.parse_args()


def measured(batches, clips, seconds, least, memory_every_s):
    """Views a second and CPU seconds a view, after a warm-up; memory now and then.

    A view is a clip, of which each row has so many. Slow streams give their batches in bursts, a
    batch of each worker: at least so many rows are waited for, in the warm-up and after it.
    """
    begun, memory, ended = time.monotonic(), [], threading.Event()
    watcher = threading.Thread(target=watch, args=(memory, memory_every_s, ended), daemon=True)
    watcher.start()
    clock, cpu, rows, warm = None, 0.0, 0, 0
    for row, _, _ in batches:
        now = time.monotonic()
        if clock is not None:
            rows += len(row)
            if now - begun >= seconds and rows >= least:
                break
            continue
        warm += len(row)
        if now - begun >= WARM_UP * seconds and warm >= least:
            clock, cpu = now, cpu_s()
    cpu, took, views = cpu_s() - cpu, now - clock, clips * rows
    ended.set()
    watcher.join()
    return {
        "views_per_s": views / took,
        "cpu_s_per_view": cpu / views,
        "views": views,
        "memory_mib": memory,
    }


def watch(memory, every_s, ended):
    """Append seconds and MiB until the event."""
    begun = time.monotonic()
    while not ended.wait(every_s):
        memory.append((round(time.monotonic() - begun, 1), round(held_mib(), 1)))


def cpu_s():
    """Seconds of processors that this process and all below it have used."""
    total = 0
    for pid in family(os.getpid()):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        total += sum(map(int, fields[11:15]))  # its own, and of its children that have ended
    return total * TICK_S


def held_mib():
    """Memory of this process and all below it; what several share is counted once."""
    total = 0
    for pid in family(os.getpid()):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def wrong(given, batch):
    """How many of the first rows of a batch are not the clips they should be."""
    from scripts.bench.streams.corpus import expected

    rows = zip(*(column[:CHECKED] for column in batch), strict=True)
    return sum(
        int(sums(expected(given, int(row), start)[None])[0]) != int(got)
        for row, start, got in rows
        if np.ndim(start)
    )


if __name__ == "__main__":
    main()
