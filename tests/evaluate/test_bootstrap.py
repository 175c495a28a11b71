import numpy as np
import pytest

from evaluate.bootstrap import (
    group_weights,
    half_test,
    half_weights,
    interval,
    paired_difference,
)


def mean_of(values):
    return lambda weights: weights @ values / weights.sum(axis=1)


def test_half_test_draws_half_of_the_tracks_without_replacement():
    weights = half_weights(21, draws=50, seed=0)
    assert weights.shape == (50, 21)
    assert set(np.unique(weights)) == {0.0, 1.0}
    assert (weights.sum(axis=1) == 10).all()
    assert len(np.unique(weights, axis=0)) == 50
    values = np.random.default_rng(1).random(21)
    found = half_test(mean_of(values), 21)
    each = [values[row > 0].mean() for row in weights]
    assert found.mean == pytest.approx(np.mean(each))
    assert found.std == pytest.approx(np.std(each))
    assert found.draws == 50


def test_tracks_of_a_group_are_drawn_together_and_as_many_groups_as_there_are():
    groups = np.array(["a", "b", "a", "c", "c", "c"])
    weights = np.concatenate(list(group_weights(groups, draws=300, seed=0)))
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 3:] == weights[:, 3:4]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert weights.max() > 1


def test_interval_of_a_mean_agrees_with_its_standard_error():
    values = np.random.default_rng(0).normal(size=400)
    found = interval(mean_of(values), np.arange(400), draws=2000)
    error = values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_interval_widens_when_tracks_come_in_groups():
    values = np.repeat(np.random.default_rng(0).normal(size=50), 8)
    alone = interval(mean_of(values), np.arange(400))
    grouped = interval(mean_of(values), np.repeat(np.arange(50), 8))
    assert grouped.groups == 50
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_difference_of_identical_predictions_is_exactly_zero():
    values = np.random.default_rng(0).random(30)
    found = paired_difference(mean_of(values), mean_of(values.copy()), np.arange(30) // 3)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_pairing_cancels_what_two_encoders_share():
    hard = np.random.default_rng(0).normal(size=200)
    found = paired_difference(mean_of(hard + 0.1), mean_of(hard), np.arange(200))
    assert found.low == pytest.approx(0.1)
    assert found.high == pytest.approx(0.1)


def test_draws_without_a_score_are_counted_and_left_out():
    def score(weights):
        return np.where(weights[:, 0] > 0, 1.0, np.nan)

    found = interval(score, np.arange(10), draws=200)
    assert (found.low, found.high) == (1.0, 1.0)
    assert 0 < found.undefined < 200


def test_one_group_has_no_interval():
    found = interval(mean_of(np.arange(5.0)), np.zeros(5))
    assert found.value == 2.0
    assert np.isnan(found.low)
    assert np.isnan(found.high)
