"""An archive in an object store: views/s, bytes a view, requests a view, without and with a cache.

    python scripts/bench/remote.py AUDIO [--tracks 40] [--latency-ms 20] [--workers 2] [--sweep]

The longest files of AUDIO are packed and put into moto, which a proxy with the given latency stands
before, both in a process of their own on this machine. Pairs of 4 s clips, batches of 64. Bytes are
compared with what the FLAC frames of the clips alone take (clip / track x payload).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ingest.build import build_shards
from ingest.settings import Settings
from shards import blocks, remote
from shards.cache import Cache
from shards.index import Index
from shards.plan import TrainPlan
from shards.stream import stream
from shards.views.pair import AnchorPositive

BATCH = 64
CLIP_S = 4.0


def serve(archive: Path, latency_s: float) -> None:
    """Put the archive into a store, say where, and stay."""
    from moto.server import ThreadedMotoServer

    from tests.shards.faulty import Proxy, upload

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    proxy = Proxy(f"{host}:{port}", latency_s=latency_s, remember=True)
    print(f"{upload(archive, f'{host}:{port}', 'music')}?{proxy.options}", flush=True)
    time.sleep(3_600)


@contextmanager
def served(archive: Path, latency_ms: float) -> Iterator[str]:
    """URI of the archive in a store."""
    command = [sys.executable, __file__, str(archive), "--serve", "--latency-ms", str(latency_ms)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout
        yield server.stdout.readline().strip()
        server.kill()


def measure(name: str, index: Index, *, steps: int, workers: int) -> None:
    """One row of the table: so many batches of a pass that begins anew."""
    plan = TrainPlan(index, AnchorPositive(clip_s=CLIP_S, min_gap_s=4.0, max_gap_s=16.0))
    flac = index.column("size") / index.column("duration_s") * CLIP_S
    bytes_of_clips = 0.0
    with stream(plan, batch_size=BATCH, num_workers=workers, stop=steps * BATCH) as batches:
        begin_s = first_s = time.perf_counter()
        for number, batch in enumerate(batches):
            if number == 0:
                first_s = time.perf_counter()
            bytes_of_clips += float(flac[np.asarray(batch.row)].sum()) * plan.num_views
        seconds, stats = time.perf_counter() - begin_s, batches.stats()
    traffic, views = stats.traffic, steps * BATCH * plan.num_views
    print(
        f"| {name} | {views / seconds:.0f} | {first_s - begin_s:.2f} | "
        f"{traffic.wanted / views / 1024:.0f} | {traffic.transferred / views / 1024:.0f} | "
        f"{traffic.cached / views / 1024:.0f} | {traffic.requests / views:.2f} | "
        f"{traffic.transferred / bytes_of_clips:.2f} |",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("audio", type=Path)
    parser.add_argument("--tracks", type=int, default=40)
    parser.add_argument("--latency-ms", type=float, default=20.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--sweep", action="store_true", help="also gaps, blocks and requests")
    parser.add_argument("--serve", action="store_true", help="used by itself")
    options = parser.parse_args()
    os.environ.update(AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    if options.serve:
        return serve(options.audio, options.latency_ms / 1000)
    with tempfile.TemporaryDirectory() as temporary:
        archive = pack(options.audio, Path(temporary), options.tracks)
        with served(archive, options.latency_ms) as uri:
            table(archive, uri, Path(temporary), options)


def pack(audio: Path, folder: Path, count: int) -> Path:
    """An archive of the longest files below a folder."""
    kinds = {".ogg", ".mp3", ".flac", ".wav"}
    files = [path for path in audio.resolve().rglob("*") if path.suffix in kinds]
    longest = sorted(files, key=lambda path: path.stat().st_size, reverse=True)[:count]
    (folder / "in").mkdir()
    for number, path in enumerate(longest):
        shutil.copyfile(path, folder / f"in/{number}{path.suffix}")
    settings = Settings(shard_mib=16)
    return build_shards(folder / "in", folder / "shards", settings=settings, num_workers=2).out


def table(archive: Path, uri: str, folder: Path, options: argparse.Namespace) -> None:
    """All cases, the same positions each."""
    how = {"steps": options.steps, "workers": options.workers}
    print("| | views/s | first batch s | KiB/view wanted | from store | from cache | requests/view "
          "| store / FLAC of clips |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    measure("local copy", Index.open(archive), **how)
    measure("no cache", Index.open(uri), **how)
    for name, unit in (("blocks", 0), ("units of 4 MiB", 4 << 20)):
        cache = Cache(folder / name, 8 << 30, unit)
        measure(f"cold cache, {name}", Index.open(uri, cache=cache), **how)
        measure(f"warm cache, {name}", Index.open(uri, cache=cache), **how)
    if options.sweep:
        sweep(uri, folder, options.steps)


def sweep(uri: str, folder: Path, steps: int) -> None:
    """The constants of `shards.remote` and `shards.blocks`, in this process."""
    for gap_kib in (0, 64, 128, 256, 512):
        remote.GAP_BYTES = gap_kib << 10
        measure(f"gap {gap_kib} KiB, no cache", Index.open(uri), steps=steps, workers=0)
    remote.GAP_BYTES = 128 << 10
    for block_kib in (64, 128, 256, 512):
        blocks.BLOCK_BYTES = (block_kib << 10) - 16
        cache = Cache(folder / f"block {block_kib}", 8 << 30)
        measure(
            f"block {block_kib} KiB, cold", Index.open(uri, cache=cache), steps=steps, workers=0
        )
    for requests in (1, 4, 16, 32):
        remote.REQUESTS = requests
        remote._pool.cache_clear()
        measure(f"{requests} requests at a time", Index.open(uri), steps=steps, workers=0)


if __name__ == "__main__":
    main()
