"""Mixtures: exact shares, evenly spread, and a closed form that equals counting."""

from collections import Counter

import numpy as np
import pytest

from shards.errors import InputError
from shards.mixture import MAX_PERIOD, Mixture, quantised


@pytest.mark.parametrize(
    "weights", [(1,), (2, 1), (0.7, 0.2, 0.1), (5, 3, 3, 1, 1), (1 / 3, 2 / 3), (1e6, 1.0)]
)
def test_the_closed_form_equals_counting(weights):
    mixture = Mixture(weights)
    archive, nth = mixture.of(np.arange(3 * len(mixture.pattern) + 5))
    seen = Counter()
    for a, n in zip(archive.tolist(), nth.tolist(), strict=True):
        assert n == seen[a]
        seen[a] += 1


@pytest.mark.parametrize(
    "weights", [(2, 1), (0.7, 0.2, 0.1), (5, 3, 3, 1, 1), (97, 2, 1), (1,) * 9]
)
def test_no_archive_is_ever_a_whole_visit_off_its_share(weights):
    mixture = Mixture(weights)
    archive, _ = mixture.of(np.arange(2 * len(mixture.pattern)))
    given = np.cumsum(archive[:, None] == np.arange(len(weights)), axis=0)
    share = np.arange(1, len(archive) + 1)[:, None] * np.array(weights) / sum(weights)
    assert np.abs(given - share).max() < 1


def test_weights_are_exact_as_written_and_rounded_where_they_cannot_be():
    assert quantised([2, 1]).tolist() == [2, 1]
    assert quantised([0.7, 0.2, 0.1]).tolist() == [7, 2, 1]
    assert quantised([0.25, 0.75]).tolist() == [1, 3]
    assert quantised([1 / 3, 2 / 3]).tolist() == [1, 2]
    odd = quantised([2**0.5, 1])
    assert odd.sum() == MAX_PERIOD
    assert abs(odd[0] / odd.sum() - 2**0.5 / (2**0.5 + 1)) < 1 / MAX_PERIOD
    assert quantised([1e9, 1e-9]).tolist() == [MAX_PERIOD - 1, 1]  # none is left out


@pytest.mark.parametrize("weights", [(), (1, 0), (1, -1), (float("nan"), 1), (float("inf"), 1)])
def test_weights_that_are_no_shares_are_refused(weights):
    with pytest.raises(InputError, match="positive"):
        Mixture(weights)
