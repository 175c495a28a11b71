from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluate.heads import Configuration, Schedule, train_heads
from evaluate.layers import SCHEDULE, layer_grid
from evaluate.tasks import TASKS
from tests.evaluate.plain import trained_alone

LAYERS, DIM = 5, 8


def layered(*, n: int = 120, told: int = 3, seed: int = 0):
    """A task, features [n, L, D] of which layer `told` holds its classes, encoded targets."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(3, size=n)
    x = rng.normal(size=(n, LAYERS, DIM))
    x[:, told, :3] += 2 * np.eye(3)[classes]
    task = TASKS["class"](classes, 3)
    return task, torch.from_numpy(x), task.encode(classes, torch.float64)


@pytest.mark.parametrize("standardise", [False, True])
def test_a_sum_and_single_layers_equal_plain_torch_after_200_steps(standardise):
    task, x, y = layered()
    grid = [
        replace(c, input_dropout=0.25, weight_decay=1e-4, hidden_dim=24)
        for c in layer_grid([3], rates=[1e-2], standardise=standardise)
    ]
    schedule = Schedule(max_steps=200, batch_size=64, early_stopping=False)
    heads = train_heads(grid, task, (x, y), (x, y), schedule=schedule)
    for head in heads:
        net, share = trained_alone(
            head.configuration, task, (x, y), steps=200, batch_size=64, seed=0
        )
        for found, wanted in zip(head.weights, net.parameters(), strict=False):
            difference = (found.view_as(wanted) - wanted.detach()).abs().max()
            assert difference < 1e-9 * wanted.abs().max()
        if head.configuration.layer == "sum":
            torch.testing.assert_close(head.weights[-1][:, 0], share.detach(), rtol=0, atol=1e-9)


def test_a_sum_finds_the_layer_that_tells_and_a_sweep_names_it():
    task, x, y = layered(n=240)
    train, valid = (x[:160], y[:160]), (x[160:], y[160:])
    schedule = replace(SCHEDULE, max_steps=300, check_every=25, patience=4)
    grid = layer_grid(range(LAYERS), rates=[1e-2])
    summed, *single = train_heads(grid, task, train, valid, schedule=schedule)
    assert int(summed.weights[-1].argmax()) == 3
    assert int(np.argmax([head.valid_score for head in single])) == 3
    others = [head.valid_score for i, head in enumerate(single) if i != 3]
    assert max(others) < 0.55 < summed.valid_score


def test_a_head_on_layers_predicts_from_all_of_them_or_from_its_own():
    task, x, y = layered()
    schedule = Schedule(max_steps=8)
    summed, third = train_heads(layer_grid([3]), task, (x, y), (x, y), schedule=schedule)
    changed = x.clone()
    changed[:, 0] += 1
    assert torch.equal(third(x), third(changed))
    assert not torch.allclose(summed(x), summed(changed))
    share = summed.weights[-1].softmax(dim=0)
    mixed = (x * share[None]).sum(dim=1)
    w1, b1, w2, b2, _ = summed.weights
    expected = ((mixed @ w1.T + b1.T).relu() @ w2.T) + b2.T
    torch.testing.assert_close(summed(x), expected)


def test_layers_may_begin_at_the_mean_or_at_random():
    task, x, y = layered()
    at_once = Schedule(max_steps=0)
    for start, is_mean in (("zeros", True), ("random", False)):
        (head,) = train_heads(layer_grid([], start=start), task, (x, y), (x, y), schedule=at_once)
        assert (head.weights[-1] == 0).all() == is_mean


@pytest.mark.parametrize("plateau", [0, 2])
def test_rates_fall_on_a_plateau_as_torchs_scheduler_has_it(plateau):
    from evaluate.descent import Adam
    from evaluate.stack import Stack
    from evaluate.watched import Watched

    goodness = np.random.default_rng(0).normal(size=40)
    weight = torch.zeros(1, 2, 3)
    stack = Stack([Configuration("linear", 0.0)], [weight, weight[..., :1]])
    stack.descent = Adam(stack.weights, [0.1], [[0.0], [0.0]])
    watched = Watched(stack, [0])
    schedule = Schedule(
        max_steps=1000, check_every=1, patience=1000, min_gain=0.0, watch="score", plateau=plateau
    )
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    oracle = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=0.5, patience=plateau, threshold=0.0, eps=0.0
    )
    for step, good in enumerate(goodness):
        watched.look(torch.tensor([good]), step, schedule)
        oracle.step(good)
        assert stack.descent.rates == pytest.approx([optimizer.param_groups[0]["lr"]], rel=1e-12)
    assert stack.descent.rates[0] < 0.1


@pytest.mark.parametrize(
    ("shape", "layer"), [((40, 8), 0), ((40, 8), "sum"), ((40, 5, 8), 5), ((40, 5, 8), None)]
)
def test_layers_that_features_lack_are_refused(shape, layer):
    task, _, y = layered(n=40)
    x = torch.zeros(shape, dtype=torch.float64)
    with pytest.raises(ValueError, match="in each configuration, got"):
        train_heads([Configuration("mlp", 0.0, layer=layer)], task, (x, y), (x, y))
