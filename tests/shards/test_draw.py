"""Draws are addressed, uniform, and the same in numpy and torch."""

import json
from pathlib import Path

import numpy as np
import torch

from shards.draw import draw, integers, mix, permute

GOLDEN = Path(__file__).parents[1] / "golden" / "draws.json"


def splitmix_finaliser(x):
    """The published finaliser in unbounded integers."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


def test_mix_is_the_finaliser_of_splitmix64():
    values = [0, 1, 2**63 - 1, 2**63, 2**64 - 1, 0x0123456789ABCDEF]
    signed = np.array([v - 2**64 if v >= 2**63 else v for v in values], np.int64)
    assert [int(x) % 2**64 for x in mix(signed)] == [splitmix_finaliser(v) for v in values]


def test_numpy_and_torch_draw_the_same_bits():
    position, j = np.arange(1000), np.arange(1000) % 7
    ours = draw(5, "gap", position, j)
    theirs = draw(5, "gap", torch.arange(1000), torch.arange(1000) % 7)
    np.testing.assert_array_equal(ours, theirs.numpy())
    np.testing.assert_array_equal(
        integers(ours, 3, 17), integers(theirs, 3, torch.tensor(17)).numpy()
    )
    assert draw(5, "gap", position, 3)[9] == draw(5, "gap", position, np.full(1000, 3))[9]


def test_draws_differ_by_seed_purpose_position_and_j():
    position = np.arange(100)
    drawn = [draw(s, p, position, j) for s in (0, 1) for p in ("gap", "pair") for j in (0, 1)]
    assert len(np.unique(np.concatenate(drawn))) == 800


def test_a_permutation_may_have_another_size_for_each_element():
    sizes = np.repeat([1, 2, 3, 17, 64, 65], [1, 2, 3, 17, 64, 65])
    i = np.concatenate([np.arange(n) for n in (1, 2, 3, 17, 64, 65)])
    key = draw(9, "x", sizes)
    together = permute(i, sizes, key)
    for n in (1, 2, 3, 17, 64, 65):
        mine = sizes == n
        assert sorted(together[mine]) == list(range(n))
        assert together[mine].tolist() == permute(np.arange(n), n, key[mine]).tolist()


def test_integers_hit_both_ends_and_every_value_equally_often():
    values = integers(draw(1, "x", np.arange(60_000)), 4, 9)
    counts = np.bincount(values)[4:]
    assert values.min() == 4
    assert values.max() == 9
    assert np.abs(counts - 10_000).max() < 500  # five standard deviations


def test_permute_is_a_bijection_at_every_size():
    for size in [*range(1, 40), 1023, 1024, 1025]:
        for key in (0, -7):
            order = permute(np.arange(size), size, np.full(size, key))
            assert sorted(order) == list(range(size))


def test_permutations_of_different_keys_are_unlike():
    size = 4096
    keys = draw(0, "track", np.arange(8))
    orders = np.stack([permute(np.arange(size), size, np.full(size, key)) for key in keys])
    correlation = np.corrcoef(np.concatenate([np.arange(size)[None], orders]))
    assert np.abs(correlation - np.eye(9)).max() < 0.08


def test_elements_may_be_asked_for_one_by_one():
    whole = permute(np.arange(100), 100, np.full(100, 9))
    assert [int(permute(np.array([i]), 100, np.array([9]))[0]) for i in range(100)] == list(whole)


def test_pinned_draws_never_change():
    """A changed draw would silently reorder every run that is resumed."""
    pinned = json.loads(GOLDEN.read_text())
    assert draw(7, "track", np.arange(4)).tolist() == pinned["draw"]
    assert permute(np.arange(20), 20, np.full(20, 3)).tolist() == pinned["permute"]
