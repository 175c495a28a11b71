"""Schedules at the points one can check by hand."""

import pytest

from train.schedule import cosine, learning_rate


def test_cosine_runs_from_end_to_end():
    assert cosine(0.9, 1.0, 0) == pytest.approx(0.9)
    assert cosine(0.9, 1.0, 0.5) == pytest.approx(0.95)
    assert cosine(0.9, 1.0, 1) == 1.0
    assert cosine(0.9, 1.0, 2) == 1.0


def test_learning_rate_warms_up_and_falls():
    def rate(step):
        return learning_rate(3.0, seen=step * 8, batch=8, warmup=40, total=400)

    assert [rate(step) for step in range(5)] == pytest.approx([0.6, 1.2, 1.8, 2.4, 3.0])
    assert rate(5) == pytest.approx(3.0)
    assert rate(27.5) == pytest.approx(3 * 0.5)
    assert 0 < rate(49) < 0.02
    assert rate(50) == 0


def test_learning_rate_needs_no_warm_up():
    assert learning_rate(1.0, seen=0, batch=8, warmup=0, total=80) == 1.0


def test_it_depends_on_samples_not_on_how_they_are_batched():
    small = learning_rate(1.0, seen=800, batch=8, warmup=80, total=8000)
    large = learning_rate(1.0, seen=800, batch=80, warmup=80, total=8000)
    assert small == large
