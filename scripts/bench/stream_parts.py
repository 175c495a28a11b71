"""What each step of a view costs: µs of a processor and bytes, the least of several rounds.

    python scripts/bench/stream_parts.py SHARDS --rounds 30

SHARDS is an archive packed as FLAC or WAV. A view is one clip of a pair, 4 s. Every part is run in
turn, so that what else happens on the machine meets them all alike. "bare" is a loop over files of
their own: open, seek, read with soundfile. Parts of "fill" are parts of what a worker does.
"""

from __future__ import annotations

import argparse
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from shards import flac
from shards.decode import Decoder
from shards.filler import Task
from shards.how import FRAMES
from shards.index import Index
from shards.plan import TrainPlan
from shards.ring import Ring, Shape
from shards.source import SOURCES
from shards.stream import stream
from shards.views.pair import AnchorPositive
from shards.workers import Workers

TRACKS, PLANNED = 24, 2_048
HEADER_BYTES = 42  # of a FLAC before its frames


class Parts:
    """The parts of a view over the first tracks of a plan, each repeated as it is called."""

    def __init__(self, index: Index, bare: Path) -> None:
        self.plan = TrainPlan(index, AnchorPositive())
        self.decoder = Decoder.of(self.plan)
        self.rows = self.plan.located(np.arange(TRACKS))
        self.ring = Ring.new(Shape(1, TRACKS, 2, self.plan.clip_frames))
        self.heap = np.zeros_like(self.ring.clips)
        tracks = [self.decoder._locate(self.rows, i) for i in range(TRACKS)]
        self.windows = [(t, t.offset, w) for t in tracks for w in t.windows()]
        self.data = [self._source(t).range(w.offset, w.size) for t, _, w in self.windows]
        self.files = [bare / f"{row}" for row in self.rows["row"]]
        for file, track in zip(self.files, tracks, strict=True):
            file.write_bytes(self._source(track).range(track.offset, track.size))

    def _source(self, track):
        return SOURCES.get(track.shard.place)

    def bare(self) -> None:
        for i, file in enumerate(self.files):
            with soundfile.SoundFile(file) as sound:
                for v in np.argsort(self.rows["start"][i]):
                    sound.seek(int(self.rows["start"][i, v]))
                    sound.read(self.plan.clip_frames, dtype="int16", out=self.heap[i, v])

    def planned(self) -> None:
        self.plan.take(np.arange(PLANNED))

    def located(self) -> None:
        self.plan.located(np.arange(PLANNED))

    def pickled(self) -> None:
        pickle.loads(pickle.dumps(Task(0, self.rows, np.arange(TRACKS))))

    def found(self) -> None:
        for i in range(TRACKS):
            self.decoder._locate(self.rows, i).windows()

    def read(self) -> None:
        for track, _, window in self.windows:
            self._source(track).into(window.offset, flac.room(window.size))

    def opened(self) -> None:
        for data, (track, _, window) in zip(self.data, self.windows, strict=True):
            flac.decode_into(self.heap[0, 0, :1], data, track.shard.rate_hz, window.start)

    def decoded(self) -> None:
        for data, (track, _, window) in zip(self.data, self.windows, strict=True):
            flac.decode_into(self.heap[0, 0], data, track.shard.rate_hz, window.start)

    def filled(self) -> None:
        self.decoder.fill(self.rows, self.ring.clips, self.ring.valid)

    def copied(self) -> None:
        self.heap[:] = self.ring.clips

    def all(self) -> dict[str, tuple[Callable[[], None], int, int]]:
        """Name → what to run, how many views that is, bytes a view."""
        views, clip_bytes = 2 * TRACKS, 2 * self.plan.clip_frames
        task_bytes = len(pickle.dumps(Task(0, self.rows, np.arange(TRACKS)))) // views
        range_bytes = sum(len(data) for data in self.data) // views
        parts = {
            "bare": (self.bare, views, clip_bytes),
            "plan rows": (self.planned, 2 * PLANNED, 0),
            "plan and locate rows": (self.located, 2 * PLANNED, 0),
            "task to a worker": (self.pickled, views, task_bytes),
            "fill: find windows": (self.found, views, 0),
            "fill: read ranges": (self.read, views, range_bytes),
            "fill": (self.filled, views, clip_bytes),
            "one copy of a clip": (self.copied, views, clip_bytes),
        }
        if (self.rows["how"] == FRAMES).all():
            parts["fill: open, skip, close"] = self.opened, views, range_bytes + HEADER_BYTES
            parts["fill: the same, and decode"] = self.decoded, views, clip_bytes
        return parts


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shards", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    index = Index.open(options.shards)
    with tempfile.TemporaryDirectory() as bare:
        parts = Parts(index, Path(bare)).all()
        best = dict.fromkeys(parts, float("inf"))
        for _ in range(options.rounds):
            for name, (run, views, _) in parts.items():
                begin_s = time.process_time()
                run()
                best[name] = min(best[name], (time.process_time() - begin_s) / views)
    print(f"| {index.manifest['codec']}: part | µs a view | bytes a view | of bare |")
    print("|---|---|---|---|")
    for name, cost_s in best.items():
        share = cost_s / best["bare"]
        print(f"| {name} | {cost_s * 1e6:.1f} | {parts[name][2]:,} | {share:.3f} |")
    hand_outs(index, options.rounds)
    batches(index, options.rounds)


def hand_outs(index: Index, rounds: int) -> None:
    """A task without rows to a worker and back: what all others cost beside their work."""
    plan = TrainPlan(index, AnchorPositive())
    rows = plan.located(np.arange(0))
    ring = Ring.new(Shape(1, 1, 2, plan.clip_frames))
    workers, least_s, cpu_s = Workers(Decoder.of(plan), ring, num_workers=1), float("inf"), 0.0
    for number in range(10 * rounds):
        begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
        workers.submit(Task(number, rows, np.arange(0)))
        workers.wait(60)
        if time.perf_counter() - begin_s < least_s:
            least_s, cpu_s = time.perf_counter() - begin_s, time.process_time() - begin_cpu_s
    workers.close()
    ring.close()
    print(f"\na task without rows, there and back: {least_s * 1e6:.0f} µs, {cpu_s * 1e6:.0f} ours")


def batches(index: Index, rounds: int) -> None:
    """What the training process spends on a view when a worker decodes."""
    plan = TrainPlan(index, AnchorPositive())
    with stream(plan, batch_size=64, num_workers=1) as ours:
        next(ours)
        least_s = float("inf")
        for _ in range(rounds):
            begin_s = time.process_time()
            next(ours)
            least_s = min(least_s, time.process_time() - begin_s)
    print(f"the trainer's own part of a view, batches of 64 pairs: {least_s / 128 * 1e6:.1f} µs")


if __name__ == "__main__":
    main()
