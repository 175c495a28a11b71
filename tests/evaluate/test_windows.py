from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluate.heads import Configuration, Schedule, train_heads
from evaluate.metrics import METRICS
from evaluate.tasks import TASKS
from evaluate.windows import AGGREGATES, Owners, track_outputs

OWNER = torch.tensor([2, 0, 0, 1, 2, 2, 0])


def loop(outputs, how):
    """What each aggregate says, a track at a time."""
    of = {
        "mean": lambda mine: mine.mean(dim=0),
        "mean probability": lambda mine: mine.softmax(dim=1).mean(dim=0),
        "max": lambda mine: mine.amax(dim=0),
        "vote": lambda mine: torch.eye(4)[mine.argmax(dim=1)].mean(dim=0),
    }
    return torch.stack([of[how](outputs[track == OWNER]) for track in range(3)])


@pytest.mark.parametrize("how", AGGREGATES)
def test_windows_become_tracks_as_a_loop_over_tracks_has_it(how):
    outputs = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    task = TASKS["class"](np.arange(4), 4)
    found = track_outputs(outputs, OWNER, how=how, task=task)
    torch.testing.assert_close(found, loop(outputs, how))


def test_tags_vote_each_for_itself_and_numbers_not_at_all():
    outputs = torch.tensor([[2.0, -1.0], [1.0, 1.0], [-3.0, 4.0]])
    owner = torch.tensor([0, 0, 1])
    tags = TASKS["tags"](np.eye(2, dtype=np.float32), 2)
    found = track_outputs(outputs, owner, how="vote", task=tags)
    assert found.tolist() == [[1.0, 0.5], [0.0, 1.0]]
    sure = track_outputs(outputs, owner, how="mean probability", task=tags)
    torch.testing.assert_close(sure[1], outputs[2].sigmoid())
    number = TASKS["number"](np.arange(3.0), 0)
    for how in ("vote", "mean probability"):
        with pytest.raises(ValueError, match="take 'mean'"):
            track_outputs(outputs[:, :1], owner, how=how, task=number)


def test_a_track_without_a_window_is_refused():
    with pytest.raises(ValueError, match=r"2 tracks without a window"):
        Owners(torch.tensor([0, 3]), 4)


@pytest.mark.parametrize("how", AGGREGATES)
def test_heads_trained_on_windows_are_chosen_by_the_score_of_tracks(how):
    rng = np.random.default_rng(0)
    classes = rng.integers(3, size=60)
    owner = torch.from_numpy(np.sort(np.r_[np.arange(30), rng.integers(30, size=90)]))
    windows = torch.from_numpy(rng.normal(size=(120, 8)) + np.eye(8)[classes[:30]][owner])
    task = TASKS["class"](classes[:30], 3)
    encoded = task.encode(classes[:30], torch.float64)
    schedule = Schedule(max_steps=48, watch="score", min_gain=0.0, aggregate=how, batch_size=32)
    grid = [Configuration("linear", 0.0), Configuration("mlp", 0.0, 0.25)]
    train, valid = (windows, encoded[owner]), (windows, encoded)
    for head in train_heads(grid, task, train, valid, schedule=schedule, valid_owner=owner):
        tracks = track_outputs(head(windows), owner, how=how, task=task)
        score = METRICS["accuracy"].score(tracks.numpy(), classes[:30])
        assert head.valid_score == pytest.approx(score)
        wanted = float(task.loss(head(windows)[None], encoded[owner])[0])
        assert head.valid_loss == pytest.approx(wanted)


def test_windows_of_one_each_equal_tracks():
    rng = np.random.default_rng(0)
    x, classes = torch.from_numpy(rng.normal(size=(40, 5))), rng.integers(3, size=40)
    task = TASKS["class"](classes, 3)
    y = task.encode(classes, torch.float64)
    schedule = replace(Schedule(max_steps=40), watch="score", min_gain=0.0)
    grid = [Configuration("linear", 0.01)]
    (a,) = train_heads(grid, task, (x, y), (x, y), schedule=schedule)
    owner = torch.arange(40)
    (b,) = train_heads(grid, task, (x, y), (x, y), schedule=schedule, valid_owner=owner)
    assert torch.equal(a.weights[0], b.weights[0])
    assert a.valid_score == b.valid_score
