"""The second process of a node: joins the Ray of the first and reads until that is gone.

    ray_guest.py ARCHIVE FOLDER 0|1

The first writes how to join into FOLDER, as an all-gather would tell it.
"""

import os
import pickle
import sys
import time
from pathlib import Path

sys.path.insert(0, os.environ["WHOLETONE_ROOT"])
from shards.index import Index
from shards.plan import TrainPlan
from shards.ray_backend import connect, disconnect
from shards.stream import stream
from shards.views.pair import AnchorPositive


def exchange_in(folder):
    file = folder / "join"

    def exchange(mine):
        if mine is not None:
            (folder / "new").write_bytes(pickle.dumps(mine))
            (folder / "new").rename(file)
        while not file.exists():
            time.sleep(0.05)
        return [pickle.loads(file.read_bytes())]

    return exchange


def main(archive, folder, rank):
    plan = TrainPlan(Index.open(archive), AnchorPositive(clip_s=2, min_gap_s=3), seed=5)
    connect(num_cpus=2, local_rank=rank, exchange=exchange_in(folder))
    try:
        with stream(plan, batch_size=8, rank=rank, world_size=2, backend="ray") as ours:
            for _ in range(10_000):
                print(next(ours).position[0], flush=True)
                time.sleep(0.05)
    finally:
        disconnect()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
