from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluate import program
from evaluate.heads import Configuration, train_heads
from evaluate.inputs import Scaling
from evaluate.jukemir import GRID, SCHEDULE
from evaluate.luck import Luck, threshold
from evaluate.metrics import METRICS
from evaluate.stack import Stack
from evaluate.tasks import TASKS
from tests.evaluate.plain import trained_alone

DIM = 12


def planted(kind: str, *, n: int = 160, seed: int = 0, dtype=torch.float64):
    """A task, unscaled features that hold it, encoded targets; train, then valid."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, DIM))
    signal = x @ rng.normal(size=(DIM, 3)) + rng.normal(size=(n, 3))
    targets = {
        "class": signal.argmax(axis=1),
        "tags": (signal > 0.5).astype(np.float32),
        "number": signal[:, 0],
    }[kind]
    task = TASKS[kind](targets[: n // 2], 0 if kind == "number" else 3)
    features = torch.from_numpy(3 * x + 1).to(dtype)
    encoded = task.encode(targets, dtype)
    return task, (features[: n // 2], encoded[: n // 2]), (features[n // 2 :], encoded[n // 2 :])


def relative(found, wanted):
    return float((found - wanted).abs().max() / wanted.abs().max())


SAMPLE = [
    replace(GRID[i], batch_size=32, hidden_dim=24) for i in (26, 53, 71, 88, 107, 134, 161, 215)
]


@pytest.mark.parametrize("kind", ["class", "tags", "number"])
def test_the_grid_equals_plain_torch_after_200_steps(kind):
    task, train, valid = planted(kind)
    some = SAMPLE if kind == "tags" else SAMPLE[::4]
    last = replace(SCHEDULE, max_steps=200, early_stopping=False)
    heads = train_heads(some, task, train, valid, schedule=last, seed=5)
    for head in heads:
        net, _ = trained_alone(head.configuration, task, train, steps=200, batch_size=32, seed=5)
        for found, wanted in zip(head.weights, net.parameters(), strict=True):
            assert relative(found.view_as(wanted), wanted.detach()) < 1e-9
        x = valid[0]
        if head.configuration.standardise:
            x = (x - train[0].mean(dim=0)) / train[0].std(dim=0, unbiased=False)
        assert relative(head(valid[0]), net.eval()(x).detach()) < 1e-9


def test_jukemirs_grid_has_216_different_configurations():
    assert len(GRID) == len(set(GRID)) == 216
    assert sum(c.head == "mlp" and c.dropout == c.input_dropout for c in GRID) == 108
    assert (SCHEDULE.check_every, SCHEDULE.patience, SCHEDULE.watch) == (8, 256, "score")


def test_the_grid_chooses_what_one_by_one_training_chooses_in_float32():
    task, train, valid = planted("class", n=240, dtype=torch.float32)
    grid = [c for c in GRID if c.batch_size == 64 and c.weight_decay == 1e-4][::5]
    schedule = replace(SCHEDULE, max_steps=160, patience=8)
    together = train_heads(grid, task, train, valid, schedule=schedule)
    alone = [train_heads([c], task, train, valid, schedule=schedule)[0] for c in grid]
    scores = np.array([[h.valid_score for h in heads] for heads in (together, alone)])
    seeds = [train_heads(grid, task, train, valid, schedule=schedule, seed=seed) for seed in (1,)]
    spread = np.std([[h.valid_score for h in heads] for heads in (together, *seeds)], axis=0)
    assert np.abs(scores[0] - scores[1]).max() <= max(spread.max(), 1 / len(valid[1]))
    best = scores[0].argmax()
    assert scores[1][best] >= scores[1].max() - 1 / len(valid[1])


def test_neither_stacks_nor_threads_change_what_comes_out(monkeypatch):
    task, train, valid = planted("tags")
    schedule = replace(SCHEDULE, max_steps=40, patience=3)
    expected = train_heads(SAMPLE, task, train, valid, schedule=schedule)
    monkeypatch.setattr(program, "CACHED_BYTES", 1)  # a stack each
    monkeypatch.setattr(program, "PREPARED_BYTES", 1)  # a step at a time
    torch.set_num_threads(2)
    found = train_heads(SAMPLE, task, train, valid, schedule=schedule)
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a.weights, b.weights, rtol=0, atol=1e-9)
        assert (a.steps, a.trained_steps) == (b.steps, b.trained_steps)


RATES = (0.1, 0.003, 0.03, 0.01)


@pytest.mark.parametrize("kind", ["class", "tags", "number"])
def test_a_watched_score_stops_each_by_itself_at_its_best(kind):
    task, train, valid = planted(kind)
    schedule = replace(SCHEDULE, max_steps=160, patience=3)
    grid = [replace(c, learning_rate=rate) for c, rate in zip(SAMPLE[1::2], RATES, strict=True)]
    heads = train_heads(grid, task, train, valid, schedule=schedule)
    assert len({head.trained_steps for head in heads}) > 1
    score = METRICS[task.metrics[0]].score
    for head in heads:
        found = head(valid[0]).numpy()
        wanted = found[:, 0] if kind == "number" else found
        assert head.valid_score == pytest.approx(score(wanted, valid[1].numpy()), abs=1e-12)
        assert head.cut_short or head.trained_steps >= head.steps + 8 * schedule.patience
        for steps in {max(0, head.steps - 8), head.steps}:
            last = replace(schedule, max_steps=steps, early_stopping=False)
            (there,) = train_heads([head.configuration], task, train, valid, schedule=last)
            assert there.valid_score <= head.valid_score + 1e-12
        assert there.valid_score == pytest.approx(head.valid_score, abs=1e-12)


def test_who_has_stopped_costs_nothing_more(monkeypatch):
    task, train, valid = planted("class")
    stepped = []
    descend = Stack.descend

    def counted(self, step, task):
        stepped.append(len(self.configurations))
        descend(self, step, task)

    monkeypatch.setattr(Stack, "descend", counted)
    grid = [replace(SAMPLE[0], learning_rate=rate) for rate in RATES]
    schedule = replace(SCHEDULE, max_steps=240, patience=2)
    heads = train_heads(grid, task, train, valid, schedule=schedule)
    assert sum(stepped) == sum(head.trained_steps for head in heads) < 4 * 240
    assert max(stepped) == 4
    assert len({head.trained_steps for head in heads}) > 1


def test_scaling_equals_scikit_learns_and_only_centres_a_constant_feature():
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    features = (100 + rng.normal(size=(5000, 3))).astype(np.float32)
    features[:, 1] = 0.1
    scaling = Scaling.fit(torch.from_numpy(features))
    oracle = StandardScaler().fit(features.astype(np.float64))
    np.testing.assert_allclose(scaling.mean, oracle.mean_, rtol=1e-6)
    np.testing.assert_allclose(scaling.std, oracle.scale_, rtol=1e-6)
    layered = Scaling.fit(torch.from_numpy(features.reshape(-1, 2, 3)))
    assert layered.mean.shape == (2, 3)


def test_dropout_drops_its_share_and_batches_repeat_nobody():
    luck = Luck(3)
    for rate in (0.0, 0.2, 0.25, 0.75):
        kept = luck.noise("input noise", 7, (400, 500)) >= threshold(rate)
        assert float(kept.double().mean()) == pytest.approx(1 - rate, abs=0.005)
    rows = luck.batch(4, 1000, 256)
    assert len(rows.unique()) == 256
    assert torch.equal(rows, Luck(3).batch(4, 1000, 256))
    assert not torch.equal(rows, luck.batch(5, 1000, 256))
    assert luck.batch(4, 256, 256) is None
    with pytest.raises(ValueError, match="below 1"):
        threshold(1.0)


def test_features_that_diverge_end_training_instead_of_winning():
    task, train, valid = planted("class", dtype=torch.float32)
    grid = [Configuration("linear", 0.0, learning_rate=rate) for rate in (1e38, 1e-3)]
    schedule = replace(SCHEDULE, max_steps=200, patience=4)
    broken, fine = train_heads(grid, task, train, valid, schedule=schedule)
    assert broken.trained_steps < 200
    assert np.isfinite(broken.valid_score)
    assert fine.valid_score > broken.valid_score


@pytest.mark.gpu
def test_the_grid_is_the_same_on_a_gpu():
    task, train, valid = planted("tags")
    schedule = replace(SCHEDULE, max_steps=64, patience=4)
    here = train_heads(SAMPLE, task, train, valid, schedule=schedule)
    there = train_heads(
        SAMPLE,
        task,
        (train[0].cuda(), train[1].cuda()),
        (valid[0].cuda(), valid[1].cuda()),
        schedule=schedule,
    )
    for a, b in zip(here, there, strict=True):
        for w, v in zip(a.weights, b.weights, strict=True):
            torch.testing.assert_close(w, v.cpu(), rtol=1e-8, atol=1e-9)
        assert a.steps == b.steps
