"""Tiny real archives and encoders: everything is written, read and run as in production."""

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch
from torch import Tensor, nn

from shards.files import sha256_file, write_parquet
from shards.index import Index, fingerprint
from shards.labels import METRICS, Labels, label_schema, write_labels
from shards.names import INDEX, MANIFEST
from shards.schema import FORMAT, INDEX_SCHEMA
from shards.sealed import write_sealed
from shards.targets import KEYS
from tests.evaluate.planted import Planted, planted
from train.encoders import ENCODERS

RATE = 8000


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write_archive(path: Path, tracks: list[np.ndarray], sources: list[str] | None = None) -> Index:
    """An archive of int16 tracks; row i is `tracks[i]`."""
    (path / "data").mkdir(parents=True)
    shard = path / "data/shard-000000.tar"
    sources = sources or [f"{i:04d}.wav" for i in range(len(tracks))]
    with tarfile.open(shard, "w") as tar:
        for i, samples in enumerate(tracks):
            payload = io.BytesIO()
            soundfile.write(payload, samples, RATE, format="FLAC", subtype="PCM_16")
            member = tarfile.TarInfo(f"{i:032x}.flac")
            member.size = len(payload.getvalue())
            payload.seek(0)
            tar.addfile(member, payload)
    with tarfile.open(shard) as tar:
        members = [(member.offset_data, member.size) for member in tar]
    rows = []
    for i, samples in enumerate(tracks):
        text = dict.fromkeys(("source_sha256", "title", "artist", "album", "genre"), "")
        rows.append(
            {
                **text,
                "key": f"{i:032x}",
                "row": i,
                "shard": 0,
                "offset": members[i][0],
                "size": members[i][1],
                "seek": 0,
                "codec": "flac",
                "sample_rate": RATE,
                "channels": 1,
                "frames": len(samples),
                "duration_s": len(samples) / RATE,
                "pcm_sha256": hashlib.sha256(samples.tobytes()).hexdigest(),
                "source": sources[i],
                "peak_db": 0.0,
                "rms_db": 0.0,
                "silence_ratio": 0.0,
                "clipped_ratio": 0.0,
                "truncated": False,
                "duplicate_of": "",
                "near_duplicate_of": "",
                "licence": "CC0",
                "generation": 0,
            }
        )
    table = pa.Table.from_pylist(rows, schema=INDEX_SCHEMA)
    write_parquet(path / INDEX, table)
    manifest = {
        "format": FORMAT,
        "sample_rate": RATE,
        "tracks": len(tracks),
        "shards": [
            {
                "name": "data/shard-000000.tar",
                "bytes": shard.stat().st_size,
                "sha256": sha256_file(shard),
            }
        ],
        "generations": [{"index": INDEX}],
        "fingerprint": fingerprint(table),
    }
    write_sealed(path / MANIFEST, manifest)
    return Index.open(path)


def write_targets(
    index: Index,
    name: str,
    kind: str,
    targets: list,
    *,
    groups: list[str] | None = None,
    splits: list[str] | None = None,
    window_s: float | None = None,
) -> Labels:
    """A label set for the first tracks of an archive; thirds of groups are split if not given."""
    pieces = kind == "group"  # versions of one piece are never parted
    groups = groups or [f"g{piece}" for piece in (targets if pieces else range(len(targets)))]
    number_of = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    dealt = [number_of[group] for group in groups] if pieces else range(len(targets))
    splits = splits or [("train", "train", "valid", "test")[number % 4] for number in dealt]
    classes = {
        "class": lambda: sorted(set(targets)),
        "tags": lambda: sorted(set().union(*targets)),
        "key": lambda: list(KEYS),
        "segments": lambda: sorted({event["value"] for events in targets for event in events}),
    }
    columns = [[f"{i:032x}" for i in range(len(targets))], targets, groups, splits]
    info = {
        "format": 1,
        "kind": kind,
        "classes": classes.get(kind, list)(),
        "metric": METRICS[kind],
        "window_s": window_s,
        "split": {"by": "group", "note": ""},
    }
    write_labels(index.path, name, pa.table(columns, schema=label_schema(kind)), info)
    return Labels.open(index, name)


class Tones(nn.Module):
    """An encoder whose embedding is the loudness of a few tones and its logarithm: no training."""

    name = "tones"

    def __init__(self, *, clip_frames: int = RATE, num_tones: int = 8, gain: float = 1.0) -> None:
        super().__init__()
        self.config = {"clip_frames": clip_frames, "num_tones": num_tones, "gain": gain}
        self.sample_rate, self.clip_frames, self.dim = RATE, clip_frames, 2 * num_tones
        self.gain = nn.Parameter(torch.tensor(gain))
        self.calls = 0

    def embed(self, waveform: Tensor, frames: Tensor) -> Tensor:
        self.calls += 1
        time_s = torch.arange(waveform.shape[1]) / RATE
        hz = 200.0 * (1 + torch.arange(self.dim // 2))
        angle = 2 * torch.pi * hz[:, None] * time_s
        level = torch.stack([waveform @ wave.T for wave in (angle.sin(), angle.cos())]).norm(dim=0)
        level = level / frames[:, None]
        return self.gain * torch.cat([level, level.clamp_min(1e-6).log()], dim=1)


@pytest.fixture
def tones() -> type[Tones]:
    return Tones


@pytest.fixture
def planted_encoder(monkeypatch: pytest.MonkeyPatch) -> Planted:
    """13 layers at 50 Hz, two pools (see planted.py); `load_encoder` and `untrained` know it."""
    monkeypatch.setitem(ENCODERS, "planted", "tests.evaluate.planted:Planted")
    return planted()


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Index]:
    return lambda tracks, **kwargs: write_archive(tmp_path / "shards", tracks, **kwargs)


@pytest.fixture
def targets() -> Callable[..., Labels]:
    return write_targets


def tone(hz: float, seconds: float, *, level: float = 0.3, seed: int = 0) -> np.ndarray:
    """A tone in a little noise, int16."""
    time_s = np.arange(int(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).normal(size=len(time_s))
    samples = level * np.sin(2 * np.pi * hz * time_s) + 0.05 * noise
    return (32767 * samples.clip(-1, 1)).astype(np.int16)


@pytest.fixture
def music() -> Callable[..., np.ndarray]:
    return tone
