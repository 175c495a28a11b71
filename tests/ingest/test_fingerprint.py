"""The fingerprint: its bytes, its parts against naive loops."""

import base64
import json
import subprocess
import sys
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import soxr

from ingest import fingerprint, sketch
from ingest.fft import rfft
from ingest.fingerprint import AHEAD, BANDS, BINS, SIZE, Fingerprint
from ingest.near import Sketches, compare
from tests.ingest.music import RATE_HZ, mixed, note, piece

GOLDEN = Path(__file__).parents[1] / "golden" / "fingerprint.json"


def of(samples, sample_rate=RATE_HZ):
    maker = Fingerprint(sample_rate)
    maker.add(samples)
    return maker.result()


def share(a, b):
    rows = np.array([0])
    return compare(Sketches([a]), rows, Sketches([b]), rows)[1][0]


@pytest.fixture(scope="module")
def track():
    return piece(1)


@pytest.mark.parametrize("sample_rate", [16_000, 44_100])
def test_the_callers_blocks_do_not_matter(track, sample_rate):
    samples = np.tile(track, 5)[: 5 * len(track) + 7]
    whole = of(samples, sample_rate)
    rng = np.random.default_rng(0)
    for largest in (3_001, 200_000, 700_000):
        maker = Fingerprint(sample_rate)
        place = 0
        while place < len(samples):
            size = int(rng.integers(0, largest))
            maker.add(samples[place : place + size])
            place += size
        assert maker.result() == whole


def test_the_bytes_are_what_the_layout_says(track):
    data = of(track)
    version, count = np.frombuffer(data[:4], "<u2")
    assert (version, count) == (sketch.VERSION, SIZE)
    assert len(data) == 4 + 6 * count <= 1024
    hashes = np.frombuffer(data, "<u4", count, 4).astype(np.int64)
    assert (np.diff(hashes) > 0).all()
    times = np.frombuffer(data, "<u2", count, 4 + 4 * count)
    assert times.max() * fingerprint.HOP / fingerprint.RATE_HZ < len(track) / RATE_HZ


@pytest.mark.parametrize("samples", [0, 1, 500, RATE_HZ])
def test_silence_has_no_landmarks(samples):
    assert of(np.zeros(samples, np.int16)) == np.array([sketch.VERSION, 0], "<u2").tobytes()


def test_noise_of_one_bit_has_no_landmarks():
    noise = np.random.default_rng(0).integers(-1, 1, 5 * RATE_HZ).astype(np.int16)
    assert len(of(noise)) < 4 + 6 * 12


def test_archives_of_other_rates_have_the_same_fingerprints():
    track = mixed([(i / 4, note(50 + 5 * i % 31, 1.0, 3)) for i in range(40)], 10)
    for rate_hz in (8_000, 22_050, 24_000, 44_100, 48_000):
        other = soxr.resample(track.astype(np.float32), RATE_HZ, rate_hz)
        assert share(of(track), of(np.round(other).astype(np.int16), rate_hz)) > 0.5


def test_archives_of_earlier_versions_stay_comparable():
    """If this fails by intent, raise VERSION and write the golden file anew."""
    golden = json.loads(GOLDEN.read_text())
    assert golden["version"] == sketch.VERSION
    assert share(of(piece(7, 4.0)), base64.b64decode(golden["piece_7"])) > 0.9


def test_running_max_is_the_largest_of_the_neighbours():
    values = np.random.default_rng(0).integers(0, 99, (40, 3))
    for width in (1, 2, 13, 17):
        naive = [values[i : i + width].max(axis=0) for i in range(len(values) - width + 1)]
        assert (fingerprint.running_max(values, width) == naive).all()


def test_peaks_are_what_a_naive_loop_finds():
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 4_000, (60, BINS)).astype(np.int16)
    levels[20:30, 100] = 4_100  # a plateau: only its first point is a peak
    levels[:, : BANDS[0]] = 0
    near_t, near_f = fingerprint.NEAR_FRAMES, fingerprint.NEAR_BINS
    floor = fingerprint.level(np.full((1, BINS), fingerprint.FLOOR**2, np.float32))[0, -1]
    naive = []
    for t in range(near_t, len(levels) - near_t):
        for f in range(BANDS[0], BINS):
            here = levels[t, f]
            around = levels[t - near_t : t + near_t + 1, max(0, f - near_f) : f + near_f + 1]
            first = here > levels[t - 1, f] and here > levels[t, f - 1]
            if here == around.max() and here > floor and first:
                naive.append((t - near_t, f))
    frames, bins = fingerprint.peaks(levels)
    assert list(zip(frames, bins, strict=True)) == naive
    assert (20 - near_t, 100) in naive
    assert (21 - near_t, 100) not in naive


def test_the_sketch_is_the_smallest_of_all_landmarks():
    rng = np.random.default_rng(0)
    frames = np.sort(rng.integers(0, 900, 400))
    bins = rng.integers(BANDS[0], BINS, 400)
    found = {}
    for low, high in pairwise(BANDS):
        own = [(t, f) for t, f in zip(frames, bins, strict=True) if low <= f < high]
        for i, (t, f) in enumerate(own):
            for (t1, f1), (t2, f2) in combinations(own[i + 1 : i + 1 + AHEAD], 2):
                if t2 - t <= fingerprint.MAX_FRAMES:
                    key = (f << 28) | (f1 << 19) | (f2 << 10) | ((t1 - t) // 4 << 5) | (t2 - t) // 4
                    hashed = fingerprint.mix(np.int64(key)) >> 32 & 0xFFFFFFFF
                    found[int(hashed)] = min(int(t), found.get(int(hashed), 1 << 30))
    hashes, times = fingerprint.sketch(np.stack([frames, bins]))
    assert list(zip(hashes.tolist(), times.tolist(), strict=True)) == sorted(found.items())[:SIZE]


def test_a_level_is_a_sixteenth_of_an_octave():
    power = np.full((1, BINS), 1.0, np.float32)
    steps = [int(fingerprint.level(power * 2.0**octave)[0, 50]) for octave in range(8, 12)]
    assert np.diff(steps).tolist() == [16, 16, 16]


def test_the_fft_is_scipys_bit_for_bit():
    rng = np.random.default_rng(0)
    for window in (7, 256, 512):
        real = rng.normal(size=(33, window)).astype(np.float32)
        assert np.array_equal(rfft(real), scipy.fft.rfft(real))


def test_the_fft_comes_without_the_package_around_it():
    code = "import ingest.fingerprint, sys; print('scipy.fft' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
