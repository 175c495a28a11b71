"""A synthetic corpus, packed once a session; real music where it is at hand."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[1]


def chord(frequencies_hz, seconds, sample_rate, *, channels=1):
    """Decaying notes every half second, a few harmonics each, [n, channels]."""
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    envelope = np.exp(-4 * (t % 0.5))
    wave = sum(np.sin(2 * np.pi * f * k * t) / k for f in frequencies_hz for k in (1, 2, 3))
    mono = (0.2 * envelope * wave / len(frequencies_hz)).astype(np.float32)
    return np.stack([mono * (1 - 0.3 * c) for c in range(channels)], axis=1)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Twelve chord tracks of three artists at three rates, 18 to 29 s; one file is text."""
    folder = tmp_path_factory.mktemp("corpus")
    for i in range(12):
        rate = (16_000, 22_050, 44_100)[i % 3]
        root_hz = 110 * 2 ** (i / 12)
        path = folder / f"artist{i % 3}" / f"track{i:02d}.{'flac' if i % 2 else 'wav'}"
        path.parent.mkdir(exist_ok=True)
        notes = (root_hz, root_hz * 5 / 4, root_hz * 3 / 2)
        soundfile.write(path, chord(notes, 18 + i, rate, channels=1 + i % 2), rate)
    (folder / "broken.mp3").write_text("this is no music")
    return folder


@pytest.fixture(scope="session")
def ray_here():
    """The folder of a Ray that all tests share: a second one in a process crashes now and then."""
    from shards.ray_backend import cluster, connect, disconnect

    connect(num_cpus=2)
    yield cluster._ours.folder.path
    disconnect()


@pytest.fixture(scope="session")
def archive(corpus, tmp_path_factory):
    """The synthetic corpus, packed."""
    from ingest import build_shards

    out = tmp_path_factory.mktemp("archive") / "shards"
    build_shards(corpus, out, num_workers=1)
    return out


@pytest.fixture(scope="session")
def index(archive):
    from shards.index import Index

    return Index.open(archive)


@pytest.fixture(scope="session")
def real_audio():
    """The folder of real music, or a skip that says how to get one."""
    folder = Path(os.environ.get("WHOLETONE_AUDIO", ROOT / "../shared/audio"))
    if not folder.is_dir():
        pytest.skip("no real music here: set WHOLETONE_AUDIO to a folder of it")
    return folder.resolve()
