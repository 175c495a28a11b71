"""A process of its own that streams by Ray and checks every batch against the inline backend.

    ray_reads.py ARCHIVE STEPS [PAUSE_S]

Prints `address`, then a line a step, then `equal`.
"""

import os
import sys
import time

import numpy as np

sys.path.insert(0, os.environ["WHOLETONE_ROOT"])
from shards.index import Index
from shards.plan import TrainPlan
from shards.ray_backend import connect, disconnect
from shards.stream import stream
from shards.views.pair import AnchorPositive

COLUMNS = ("clips", "position", "row", "start", "frames", "seed", "valid")


def main(archive, steps, pause_s=0.0):
    plan = TrainPlan(Index.open(archive), AnchorPositive(clip_s=2, min_gap_s=3), seed=5)
    connect(num_cpus=2)
    import ray

    print(ray.get_runtime_context().gcs_address, flush=True)
    try:
        compare(plan, steps, pause_s)
    finally:
        disconnect()
    print("equal", flush=True)


def compare(plan, steps, pause_s):
    with stream(plan, batch_size=8) as inline, stream(plan, batch_size=8, backend="ray") as ours:
        for step in range(steps):
            a, b = next(inline), next(ours)
            for name in COLUMNS:
                assert np.array_equal(getattr(a, name), getattr(b, name)), (step, name)
            print(step, flush=True)
            time.sleep(pause_s)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *map(float, sys.argv[3:]))
