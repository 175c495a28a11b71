"""BatchNorm equals torch's in one process; the two-process tests are in test_distributed.py."""

import pytest
import torch
from torch import nn

from train.norm import BatchNorm


@pytest.mark.parametrize("shape", [(8, 5), (4, 5, 6), (4, 5, 6, 7)])
def test_it_equals_torchs(shape):
    theirs_class = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)]
    ours, theirs = BatchNorm(5), theirs_class(5)
    torch.manual_seed(0)
    for _ in range(3):
        x = 3 * torch.randn(shape) + 2
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        ya, yb = ours(a), theirs(b)
        torch.testing.assert_close(ya, yb)
        weight = torch.randn(shape)
        (ya * weight).sum().backward()
        (yb * weight).sum().backward()
        torch.testing.assert_close(a.grad, b.grad)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_the_path_of_many_processes_equals_torchs_on_one():
    torch.manual_seed(0)
    ours, theirs = BatchNorm(5).double(), nn.BatchNorm2d(5).double()
    x = 3 * torch.randn(4, 5, 6, 7, dtype=torch.float64) + 100
    torch.testing.assert_close(ours._global(x), theirs(x))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)


def test_one_value_a_channel_has_no_variance():
    with pytest.raises(ValueError, match="at least 2"):
        BatchNorm(3)(torch.zeros(1, 3))
