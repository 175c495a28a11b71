"""The contract of every method."""

import inspect

import pytest
import torch
from torch import nn

from train.methods import METHODS, method_class
from train.optimizer import adamw

from .conftest import ARCHIVE, NARROW, pairs

TEMPLATE = {**NARROW, "byol": {"projector": (32, 16), "predictor_hidden": 8, "momentum": 0.9}}


@pytest.fixture(params=sorted(METHODS))
def method(request, small_encoder):
    torch.manual_seed(0)
    made = method_class(request.param)(small_encoder, **TEMPLATE[request.param])
    made.setup(ARCHIVE)
    return made


def train(method, batch, steps, lr=1e-3):
    optimizer = adamw(method, lr=lr, weight_decay=0)
    losses = []
    for step in range(steps):
        terms, gathered = method(batch)
        loss = torch.stack(list(terms.values())).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(gathered, step / steps)
        losses.append(float(loss.detach()))
    return losses


def test_twenty_steps_lower_the_loss_and_embeddings_stay_apart(method, batch):
    losses = train(method, batch, 20)
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    with torch.no_grad():
        features = method.encoder.frontend(batch.clips[:, 0])
        embedding = method.encoder(features, batch.frames[:, 0])
    assert embedding.std(0).mean() > 0.01


def test_what_is_not_trained_shares_no_storage_and_takes_no_gradient(method, batch):
    trained = {p.data_ptr() for p in method.parameters() if p.requires_grad}
    frozen = {p.data_ptr() for p in method.parameters() if not p.requires_grad}
    assert not trained & frozen
    terms, _ = method(batch)
    torch.stack(list(terms.values())).sum().backward()
    for parameter in method.parameters():
        assert (parameter.grad is not None) == parameter.requires_grad


def test_every_process_needs_rows_positions_and_validity(method, batch):
    _, gathered = method(batch)
    assert {"row", "position", "valid"} <= gathered.keys()
    assert all(len(x) == len(batch) for x in gathered.values())
    assert not any(x.requires_grad for x in gathered.values())


def test_rows_that_are_not_valid_never_count(method, batch):
    """With statistics of a batch taken out of play, an invalid clip changes no loss."""
    from dataclasses import replace

    method.eval()
    valid = torch.tensor([True] * 7 + [False])
    a = replace(batch, valid=valid)
    clips = batch.clips.clone()
    clips[7] = torch.randn(2, 16_000)
    b = replace(a, clips=clips)
    with torch.no_grad():
        torch.testing.assert_close(method(a)[0], method(b)[0])


def test_hyperparameters_are_keyword_only_typed_and_documented(method):
    signature = inspect.signature(type(method).__init__)
    for name, parameter in signature.parameters.items():
        if name in ("self", "encoder"):
            continue
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert parameter.default is not parameter.empty
        assert parameter.annotation is not parameter.empty
        assert f"{name}:" in type(method).__doc__


def test_a_method_names_its_paper(method):
    assert any(year in type(method).__doc__ for year in ("20", "19"))
    assert method.view in __import__("shards").VIEWS


def test_saved_and_loaded_it_goes_on_alike(method, batch, small_encoder):
    import copy

    train(method, batch, 3)
    other = copy.deepcopy(method)
    for parameter in other.parameters():
        parameter.data.normal_()
    other.load_state_dict(method.state_dict())
    a, b = train(method, batch, 3), train(other, batch, 3)
    assert a == b


def test_loss_is_float32_under_autocast(method, batch):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms, gathered = method(batch)
    assert all(term.dtype == torch.float32 for term in terms.values())
    assert all(x.dtype != torch.bfloat16 for x in gathered.values())


def test_the_teacher_is_an_average_of_students(small_encoder, batch):
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    from train.ema import ema_, frozen_copy

    student = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    teacher = frozen_copy(student)
    theirs = AveragedModel(student, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    theirs.update_parameters(student)  # the first call copies
    for _ in range(4):
        with torch.no_grad():
            for x in student.parameters():
                x += torch.randn_like(x)
            student[1].running_mean += torch.randn(4)
        ema_(teacher, student, 0.9)
        theirs.update_parameters(student)
    for name, value in theirs.module.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(teacher.state_dict()[name], value)


def test_byols_teacher_moves_by_its_schedule(small_encoder):
    from train.methods.byol import BYOL

    method = BYOL(small_encoder, projector=(8, 4), predictor_hidden=4, momentum=0.9)
    before = method.teacher_encoder.stem[0][0].weight.clone()
    with torch.no_grad():
        method.encoder.stem[0][0].weight += 1
    method.after_step({}, 0.0)
    torch.testing.assert_close(method.teacher_encoder.stem[0][0].weight, before + 0.1)
    method.after_step({}, 1.0)  # at the end it stands still
    torch.testing.assert_close(method.teacher_encoder.stem[0][0].weight, before + 0.1)


def test_more_pairs_make_contrast_harder(small_encoder):
    from train.methods.contrastive import Contrastive

    method = Contrastive(small_encoder, projector=(32, 16)).eval()
    with torch.no_grad():
        few, many = (float(method(pairs(n))[0]["nt_xent"]) for n in (4, 16))
    assert many > few
