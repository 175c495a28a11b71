"""Damaged files of every kind: none harms the main process or a good track beside it."""

import io
import random
from collections import Counter

import numpy as np
import pytest
import soundfile

from ingest.inputs import inputs_of
from ingest.pool import Decoded, Pool
from ingest.scan import Source
from ingest.settings import Settings

FORMS = {
    "wav": ("WAV", "PCM_24"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
}
SETTINGS = Settings(max_seconds=60.0)
EVERY = 10
"""After so many mutants comes the good track."""

BATCH = 500
HEADER_BYTES = 200
FIELDS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\1")


def flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 3, 30))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def cut(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : rng.choice((len(data), start + rng.randrange(1, 2_000)))]


def insert(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    start = rng.randrange(len(data))
    block = rng.choice((rng.randbytes(300), bytes(300), data[start : start + 2_000]))
    data[at:at] = block * rng.choice((1, 1, 20))


def edit_header(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 2))):
        at = rng.randrange(min(HEADER_BYTES, len(data)))
        field = rng.choice(FIELDS)[: rng.choice((1, 2, 4))]
        data[at : at + len(field)] = field


def mutant(data: bytes, seed: str) -> bytes:
    """The data after one or two changes that the seed decides."""
    rng = random.Random(seed)
    changed = bytearray(data)
    for change in rng.choices((flip, cut, insert, edit_header), k=rng.choice((1, 1, 2))):
        if changed:
            change(changed, rng)
    return bytes(changed)


def original(suffix: str) -> bytes:
    """A quarter of a second of noise in two channels."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).normal(0, 0.1, (4_000, 2)).astype(np.float32)
    form, subtype = FORMS[suffix]
    soundfile.write(file, noise, 16_000, format=form, subtype=subtype)
    return file.getvalue()


def source_of(path) -> Source:
    status = path.stat()
    return Source(path.name.encode(), status.st_size, status.st_mtime_ns, "")


def payload_of(outcome) -> bytes:
    assert isinstance(outcome, Decoded), outcome
    with outcome.payload as file:
        file.seek(0)
        return file.read()


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Two decoders and the folder that they read from."""
    folder = tmp_path_factory.mktemp("mutants")
    with Pool(inputs_of(folder), folder, SETTINGS, num_workers=2) as pool:
        yield folder, pool


def survive(folder, pool: Pool, suffix: str, count: int) -> Counter[str]:
    """Decode mutants with a good track after every few; what became of the mutants."""
    data = original(suffix)
    good = folder / f"good.{suffix}"
    good.write_bytes(data)
    became: Counter[str] = Counter()
    (first,) = pool.decode([source_of(good)])
    wanted = payload_of(first)
    for start in range(0, count, BATCH):
        sources = []
        for number in range(start, min(start + BATCH, count)):
            path = folder / f"{number % BATCH}.{suffix}"
            path.write_bytes(mutant(data, f"{suffix} {number}"))
            sources.append(source_of(path))
            if number % EVERY == EVERY - 1:
                sources.append(source_of(good))
        for source, outcome in zip(sources, pool.decode(sources), strict=True):
            if source.raw == good.name.encode():
                assert payload_of(outcome) == wanted
            elif isinstance(outcome, Decoded):
                outcome.payload.close()
                became["packed"] += 1
            else:
                became[outcome.code] += 1
    return became


@pytest.mark.parametrize("suffix", FORMS)
def test_thirty_mutants_harm_nothing(suffix, pool):
    became = survive(*pool, suffix, 30)
    assert became.total() == 30
    assert became["packed"] < 30  # some damage was seen


@pytest.mark.slow
@pytest.mark.parametrize("suffix", FORMS)
def test_ten_thousand_mutants_harm_nothing(suffix, pool):
    became = survive(*pool, suffix, 10_000)
    assert became.total() == 10_000
    assert became["timeout"] == 0
    print(suffix, dict(became))
