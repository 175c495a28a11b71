"""Fine-tuning: targets by row, only drawn tracks of train, from the weights of an earlier run."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from shards.errors import InputError
from shards.index import Index
from shards.labels import Labels, label_schema, write_labels
from shards.share import drawn
from train.checkpoint import load_encoder
from train.config import Run
from train.loop import pretrain
from train.methods.finetune import FineTune, clip_loss
from train.methods.method import Archive

from .conftest import ARCHIVE, SMALL, pairs

SPLITS = ["train"] * 6 + ["valid"] * 2 + ["test"] * 4
SETTINGS = {**SMALL, "clip_s": 1.0}


@pytest.fixture(scope="module")
def labelled(corpus, tmp_path_factory):
    """The synthetic corpus with classes, numbers and tags; splits by row."""
    from ingest import build_shards

    out = tmp_path_factory.mktemp("labelled") / "shards"
    build_shards(corpus, out, num_workers=1)
    index = Index.open(out)
    keys = index.arrow("key").to_pylist()
    targets = {
        "half": ("class", ["low" if row < 3 else "high" for row in range(len(keys))]),
        "height": ("number", [float(row) for row in range(len(keys))]),
        "marks": ("tags", [["odd"] * (row % 2) + ["late"] * (row > 3) for row in range(len(keys))]),
    }
    for name, (kind, cells) in targets.items():
        columns = [keys, cells, keys, SPLITS[: len(keys)]]
        classes = {"class": ["high", "low"], "tags": ["late", "odd"], "number": []}[kind]
        table = pa.table(columns, schema=label_schema(kind))
        write_labels(out, name, table, {"kind": kind, "classes": classes})
    return out


def run(labelled, out, method, settings, **more):
    run = Run(
        method=method,
        index=(str(labelled),),
        out=out,
        steps=3,
        batch_size=4,
        warmup_steps=1,
        backend="inline",
        num_workers=0,
        device="cpu",
        trace=True,
        **more,
    )
    view = {"clip_s": 1.0} | ({"min_gap_s": 2.0} if method == "byol" else {})
    assert pretrain(run, method=settings, encoder=SETTINGS, view=view) == 0
    return out


@pytest.fixture(scope="module")
def pretrained(labelled, tmp_path_factory):
    settings = {"projector": (32, 16), "predictor_hidden": 8}
    return run(labelled, tmp_path_factory.mktemp("run") / "byol", "byol", settings)


def rows_of(out):
    lines = (out / "trace-0.jsonl").read_text().splitlines()
    return {row for line in lines for row in json.loads(line)["row"]}


def test_it_begins_with_the_weights_of_the_run_that_is_named(labelled, pretrained, tmp_path):
    settings = {"labels": "half", "learns": "head"}
    out = run(labelled, tmp_path / "tuned", "finetune", settings, init=pretrained)
    before = load_file(pretrained / "encoder" / "model.safetensors")
    after = load_file(out / "encoder" / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(before[name].equal(after[name]) for name in before)  # frozen, statistics too
    facts = json.loads((out / "run.json").read_text())
    assert facts["encoder"] == dict(load_encoder(pretrained).config)


def test_it_moves_the_encoder_unless_only_the_head_learns(labelled, pretrained, tmp_path):
    out = run(labelled, tmp_path / "tuned", "finetune", {"labels": "half"}, init=pretrained)
    before = load_file(pretrained / "encoder" / "model.safetensors")
    after = load_file(out / "encoder" / "model.safetensors")
    assert not all(before[name].equal(after[name]) for name in before)


@pytest.mark.parametrize(("share", "count"), [(1.0, 6), (0.5, 3), (0.2, 1)])
def test_it_sees_so_many_tracks_of_train_and_no_other(labelled, tmp_path, share, count):
    out = run(labelled, tmp_path / "tuned", "finetune", {"labels": "half", "share": share})
    train = Labels.open(Index.open(labelled), "half").rows("train")
    assert rows_of(out) == set(train[drawn(6, share, seed=0)].tolist())
    assert len(rows_of(out)) == count


@pytest.mark.parametrize("name", ["half", "height", "marks"])
def test_the_loss_is_that_of_each_tracks_own_target(labelled, small_encoder, name):
    index = Index.open(labelled)
    labels = Labels.open(index, name)
    torch.manual_seed(0)
    method = FineTune(small_encoder, labels=name).eval()
    method.setup(Archive(len(index), index.sample_rate, lambda one: Labels.open(index, one)))
    rows = torch.tensor([5, 0, 3, 3])
    batch = pairs(4)
    terms, gathered = method(type(batch)(**{**vars(batch), "row": rows}))
    own = dict(zip(labels.rows("train").tolist(), labels.targets("train"), strict=True))
    losses = []
    for outputs, row in zip(gathered["outputs"], rows.tolist(), strict=True):
        for output in outputs:
            losses.append(naive(labels.kind, output, own[row], list(own.values())))
    torch.testing.assert_close(terms["finetune"], torch.stack(losses).mean())


def naive(kind, output, target, train):
    if kind == "class":
        return F.cross_entropy(output[None], torch.tensor([target]))
    if kind == "tags":
        chance = torch.sigmoid(output)
        wanted = torch.tensor(target)
        return -(wanted * chance.log() + (1 - wanted) * (1 - chance).log()).mean()
    return (output[0] - (target - np.mean(train)) / np.std(train)).square().float()


def test_the_head_is_kept_beside_the_encoder(labelled, tmp_path):
    out = run(labelled, tmp_path / "tuned", "finetune", {"labels": "marks", "hidden": 8})
    facts = json.loads((out / "head" / "head.json").read_text())
    weights = load_file(out / "head" / "model.safetensors")
    assert (facts["kind"], facts["outputs"], facts["hidden"]) == ("tags", 2, 8)
    assert weights["1.weight"].shape == (8, 32)
    assert facts["label_sha256"] == Labels.open(Index.open(labelled), "marks").info["sha256"]


def test_what_cannot_be_learnt_is_said(small_encoder):
    with pytest.raises(InputError, match="--method"):
        FineTune(small_encoder)
    with pytest.raises(InputError, match="share"):
        FineTune(small_encoder, labels="half", share=0.0)
    with pytest.raises(InputError, match="No pool"):
        FineTune(small_encoder, labels="half", pool="none such")


def test_a_separable_class_is_learnt_to_near_zero(small_encoder):
    torch.manual_seed(0)
    method = FineTune(small_encoder, labels="pitch")
    method.setup(ARCHIVE)
    optimizer = torch.optim.Adam(method.parameters(), 3e-3)
    for step in range(30):
        terms, _ = method(pairs(8, seed=step))
        terms["finetune"].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert float(terms["finetune"].detach()) < 0.1


def test_the_loss_of_tags_is_a_mean_over_tags():
    outputs, targets = torch.zeros(1, 1, 4), torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    assert clip_loss("tags", outputs, targets).item() == pytest.approx(np.log(2))
