"""Two-minute tracks of real music, packed once as FLAC and once as WAV; tables of clips."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

from scripts.bench.packers.audio import RATE_HZ, mono
from scripts.bench.streams.common import CLIP_S, SHARDS
from shards.index import Index
from shards.plan import TrainPlan
from shards.reader import read_window
from shards.views.hierarchical import HierarchicalCrops
from shards.views.pair import AnchorPositive

TRACK_S, SHORTEST_S = 120, 20
VISITS = 400
MIB = 1 << 20


VIEWS = {
    "pair": AnchorPositive(clip_s=CLIP_S["pair"]),
    "hierarchical": HierarchicalCrops(clip_s=CLIP_S["hierarchical"]),
}


def prepare(data, audio_dir, *, tracks, track_s=TRACK_S):
    """Everything that all streams need, made unless it is there; number of tracks."""
    done = data / "prepared"
    if not done.exists():
        shutil.rmtree(data, ignore_errors=True)
        (data / "audio").mkdir(parents=True)
        cut(audio_dir, data / "audio", tracks, track_s)
        for payload in ("flac", "wav"):
            pack(data, payload)
            unpack(data, payload)
        shutil.rmtree(data / "audio")
        done.touch()
    for name, view in VIEWS.items():
        if not (data / f"{name}.npy").exists():
            np.save(data / f"{name}.npy", table(Index.open(data / "flac"), view))
    return len(Index.open(data / "flac"))


def cut(audio_dir, out, tracks, track_s):
    """FLAC tracks of one length, from all music of 20 s and more, one after the other."""
    left, made, length = np.zeros(0, np.float32), 0, track_s * RATE_HZ
    for path in sorted(path for path in Path(audio_dir).rglob("*") if path.is_file()):
        try:
            if soundfile.info(path).duration < min(SHORTEST_S, track_s):
                continue
            left = np.concatenate([left, mono(path)])
        except (RuntimeError, ValueError):  # no audio, or not whole
            continue
        while len(left) >= length and made < tracks:
            track, left = left[:length], left[length:]
            soundfile.write(out / f"{made:06d}.flac", track, RATE_HZ, "PCM_16")
            made += 1
        if made == tracks:
            return
    if not made:
        sys.exit(f"There is no {track_s} s of music below {audio_dir}.")


def pack(data, payload):
    """An archive of the tracks, in enough shards for all workers."""
    size = sum(path.stat().st_size for path in (data / "audio").iterdir())
    size *= 2 if payload == "wav" else 1
    words = ["--out", str(data / payload), "--codec", payload]
    words += ["--shard-mib", f"{max(0.05, size / SHARDS / MIB):.3f}"]
    command = [sys.executable, "-m", "ingest", "build-shards", str(data / "audio"), *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def unpack(data, payload):
    """Each payload as a file of its own."""
    (data / "members").mkdir(exist_ok=True)
    index = Index.open(data / payload)
    for row in range(len(index)):
        track = index[row]
        with open(track.shard, "rb") as shard:
            shard.seek(track.offset)
            name = f"{row:06d}.{payload}"
            (data / "members" / name).write_bytes(shard.read(track.size))


def table(index, view):
    """First samples of the clips of each visit to each track, int64 [VISITS, tracks, V]."""
    plan = TrainPlan(index, view)
    rows = plan.take(np.arange(VISITS * len(index)))
    starts = np.empty((VISITS, len(index), view.num_views), np.int64)
    starts[rows["position"] // len(index), rows["row"]] = rows["start"]
    return starts


def expected(given, row, starts):
    """Clips int16 [V, T] as they must be."""
    index = Index.open(given.data / "flac")
    return np.stack([read_window(index, row, int(s), given.clip_frames) for s in starts])
