"""Near duplicates: one recording in many clothes is found, different ones stay apart."""

import csv

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import soxr

from ingest import near
from ingest.fingerprint import Fingerprint
from ingest.near import Sketches, candidates, compare, matches, near_duplicates
from ingest.sketch import SIZE, encode
from shards.errors import InputError
from tests.ingest.music import RATE_HZ, drum, mixed, note, piece, recoded, to_int16

OGG = {"format": "OGG", "subtype": "VORBIS", "level": 0.8}
OPUS = {"format": "OGG", "subtype": "OPUS", "level": 0.85, "rate_hz": 48_000}
HALF_HOP = 256  # of 32 ms: the worst offset for frames that do not move along

CLOTHES = {
    "mp3": recoded,
    "ogg": lambda x: recoded(x, **OGG),
    "opus": lambda x: recoded(x, **OPUS),
    "quieter": lambda x: to_int16(x / 32_768 / 4),
    "clipped": lambda x: to_int16(x / 32_768 * 8),
    "late": lambda x: np.concatenate([np.zeros(RATE_HZ + HALF_HOP, np.int16), x]),
    "trimmed": lambda x: x[RATE_HZ // 2 + HALF_HOP :],
    "shortened": lambda x: x[: len(x) * 9 // 10],
    "resampled": lambda x: to_int16(
        soxr.resample(soxr.resample(x / 32_768, RATE_HZ, 22_050), 22_050, RATE_HZ)
    ),
}


def of(samples):
    maker = Fingerprint(RATE_HZ)
    maker.add(samples)
    return maker.result()


def drawn(rng, *, count=SIZE, top=2**26, common=None):
    """A fingerprint of random landmarks, some of them from a pool that others draw from too."""
    hashes = rng.integers(0, top, count)
    if common is not None:
        hashes[: len(common)] = common
    hashes = np.unique(hashes)
    return encode(hashes, rng.integers(0, 6_000, len(hashes)))


def moved(fingerprint, frames):
    """The same landmarks, later."""
    sketches = Sketches([fingerprint])
    count = sketches.counts[0]
    times = sketches.times[0, :count].astype(np.int64)
    return encode(sketches.hashes[0, :count], times + frames)


@pytest.fixture(scope="module")
def pieces():
    """Six pieces, the last two of them drums of the same samples."""
    return [piece(seed, 7.0, drums_only=seed >= 4) for seed in range(6)]


@pytest.fixture(scope="module")
def prints(pieces):
    return [of(samples) for samples in pieces]


@pytest.mark.parametrize("clothes", CLOTHES)
def test_a_recording_is_known_in_other_clothes(pieces, prints, clothes):
    changed = [of(CLOTHES[clothes](samples)) for samples in pieces]
    first = near_duplicates(prints + changed)
    assert first.tolist() == [*range(6), *range(6)]


def test_a_short_note_is_known_and_is_no_other_note():
    notes = [mixed([(0.1, note(pitch, 2.0, 5))], 2.2) for pitch in range(45, 57, 2)]
    late = [CLOTHES["late"](samples) for samples in notes]
    first = near_duplicates([of(samples) for samples in notes + late])
    assert first.tolist() == [*range(6), *range(6)]


def test_a_rhythm_is_not_another_one_of_the_same_hits():
    rhythms = [piece(seed, 5.0, drums_only=True) for seed in range(16)]
    assert near_duplicates([of(rhythm) for rhythm in rhythms]).tolist() == list(range(16))


def test_loops_of_one_kit_and_one_tempo_stay_apart():
    loops = []
    for seed in range(10):
        order = np.random.default_rng(seed).integers(0, 3, 16)
        loops.append(mixed([(i / 4, drum(int(kind))) for i, kind in enumerate(order)], 4.0))
    assert near_duplicates([of(loop) for loop in loops]).tolist() == list(range(10))


def test_one_sample_in_two_pieces_does_not_join_them():
    """Forty landmarks at one offset, all within a quarter of a second."""
    rng = np.random.default_rng(0)
    sample = np.sort(rng.integers(0, 2**26, 40))
    prints = []
    for start in (1_000, 4_000):
        rest = np.setdiff1d(rng.integers(0, 2**26, SIZE - 40), sample)
        hashes = np.concatenate([sample, rest])
        times = np.concatenate([np.full(40, start), rng.integers(0, 6_000, len(rest))])
        order = np.argsort(hashes)
        prints.append(encode(hashes[order], times[order]))
    sketches, rows = Sketches(prints), (np.array([0]), np.array([1]))
    shared, share = compare(sketches, rows[0], sketches, rows[1])
    assert shared[0] >= 40
    assert share[0] > near.MIN_SHARE
    assert near.spread(sketches, rows[0], sketches, rows[1])[0] < 0.1
    assert near_duplicates(prints).tolist() == [0, 1]


def test_every_copy_joins_however_many_there_are():
    """Far more than the tracks of one hash that are tried."""
    rng = np.random.default_rng(0)
    originals = [drawn(rng) for _ in range(3)]
    order = rng.permutation(np.repeat(np.arange(3), 4 * near.REACH))
    first = near_duplicates([moved(originals[i], int(rng.integers(900))) for i in order])
    wanted = [order.tolist().index(i) for i in order]
    assert first.tolist() == wanted


def test_work_grows_with_the_tracks_not_with_their_square():
    rng = np.random.default_rng(0)
    one = drawn(rng)
    for tracks in (100, 400):
        index = Sketches([one] * tracks).index()
        assert len(candidates(index, index, same=True)) <= 2 * near.REACH * tracks


def test_common_sounds_chain_nothing():
    """Every track shares half its landmarks with others, but at offsets of its own."""
    rng = np.random.default_rng(0)
    pool = rng.integers(0, 2**26, 300)
    tracks = [drawn(rng, common=rng.choice(pool, SIZE // 2)) for _ in range(200)]
    assert near_duplicates(tracks).tolist() == list(range(200))


def test_candidates_are_the_pairs_that_a_naive_loop_finds():
    rng = np.random.default_rng(0)
    sketches = Sketches([drawn(rng, count=60, top=900) for _ in range(near.REACH)])
    sets = [set(h[:n].tolist()) for h, n in zip(sketches.hashes, sketches.counts, strict=True)]
    naive = [
        [i, j]
        for i in range(len(sets))
        for j in range(i)
        if len(sets[i] & sets[j]) >= near.MIN_COMMON
    ]
    index = sketches.index()
    assert 0 < len(naive) < len(sets) * (len(sets) - 1) // 2
    assert candidates(index, index, same=True).tolist() == naive


def test_shared_landmarks_are_what_a_naive_loop_counts():
    rng = np.random.default_rng(0)
    sketches = Sketches([drawn(rng, count=int(n), top=600) for n in rng.integers(1, SIZE, 12)])
    sketches.times //= 60  # 100 times, so that some offsets agree
    for i in range(12):
        for j in range(12):
            a, b = (
                dict(
                    zip(
                        sketches.hashes[r, :n].tolist(), sketches.times[r, :n].tolist(), strict=True
                    )
                )
                for r, n in ((i, sketches.counts[i]), (j, sketches.counts[j]))
            )
            offsets = [a[h] - b[h] for h in a.keys() & b.keys()]
            most = max(
                (sum(0 <= o - low <= near.TOLERANCE for o in offsets) for low in offsets), default=0
            )
            shared, share = compare(sketches, np.array([i]), sketches, np.array([j]))
            assert shared[0] == most
            assert share[0] == most / min(len(a), len(b))


def test_the_share_counts_only_what_both_sketches_could_hold():
    """A full sketch of a longer track ends at a smaller hash."""
    low, high = np.arange(SIZE), np.arange(0, 2 * SIZE, 2)
    sketches = Sketches([encode(low, low), encode(high, high)])
    shared, share = compare(sketches, np.array([0]), sketches, np.array([1]))
    assert shared[0] == SIZE // 2
    assert share[0] == 1.0


def test_equal_samples_join_where_there_are_no_landmarks():
    silence = of(np.zeros(RATE_HZ, np.int16))
    assert near_duplicates([silence] * 3).tolist() == [0, 1, 2]
    assert near_duplicates([silence] * 3, pcm_sha256=["b", "a", "b"]).tolist() == [0, 1, 0]


def test_matches_name_a_pair_for_every_track_that_stands_elsewhere(pieces, prints):
    changed = [of(CLOTHES["late"](samples)) for samples in pieces[1:3]]
    pairs, shares = matches(changed, prints)
    assert pairs.tolist() == [[0, 1], [1, 2]]
    assert ((shares >= near.MIN_SHARE) & (shares <= 1)).all()
    assert len(matches(prints, [])[0]) == len(matches([], prints)[0]) == 0


def test_arrow_arrays_are_taken_as_well_as_lists(prints):
    twice = [*prints, *prints]
    wanted = near_duplicates(twice)
    assert (near_duplicates(pa.array(twice, pa.binary())) == wanted).all()
    assert (near_duplicates(pa.chunked_array([prints, prints], pa.binary())) == wanted).all()
    assert near_duplicates([]).tolist() == []


@pytest.mark.parametrize("data", [b"", b"\1", b"\2\0\0\0", b"\1\0\2\0" + bytes(6)])
def test_a_fingerprint_that_cannot_be_read_is_refused(prints, data):
    with pytest.raises(InputError, match="pack the audio again"):
        near_duplicates([prints[0], data])


def real(folder, path):
    audio, rate_hz = soundfile.read(folder / path, dtype="float32", always_2d=True)
    return of(to_int16(soxr.resample(audio.mean(axis=1), rate_hz, RATE_HZ)))


def versions(folder):
    """Paths of the groups of second encodes and of the others."""
    groups = {}
    with open(folder / "versions.csv", newline="") as file:
        for row in csv.DictReader(file):
            seconds = float(row["duration_s"])
            groups.setdefault((row["type"] == "transcode", row["group"]), {})[row["path"]] = seconds
    return groups


def test_second_encodes_of_real_music_are_found_and_arrangements_are_not(real_audio):
    short = {
        key: list(paths)
        for key, paths in versions(real_audio).items()
        if max(paths.values()) < (48.1 if key[0] else 60)
    }
    paths = [path for group in short.values() for path in group]
    first = near_duplicates([real(real_audio, path) for path in paths])
    found = {frozenset((paths[i], paths[first[i]])) for i in range(len(paths)) if first[i] != i}
    wanted = {frozenset(group) for (second, _), group in short.items() if second}
    assert len(wanted) >= 8
    assert len(short) > len(wanted)
    assert found == wanted


@pytest.mark.slow
def test_nothing_else_is_found_in_all_the_real_music(real_audio):
    with open(real_audio / "labels.csv", newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    first = near_duplicates([real(real_audio, path) for path in paths])
    found = {frozenset((paths[i], paths[first[i]])) for i in range(len(paths)) if first[i] != i}
    wanted = {frozenset(group) for (second, _), group in versions(real_audio).items() if second}
    assert found == wanted
