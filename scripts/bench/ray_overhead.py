"""What Ray costs: processor time a view of all its processes, beside a loop that only decodes.

    python -m scripts.bench.ray_overhead SHARDS

Each way runs in a process of its own, first batches not counted, twice: as fast as it gives, and
with a trainer that takes `--pause-s` a step, which shows what is spent on waiting.

    loop     as many processes as cores decode and do nothing else: the limit
    workers  the stream's inline backend
    ray      the stream's Ray backend: tasks write into the trainer's memory
    blocks   Ray Data: tasks give clips back through the object store
    rows     Ray Data: tasks write into shared memory, rows of facts come back
"""

from __future__ import annotations

import argparse
import mmap
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

import numpy as np

from scripts.bench.measured import family
from shards.decode import Decoder
from shards.index import Index
from shards.plan import TrainPlan
from shards.steps import Steps
from shards.stream import stream
from shards.views.pair import AnchorPositive

WAYS = ("loop", "workers", "ray", "blocks", "rows")
WARM = 4
"""Batches before counting begins."""
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("shards", help="an archive")
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS)
    parser.add_argument("--batch-size", type=int, default=128, help="tracks, two 4 s clips each")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--pauses-s", type=float, nargs="+", default=(0.0, 0.5))
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run(options, options.child, options.pauses_s[0])
        return
    for pause_s in options.pauses_s:
        print(f"a trainer that takes {pause_s:g} s a step", flush=True)
        for way in options.ways:
            again = [*sys.argv[1:], "--pauses-s", str(pause_s), "--child", way]
            subprocess.run([sys.executable, "-m", "scripts.bench.ray_overhead", *again], check=True)


def run(options: argparse.Namespace, way: str, pause_s: float) -> None:
    """Take batches and print what they cost."""
    plan = TrainPlan(Index.open(options.shards), AnchorPositive(clip_s=4), seed=1)
    taken = TAKE[way](plan, options)
    for _ in range(WARM):
        next(taken)
    before, begun_s = processor_s(), time.perf_counter()
    for _ in range(options.steps):
        time.sleep(pause_s)
        next(taken)
    wall_s = time.perf_counter() - begun_s
    spent = Counter(processor_s())
    spent.subtract(before)
    by_name: Counter[str] = Counter()
    for (_, name), seconds in spent.items():
        by_name[name] += seconds
    views = 2 * options.batch_size * options.steps
    parts = ", ".join(
        f"{name} {s / views * 1e6:.0f}" for name, s in by_name.most_common(7) if s > 0
    )
    total_us = sum(by_name.values()) / views * 1e6
    print(f"  {way:8} {views / wall_s:6.0f} views/s {total_us:6.0f} µs a view: {parts}", flush=True)
    for child in active_children():
        child.kill()
    os._exit(0)  # an unfinished Dataset has threads that would crash an orderly end


def processor_s() -> dict[tuple[int, str], float]:
    """Processor seconds of this process and its descendants so far."""
    spent = {}
    for pid in family(os.getpid()):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:  # it has ended
            continue
        fields = stat[stat.rindex(")") + 2 :].split()
        spent[pid, name_of(pid)] = TICK_S * (int(fields[11]) + int(fields[12]))
    return spent


def name_of(pid: int) -> str:
    """What a process is, whatever it is doing at the moment."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    name = os.path.basename(words[0])
    if name.startswith(("ray::fill", "ray::IDLE", "ray::MapBatches")):
        return "tasks"
    return next((Path(w).stem for w in words[1:] if w.endswith(".py")), name)


def loop(plan: TrainPlan, options: argparse.Namespace) -> Iterator[None]:
    """One batch from any of as many processes as cores."""
    context = get_context("fork")
    done, room = context.Semaphore(0), context.Semaphore(2 * options.cores)
    for rank in range(options.cores):
        mine = (plan, options, rank, done, room)
        context.Process(target=decode, args=mine, daemon=True).start()
    while True:
        done.acquire()
        yield
        room.release()


def decode(plan: TrainPlan, options: argparse.Namespace, rank: int, done: Any, room: Any) -> None:
    """Decode every n-th batch into one buffer, two batches a core ahead."""
    decoder, steps = Decoder.of(plan), Steps(plan, 0, None, options.batch_size, 0, 1)
    clips, valid = buffers(plan, options)
    for step in range(rank, 10**9, options.cores):
        room.acquire()
        decoder.fill(steps.rows(step), clips, valid)
        done.release()


def buffers(plan: TrainPlan, options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Clips and flags of a batch."""
    shape = options.batch_size, plan.num_views, plan.clip_frames
    return np.zeros(shape, np.int16), np.zeros(shape[0], bool)


def workers(plan: TrainPlan, options: argparse.Namespace) -> Iterator[object]:
    """Our batches, by worker processes."""
    return stream(plan, batch_size=options.batch_size, num_workers=options.cores)


def ray(plan: TrainPlan, options: argparse.Namespace) -> Iterator[object]:
    """Our batches, by Ray."""
    from shards.ray_backend import connect

    connect(num_cpus=options.cores)
    kind = {"batch_size": options.batch_size, "num_workers": options.cores}
    return stream(plan, backend="ray", **kind)


def blocks(plan: TrainPlan, options: argparse.Namespace) -> Iterator[object]:
    """Batches of Ray Data, clips in blocks, the executor in an actor."""
    decoder = Decoder.of(plan)

    def task(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return decoder(unflat(columns))

    (split,) = dataset(plan, options, task).streaming_split(1)
    return iter(split.iter_batches(batch_size=options.batch_size, prefetch_batches=2))


def rows(plan: TrainPlan, options: argparse.Namespace) -> Iterator[object]:
    """Facts from Ray Data, clips in a file of memory; nothing says when a slot is free."""
    decoder = Decoder.of(plan)
    clip = plan.num_views, plan.clip_frames
    size = 2 * options.batch_size * plan.num_views * plan.clip_frames
    fd = os.memfd_create("clips")
    os.ftruncate(fd, size)
    path = f"/proc/{os.getpid()}/fd/{fd}"

    def task(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with open(path, "r+b") as file:
            memory = mmap.mmap(file.fileno(), size)
        clips = np.frombuffer(memory, np.int16).reshape(-1, *clip)
        valid = np.zeros(len(clips), bool)
        decoder.fill(unflat(columns), clips, valid)
        return {"position": columns["position"][:1]}

    batches = dataset(plan, options, task).iter_batches(batch_size=1, prefetch_batches=2)
    return iter(batches)


def dataset(plan: TrainPlan, options: argparse.Namespace, task: Any) -> Any:
    """Ray Data over plan rows, a table a task, a task a batch, in order."""
    from shards.ray_backend import connect

    connect(num_cpus=options.cores, store_bytes=1 << 30)  # before anything of ray is imported
    import pyarrow as pa
    from ray.data import DataContext, ExecutionResources, from_arrow

    context = DataContext.get_current()
    context.execution_options.preserve_order = True
    context.execution_options.resource_limits = ExecutionResources.for_limits(cpu=options.cores)
    context.enable_progress_bars = context.print_on_execution_start = False
    steps = Steps(plan, 0, None, options.batch_size, 0, 1)
    count = options.steps + 3 * WARM
    tables = [pa.table(flat(steps.rows(step))) for step in range(count)]
    return from_arrow(tables).map_batches(task, batch_size=None, num_cpus=1)


def flat(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """One column a view."""
    narrow = {name: column for name, column in rows.items() if column.ndim == 1}
    wide = {name: column for name, column in rows.items() if column.ndim == 2}
    each = {f"{n}:{v}": np.ascontiguousarray(c) for n, x in wide.items() for v, c in enumerate(x.T)}
    return {**narrow, **each}


def unflat(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Back again."""
    narrow = {name: np.asarray(column) for name, column in columns.items() if ":" not in name}
    wide = sorted({name.split(":")[0] for name in columns if ":" in name})
    return {**narrow, **{n: np.stack([columns[f"{n}:{v}"] for v in (0, 1)], 1) for n in wide}}


TAKE = {"loop": loop, "workers": workers, "ray": ray, "blocks": blocks, "rows": rows}

if __name__ == "__main__":
    main()
