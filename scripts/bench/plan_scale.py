"""What it costs to open, select, plan and resume as archives grow: no audio, only an index.

    python scripts/bench/plan_scale.py --work DIR

Archives of 10^4 … 4·10^6 tracks are made up (index, manifest, empty shards); a selection of 10^8 is
written directly. Each is then opened by two fresh processes, the first of a node, which writes
the selection where it is mapped, and a later one: a resume. Prints a table, writes
scripts/bench/plan_scale.json and plan_scale.png.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from shards import mapped  # noqa: E402
from shards.columns import ColumnFile  # noqa: E402
from shards.files import write_parquet  # noqa: E402
from shards.index import Index, with_fingerprint  # noqa: E402
from shards.names import INDEX, MANIFEST, SEEK, seek_name, shard_name  # noqa: E402
from shards.plan import TrainPlan  # noqa: E402
from shards.schema import INDEX_SCHEMA  # noqa: E402
from shards.sealed import write_sealed  # noqa: E402
from shards.select import narrow, select  # noqa: E402
from shards.selection import COLUMNS, Origin, Selection  # noqa: E402
from shards.views.pair import AnchorPositive  # noqa: E402

SIZES = (10_000, 100_000, 1_000_000, 4_000_000)
HUGE = 100_000_000
TRACKS_OF_SHARD = 128
RATE = 16_000
BATCH, BATCHES, ROUNDS = 256, 10, 12
FAR = 10**12
OUT = ROOT / "scripts" / "bench" / "plan_scale"


def hex_strings(count: int, digits: int, rng: np.random.Generator, *, ascending: bool) -> pa.Array:
    """Random strings of hexadecimal digits, made without a Python object each."""
    raw = rng.integers(0, 256, (count, digits // 2), np.uint8)
    if ascending:
        raw[:, :8] = (
            np.sort(rng.integers(0, 2**63, count)).astype(">u8").view(np.uint8).reshape(-1, 8)
        )
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * digits).buffers()[1]
    return pa.StringArray.from_buffers(count, offsets, pa.py_buffer(raw.tobytes().hex().encode()))


def some(words: list[str], count: int, rng: np.random.Generator) -> pa.Array:
    return pa.array(words).take(pa.array(rng.integers(0, len(words), count)))


def make_archive(folder: Path, tracks: int) -> None:
    """Index, manifest and empty shards of so many tracks; each hundredth is a copy."""
    rng = np.random.default_rng(tracks)
    shards = -(-tracks // TRACKS_OF_SHARD)
    frames = rng.integers(90 * RATE, 360 * RATE, tracks)
    keys = hex_strings(tracks, 32, rng, ascending=True)
    at = np.arange(tracks)
    copies = pa.array(np.where(at % 100 == 7, "0" * 32, ""))
    columns = {
        "key": keys,
        "row": pa.array(at),
        "shard": pa.array((at // TRACKS_OF_SHARD).astype(np.int32)),
        "offset": pa.array(at % TRACKS_OF_SHARD * 2_100_000 + 512),
        "size": pa.array(rng.integers(1_000_000, 2_000_000, tracks)),
        "seek": pa.array(at % TRACKS_OF_SHARD * 200),
        "codec": some(["flac"], tracks, rng),
        "frames": pa.array(frames),
        "duration_s": pa.array(frames / RATE),
        "pcm_sha256": hex_strings(tracks, 64, rng, ascending=False),
        "source": hex_strings(tracks, 40, rng, ascending=False),
        "source_sha256": hex_strings(tracks, 64, rng, ascending=False),
        "title": hex_strings(tracks, 20, rng, ascending=False),
        "artist": some([f"artist {i}" for i in range(50_000)], tracks, rng),
        "album": some([f"album {i}" for i in range(200_000)], tracks, rng),
        "duplicate_of": copies,
    }
    for field in INDEX_SCHEMA:
        if field.name not in columns:
            columns[field.name] = pa.nulls(tracks, field.type).fill_null(
                "" if pa.types.is_string(field.type) else False if pa.types.is_boolean(field.type)
                else RATE if field.name == "sample_rate" else 0
            )  # fmt: skip
    table = with_fingerprint(pa.table(columns).select(INDEX_SCHEMA.names).cast(INDEX_SCHEMA))
    (folder / "data").mkdir(parents=True)
    for number in range(shards):
        (folder / "data" / shard_name(number)).touch()
    write_parquet(folder / INDEX, table)
    file = {"bytes": 12_345, "sha256": "0" * 64}
    manifest = {
        "format": 1,
        "sample_rate": RATE,
        "tracks": tracks,
        "shards": [
            {"name": f"data/{shard_name(n)}", "bytes": 0, "sha256": "0" * 64, "tracks": 128}
            for n in range(shards)
        ],
        "files": {
            **{f"{SEEK}/{seek_name(n)}": file for n in range(shards)},
            **{f"receipts/{shard_name(n)}.json": file for n in range(shards)},
            INDEX: {"bytes": (folder / INDEX).stat().st_size, "sha256": "0" * 64},
        },
        "generations": [
            {"index": INDEX, "index_footer_sha256": ColumnFile(folder / INDEX).footer_sha256}
        ],
        "fingerprint": table.schema.metadata[b"fingerprint"].decode(),
    }
    write_sealed(folder / MANIFEST, manifest)


def huge(folder: Path, tracks: int) -> Selection:
    """A selection of so many tracks, written where `select` would write it."""

    def build(write: mapped.Write) -> dict[str, str]:
        rng = np.random.default_rng(0)
        at = np.arange(tracks)
        write("row", narrow(at))
        write("shard", narrow(at // TRACKS_OF_SHARD))
        write("offset", narrow(at % TRACKS_OF_SHARD * 2_100_000 + 512))
        write("seek", narrow(at % TRACKS_OF_SHARD * 200))
        write("size", narrow(rng.integers(1_000_000, 2_000_000, tracks)))
        write("frames", narrow(rng.integers(90 * RATE, 360 * RATE, tracks)))
        write("how", np.zeros(tracks, np.uint8))
        return {}

    columns, _ = mapped.columns_of(folder, "huge", build)
    origin = Origin(folder, "", 0, 0, tracks)
    assert set(columns) == set(COLUMNS)
    return Selection(columns, (origin,), (), (), (), RATE, tracks)


def measure(work: Path, tracks: int) -> dict[str, float]:
    """Seconds (of the clock and of the processor) and memory of a process that opens and plans."""
    view = AnchorPositive()
    result: dict[str, float] = {"tracks": tracks}
    begun, cpu = time.perf_counter(), time.process_time()

    def lap(name: str) -> None:
        nonlocal begun, cpu
        result[f"{name}_s"] = time.perf_counter() - begun
        result[f"{name}_cpu_s"] = time.process_time() - cpu
        begun, cpu = time.perf_counter(), time.process_time()

    if tracks < HUGE:
        index = Index.open(work / str(tracks))
        lap("open")
        selection = select([index], view, map_from=0, folder=work / "mapped")
    else:
        lap("open")
        selection = huge(work / "mapped", tracks)
    lap("select")
    plans = {order: TrainPlan(selection, view, order=order) for order in ("random", "windowed")}
    lap("plan")
    plans["random"].located(FAR + np.arange(BATCH))
    lap("first_batch")
    plans["windowed"].located(FAR + np.arange(BATCH))
    lap("first_windowed")
    rng = np.random.default_rng(1)
    for name, plan in plans.items():
        rounds = []
        for _ in range(ROUNDS):
            steps = FAR // BATCH + rng.integers(0, max(1, tracks // BATCH), BATCHES)  # of a pass
            lap(name)
            for step in steps:
                plan.located(step * BATCH + np.arange(BATCH))
            lap(name)
            rounds.append(1e6 * result[f"{name}_cpu_s"] / BATCH / BATCHES)
        result[f"{name}_us"] = min(rounds)  # others run on the machine too
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(("RssAnon", "RssFile", "VmHWM")):
            result[line.split(":")[0]] = int(line.split()[1]) / 1024
    return result


def fresh(work: Path, tracks: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--work", str(work), "--measure", str(tracks)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def draw_picture(results: list[dict[str, float]]) -> None:
    """Cost of a sample, and of a start, against the number of tracks."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    later = [r for r in results if r["who"] == "later"]
    first = [r for r in results if r["who"] == "first" and r["tracks"] < HUGE]
    size = [r["tracks"] for r in later]
    for name, marker in (("random", "o"), ("windowed", "s")):
        left.plot(size, [r[f"{name}_us"] for r in later], marker=marker, label=f"{name} order")
    left.set(ylabel="processor time a sample, µs", ylim=(0.1, 1000), title="planning a sample")
    for rows, label, marker in (
        (first, "first process of a node: select, write, map", "o"),
        (later, "every other, and a resume: map", "s"),
    ):
        total = [
            sum(r[f"{n}_cpu_s"] for n in ("open", "select", "plan", "first_batch")) for r in rows
        ]
        right.plot([r["tracks"] for r in rows], total, marker=marker, label=label)
    right.axhline(2, color="grey", linestyle=":", label="2 s")
    right.set(ylabel="processor time, s", title="from nothing to the plan of the first batch")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="tracks in the archive")
        axes.grid(alpha=0.3, which="major")
        axes.legend(fontsize=8)
    figure.savefig(OUT.with_suffix(".png"), dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="scratch folder, about 6 GB")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.work, options.measure)))
        return
    results = []
    for tracks in (*SIZES, HUGE):
        shutil.rmtree(options.work, ignore_errors=True)
        (options.work / "mapped").mkdir(parents=True)
        if tracks < HUGE:
            make_archive(options.work / str(tracks), tracks)
        os.sync()
        for who in ("first", "later"):
            results.append({"who": who, **fresh(options.work, tracks)})
            shown = {k: round(v, 3) for k, v in results[-1].items() if k != "who"}
            print(who, json.dumps(shown), flush=True)
    shutil.rmtree(options.work)
    OUT.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    draw_picture(results)


if __name__ == "__main__":
    main()
