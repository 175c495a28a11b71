"""A corpus with everything that an archive of music holds on a bad day, packed once."""

import io
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ingest.build import Built, build_shards
from ingest.decode import Packed, pack
from ingest.payload import Sink
from ingest.settings import Settings
from ingest.sniff import is_installed

FORMATS = {
    "wav": {"format": "WAV", "subtype": "PCM_16"},
    "flac": {"format": "FLAC", "subtype": "PCM_16"},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {"format": "MP3", "subtype": "MPEG_LAYER_III"},
    "aiff": {"format": "AIFF", "subtype": "PCM_24"},
}
RATES_HZ = (16_000, 44_100, 48_000)
SMALL_SHARDS = Settings(shard_mib=0.06, licence="CC0-1.0")  # takes about four of these tracks


@dataclass(frozen=True)
class Corpus:
    """A folder, its good files, and the code that each bad one must get."""

    folder: Path
    good: list[bytes]
    bad: dict[bytes, str]


def chord(*, root_hz: float, rate_hz: int, seconds: float, channels: int) -> np.ndarray:
    """A triad that fades, float [n, channels], a little different on each channel."""
    t = np.arange(int(rate_hz * seconds)) / rate_hz
    notes = sum(np.sin(2 * np.pi * root_hz * ratio * t) for ratio in (1, 5 / 4, 3 / 2))
    faded = notes / 4 * np.exp(-t)
    return np.stack([faded * (1 - 0.3 * c) for c in range(channels)], axis=1)


def write_chord(path: Path, number: int, *, seconds: float = 1.0) -> None:
    """The `number`-th chord track: formats, rates and channels take turns."""
    suffix = path.suffix[1:]
    rate_hz = 48_000 if suffix == "opus" else RATES_HZ[number % 3]
    audio = chord(
        root_hz=110 * 2 ** (number / 12), rate_hz=rate_hz, seconds=seconds, channels=1 + number % 2
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate_hz, **FORMATS[suffix])


def write_corpus(folder: Path) -> Corpus:
    """12 chord tracks in 6 formats, odd names, and one file of every kind that is refused."""
    suffixes = list(FORMATS)
    names = [f"album-{i % 3}/{i:02d}.{suffixes[i % 6]}".encode() for i in range(12)]
    for number, name in enumerate(names):
        write_chord(folder / os.fsdecode(name), number, seconds=1.0 + number / 10)
    odd = [b"odd/not-utf8-\xff.wav", b"odd/line\nbreak.flac", b"odd/no-extension"]
    (folder / "odd").mkdir()
    for name, source in zip(odd, (names[0], names[1], names[4]), strict=True):
        (folder / os.fsdecode(name)).write_bytes((folder / os.fsdecode(source)).read_bytes())

    flac = (folder / os.fsdecode(names[1])).read_bytes()
    damaged = bytearray(flac)
    damaged[len(flac) // 2 : len(flac) // 2 + 200] = bytes(200)
    silent = np.zeros((16_000, 1))
    (folder / "bad").mkdir()
    (folder / "bad/damaged.flac").write_bytes(damaged)
    (folder / "bad/header-only.wav").write_bytes((folder / os.fsdecode(names[0])).read_bytes()[:30])
    (folder / "bad/empty.ogg").write_bytes(b"")
    (folder / "bad/text.mp3").write_text("this is a shopping list, not a song\n" * 40)
    (folder / "bad/apple.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(200))
    soundfile.write(folder / "bad/short.wav", silent[:800], 16_000)
    soundfile.write(folder / "bad/no-samples.wav", silent[:0], 16_000)
    soundfile.write(folder / "bad/nan.wav", silent * np.nan, 16_000, subtype="FLOAT")
    soundfile.write(folder / "bad/crowd.wav", np.zeros((1_600, 40)), 16_000)
    soundfile.write(folder / "bad/slow.wav", silent, 100)
    (folder / "bad/link.wav").symlink_to(folder / os.fsdecode(names[0]))
    bad = {
        b"bad/damaged.flac": "corrupt",
        b"bad/header-only.wav": "corrupt",
        b"bad/empty.ogg": "empty",
        b"bad/text.mp3": "not_audio",
        b"bad/apple.m4a": "corrupt" if is_installed() else "unsupported",
        b"bad/short.wav": "too_short",
        b"bad/no-samples.wav": "empty",
        b"bad/nan.wav": "not_finite",
        b"bad/crowd.wav": "too_many_channels",
        b"bad/slow.wav": "sample_rate",
        b"bad/link.wav": "not_a_file",
    }
    (folder / "labels.csv").write_text("path,mood\n")
    (folder / "cover.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(500))
    (folder / ".hidden.wav").write_bytes(b"RIFF")
    return Corpus(folder, names + odd, bad)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def built(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The corpus in shards so small that there are several."""
    out = tmp_path_factory.mktemp("built") / "archive"
    return build_shards(corpus.folder, out, settings=SMALL_SHARDS, num_workers=2)


@pytest.fixture
def own(built: Built, tmp_path: Path) -> Built:
    """A copy of the packed corpus, for tests that write into it."""
    shutil.copytree(built.out, tmp_path / "own")
    return replace(built, out=tmp_path / "own")


@pytest.fixture(scope="session")
def small_shards() -> Settings:
    return SMALL_SHARDS


@pytest.fixture(scope="session")
def make_chord():
    return write_chord


def decode(path: Path, settings: Settings | None = None) -> tuple[Packed, np.ndarray]:
    """What is known of a file, and its samples, packed in this process."""
    settings = settings or Settings(min_seconds=0)
    with open(path, "rb") as source, tempfile.TemporaryFile() as payload:
        sink = Sink(payload.fileno())
        packed = pack(source, sink, name=path.name, settings=settings, beat=lambda: None)
        payload.seek(0)
        samples, rate_hz = soundfile.read(io.BytesIO(payload.read()), dtype="int16")
    assert rate_hz == settings.sample_rate
    return packed, samples


@pytest.fixture(scope="session")
def decode_file():
    return decode


@pytest.fixture(scope="module")
def store():
    """An object store."""
    pytest.importorskip("moto.server", reason="moto is not installed")
    from tests.ingest.stores import Store

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        store = Store()
        yield store
        store.close()


@pytest.fixture
def bucket(store, request) -> str:
    """URI of an empty bucket, without options."""
    return store.new_bucket(f"test-{abs(hash(request.node.name))}")
