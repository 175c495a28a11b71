import numpy as np
import pytest
import torch

from evaluate.many_scores import scorer
from evaluate.metrics import METRICS

N = 300


def outputs(num: int, *, ties: bool = False) -> torch.Tensor:
    """Outputs [5, num, N] of five configurations; with ties, of few different values."""
    values = np.random.default_rng(1).normal(size=(5, num, N)).astype(np.float32)
    return torch.from_numpy(values.round(1) if ties else values)


def one_by_one(metric, found, targets):
    columns = found.double().numpy().transpose(0, 2, 1)
    return [METRICS[metric].score(one, targets) for one in columns]


@pytest.mark.parametrize("ties", [False, True])
def test_areas_of_all_configurations_equal_scikit_learns(ties):
    rng = np.random.default_rng(0)
    targets = (rng.random((N, 6)) < [0.5, 0.9, 0.1, 1 / N, 0.0, 1.1]).astype(np.float32)
    targets[0, 3] = 1
    found = scorer("roc_auc", torch.from_numpy(targets))(outputs(6, ties=ties))
    expected = one_by_one("roc_auc", outputs(6, ties=ties), targets)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_accuracies_equal_scikit_learns():
    targets = np.random.default_rng(0).integers(4, size=N)
    found = scorer("accuracy", torch.from_numpy(targets))(outputs(4, ties=True))
    np.testing.assert_allclose(found, one_by_one("accuracy", outputs(4, ties=True), targets))


def test_r2_equals_scikit_learns_in_any_unit():
    targets = np.random.default_rng(0).normal(size=N)
    values = outputs(1)
    found = scorer("r2", torch.from_numpy(targets))(values)
    score = METRICS["r2"].score
    expected = [score(120 + 30 * one[0].double().numpy(), 120 + 30 * targets) for one in values]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert scorer("r2", torch.ones(N))(values).isnan().all()


def test_a_metric_without_a_fast_form_is_asked_for_each_configuration():
    targets = (np.random.default_rng(0).random((N, 3)) < 0.3).astype(np.float32)
    found = scorer("average_precision", torch.from_numpy(targets))(outputs(3))
    np.testing.assert_allclose(found, one_by_one("average_precision", outputs(3), targets))


def test_outputs_that_are_not_finite_have_no_score():
    targets = (np.random.default_rng(0).random((N, 3)) < 0.3).astype(np.float32)
    values = outputs(3)
    values[1, 2, 7], values[3, 0, 0] = torch.nan, torch.inf
    found = scorer("roc_auc", torch.from_numpy(targets))(values)
    assert found.isnan().tolist() == [False, True, False, True, False]
    nothing = scorer("roc_auc", torch.zeros(N, 3))(values)
    assert nothing.isnan().all()


def test_key_scores_equal_the_metrics_own():
    targets = np.random.default_rng(0).integers(24, size=N)
    found = scorer("key_score", torch.from_numpy(targets))(outputs(24))
    np.testing.assert_allclose(found, one_by_one("key_score", outputs(24), targets))
