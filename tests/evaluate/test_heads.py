import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from evaluate.descent import Adam, largest_curvature
from evaluate.heads import Configuration, Schedule, train_heads
from evaluate.tasks import TASKS

TO_THE_END = Schedule(max_steps=1500, early_stopping=False)


def problem(kind: str, *, n: int = 80, dim: int = 6, seed: int = 0):
    """A task, and standardised features and encoded targets in float64."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, dim))
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    signal = x @ rng.normal(size=(dim, 3)) + rng.normal(size=(n, 3))
    targets = {
        "class": signal.argmax(axis=1),
        "tags": (signal > 0).astype(np.float32),
        "number": 120 + 30 * signal[:, 0],
    }[kind]
    task = TASKS[kind](targets, 0 if kind == "number" else 3)
    return task, torch.from_numpy(x), targets, task.encode(targets, torch.float64)


RATES = pytest.mark.parametrize("rate", [None, 0.02], ids=["accelerated", "adam"])


@RATES
def test_linear_classes_reach_scikit_learns_logistic_regression(rate):
    task, x, targets, encoded = problem("class")
    decays = [0.01, 0.1, 1.0]
    grid = [Configuration("linear", decay, learning_rate=rate) for decay in decays]
    heads = train_heads(grid, task, (x, encoded), (x, encoded), schedule=TO_THE_END)
    for head, decay in zip(heads, decays, strict=True):
        oracle = LogisticRegression(C=1 / (decay * len(x)), tol=1e-10, max_iter=5000)
        oracle.fit(x.numpy(), targets)
        found = head(x).softmax(dim=1).numpy()
        np.testing.assert_allclose(found, oracle.predict_proba(x.numpy()), atol=2e-4)


@RATES
def test_linear_numbers_reach_scikit_learns_ridge(rate):
    task, x, targets, encoded = problem("number")
    decay = 0.3
    grid = [Configuration("linear", decay, learning_rate=rate)]
    (head,) = train_heads(grid, task, (x, encoded), (x, encoded), schedule=TO_THE_END)
    # Mean squared error against half of the penalty: λ n / 2 in Ridge's sum.
    oracle = Ridge(alpha=decay * len(x) / 2).fit(x.numpy(), targets)
    found = task.decode(head(x).numpy())
    np.testing.assert_allclose(found, oracle.predict(x.numpy()), atol=0.02)


@RATES
def test_linear_tags_reach_one_logistic_regression_a_tag(rate):
    task, x, targets, encoded = problem("tags")
    grid = [Configuration("linear", 0.05 / 3, learning_rate=rate)]  # the loss is a mean over 3
    (head,) = train_heads(grid, task, (x, encoded), (x, encoded), schedule=TO_THE_END)
    found = head(x).sigmoid().numpy()
    for k in range(3):
        oracle = LogisticRegression(C=1 / (0.05 * len(x)), tol=1e-10, max_iter=5000)
        oracle.fit(x.numpy(), targets[:, k])
        np.testing.assert_allclose(found[:, k], oracle.predict_proba(x.numpy())[:, 1], atol=2e-4)


@pytest.mark.parametrize("kind", ["class", "tags", "number"])
@pytest.mark.parametrize("head", ["linear", "linear by Adam", "mlp"])
def test_configurations_trained_together_equal_each_trained_alone(kind, head):
    task, x, _, encoded = problem(kind)
    valid = (x[:20], encoded[:20])
    settings = [(1e-4, 0.0, 1e-2), (1e-1, 0.5, 1e-3), (1.0, 0.75, 1e-2)]
    grid = {
        "linear": [Configuration("linear", decay, 0.0, None) for decay, _, _ in settings],
        "linear by Adam": [
            Configuration("linear", decay, 0.0, rate) for decay, _, rate in settings
        ],
        "mlp": [Configuration("mlp", *setting) for setting in settings],
    }[head]
    schedule = Schedule(max_steps=200, batch_size=32, early_stopping=False)
    together = train_heads(grid, task, (x, encoded), valid, schedule=schedule, seed=3)
    for configuration, one in zip(grid, together, strict=True):
        (alone,) = train_heads(
            [configuration], task, (x, encoded), valid, schedule=schedule, seed=3
        )
        for a, b in zip(one.weights, alone.weights, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


def test_each_configuration_stops_by_itself_and_keeps_its_best_weights():
    task, x, _, encoded = problem("class", n=60, dim=30)
    train, valid = (x[:30], encoded[:30]), (x[30:], encoded[30:])
    grid = [Configuration("linear", 0.01, learning_rate=rate) for rate in (0.05, 0.003)]
    schedule = Schedule(max_steps=2000, check_every=2, patience=5)
    together = train_heads(grid, task, train, valid, schedule=schedule)
    for head in together:
        (alone,) = train_heads([head.configuration], task, train, valid, schedule=schedule)
        assert head.steps == alone.steps
        assert float(task.loss(head(valid[0])[None], valid[1])[0]) == pytest.approx(head.valid_loss)
    assert together[0].steps != together[1].steps
    assert max(head.steps for head in together) < 2000


def test_a_head_that_learns_nothing_useful_stays_where_it_began():
    rng = np.random.default_rng(0)
    targets = rng.normal(size=60)
    task = TASKS["number"](targets[:30], 0)
    x = torch.from_numpy(rng.normal(size=(60, 200)))
    encoded = task.encode(targets, torch.float64)
    grid = [Configuration("linear", 1e-4)]
    (head,) = train_heads(grid, task, (x[:30], encoded[:30]), (x[30:], -encoded[30:]))
    assert head.valid_loss <= float(encoded[30:].square().mean()) + 1e-12


def test_heads_are_the_same_every_time_and_differ_by_seed():
    task, x, _, encoded = problem("class")
    grid = [Configuration("mlp", 1e-3, 0.5)]

    def weights(seed: int) -> torch.Tensor:
        schedule = Schedule(max_steps=20, batch_size=16)
        (head,) = train_heads(grid, task, (x, encoded), (x, encoded), schedule=schedule, seed=seed)
        return head.weights[0]

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_heads_come_back_in_the_order_they_were_asked_for_whatever_their_kind():
    task, x, _, encoded = problem("class")
    grid = [
        Configuration("mlp", 1e-3, 0.5),
        Configuration("linear", 1.0, learning_rate=None),
        Configuration("linear", 1.0),
        Configuration("mlp", 1e-3, 0.25, batch_size=16),
        Configuration("linear", 0.1, learning_rate=None),
    ]
    schedule = Schedule(max_steps=16, batch_size=32)
    heads = train_heads(grid, task, (x, encoded), (x, encoded), schedule=schedule)
    assert [head.configuration for head in heads] == grid
    for head in heads:
        (alone,) = train_heads(
            [head.configuration], task, (x, encoded), (x, encoded), schedule=schedule
        )
        torch.testing.assert_close(alone.weights, head.weights, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [
        Configuration("mlp", 1.0, learning_rate=None),
        Configuration("linear", 1.0, learning_rate=None, bias="penalised"),
        Configuration("tree", 1.0),
    ],
)
def test_what_no_program_trains_is_refused(wrong):
    task, x, _, encoded = problem("class")
    with pytest.raises(ValueError, match="A head is 'linear' or 'mlp'"):
        train_heads([wrong], task, (x, encoded), (x, encoded))


def test_a_head_without_bias_has_none():
    task, x, _, encoded = problem("class")
    for rate in (None, 1e-2):
        grid = [Configuration("linear", 0.1, learning_rate=rate, bias="none", start="random")]
        (head,) = train_heads(grid, task, (x, encoded), (x, encoded))
        assert head.steps > 0
        assert not head.weights[1].any()


def test_a_head_says_whether_the_last_step_or_itself_ended_its_training():
    task, x, _, encoded = problem("class", n=60, dim=30)
    grid = [Configuration("linear", 0.01, learning_rate=rate) for rate in (0.5, 1e-4)]
    schedule = Schedule(max_steps=200, check_every=8, patience=5, min_gain=0.0)
    train, valid = (x[:30], encoded[:30]), (x[30:], encoded[30:])
    soon, late = train_heads(grid, task, train, valid, schedule=schedule)
    assert (soon.cut_short, soon.trained_steps < 200) == (False, True)
    assert (late.cut_short, late.trained_steps) == (True, 200)


def test_adam_equals_torchs():
    rng = torch.Generator().manual_seed(0)
    start = torch.randn(3, 4, 2, generator=rng, dtype=torch.float64)
    ours = [start.clone()]
    rates = torch.tensor([0.1, 0.01, 0.001], dtype=torch.float64)
    decays = [0.0, 0.1, 0.01]
    descent = Adam(ours, rates.tolist(), [decays])
    theirs = [start[c].clone().requires_grad_() for c in range(3)]
    optimizers = [
        torch.optim.Adam([w], lr=float(r), weight_decay=d)
        for w, r, d in zip(theirs, rates, decays, strict=True)
    ]
    for _ in range(30):
        gradient = torch.randn(3, 4, 2, generator=rng, dtype=torch.float64)
        descent.update(ours, [gradient])
        for w, g, optimizer in zip(theirs, gradient, optimizers, strict=True):
            w.grad = g.clone()
            optimizer.step()
    torch.testing.assert_close(ours[0], torch.stack(theirs).detach(), rtol=0, atol=1e-12)


def test_largest_curvature_equals_the_spectral_norm():
    rng = torch.Generator().manual_seed(0)
    for shape in ((30, 7), (7, 30)):
        x = torch.randn(shape, generator=rng)
        beside = torch.cat([x, torch.ones(len(x), 1)], dim=1)
        expected = torch.linalg.matrix_norm(beside, 2) ** 2 / len(x)
        assert largest_curvature(x) == pytest.approx(float(expected), rel=1e-5)
