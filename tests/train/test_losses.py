"""Losses against the loops of their papers."""

import math

import pytest
import torch

from train.losses import nt_xent
from train.methods.byol import regression_loss


def nt_xent_by_loops(a, b, temperature, rows, valid):
    """Chen et al. (2020), algorithm 1, with the clips that must not count left out."""
    z = [*a, *b]
    count = len(a)
    rows, valid = rows * 2, valid * 2
    losses = []
    for i in range(2 * count):
        if not valid[i]:
            continue
        j = (i + count) % (2 * count)

        def similarity(k, i=i):
            return float(z[i] @ z[k] / (z[i].norm() * z[k].norm())) / temperature

        others = [k for k in range(2 * count) if k == j or (rows[k] != rows[i] and valid[k])]
        denominator = sum(math.exp(similarity(k)) for k in others)
        losses.append(-math.log(math.exp(similarity(j)) / denominator))
    return sum(losses) / len(losses)


@pytest.mark.parametrize(
    ("rows", "valid"),
    [
        ([0, 1, 2, 3, 4], [True] * 5),
        ([0, 1, 0, 3, 1], [True] * 5),
        ([0, 1, 2, 3, 0], [True, False, True, True, True]),
    ],
)
def test_nt_xent_equals_the_loop(rows, valid):
    torch.manual_seed(0)
    a, b = torch.randn(2, 5, 7, dtype=torch.float64)
    ours = nt_xent(a, b, temperature=0.3, row=torch.tensor(rows), valid=torch.tensor(valid))
    assert float(ours) == pytest.approx(nt_xent_by_loops(a, b, 0.3, rows, valid), abs=1e-12)


def test_nt_xent_of_unrelated_clips_is_the_logarithm_of_the_choices():
    z = torch.eye(8, dtype=torch.float64)
    loss = nt_xent(z[:4], z[4:], temperature=0.1)
    assert float(loss) == pytest.approx(math.log(7))


def test_nt_xent_does_not_see_the_scale_of_a_projection():
    torch.manual_seed(0)
    a, b = torch.randn(2, 6, 4)
    scaled = nt_xent(a * 7, b * 0.1, temperature=0.2)
    torch.testing.assert_close(nt_xent(a, b, temperature=0.2), scaled)


def test_nt_xent_says_what_shapes_it_wants():
    with pytest.raises(ValueError, match=r"Want two \[B, D\] projections, got \[3, 4\]"):
        nt_xent(torch.zeros(3, 4), torch.zeros(3, 5), temperature=0.1)


def test_regression_loss_is_the_squared_distance_of_unit_vectors():
    torch.manual_seed(0)
    p, z = torch.randn(2, 5, 7, dtype=torch.float64)
    unit_p, unit_z = (x / x.norm(dim=1, keepdim=True) for x in (p, z))
    torch.testing.assert_close(regression_loss(p, z), (unit_p - unit_z).square().sum(1))
    assert float(regression_loss(p, 3 * p).max()) == pytest.approx(0, abs=1e-12)
    assert float(regression_loss(p, -p).min()) == pytest.approx(4)


def test_byol_predicts_the_other_clip_not_its_own(small_encoder, batch):
    from train.methods.byol import BYOL

    method = BYOL(small_encoder, projector=(16, 8), predictor_hidden=8)
    target = torch.randn(8, 2, 8)
    crossed = {"prediction": target.flip(1), "target": target, "valid": batch.valid}
    total, count = method.loss(crossed)["byol"]
    assert float(total) == pytest.approx(0, abs=1e-5)
    assert int(count) == 16
