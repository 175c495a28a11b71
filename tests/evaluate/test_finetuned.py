"""A fine-tuned run is judged by the head it has learnt, on the labels it has learnt."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from evaluate import cli
from evaluate.protocols.finetuned import Finetuned, mean_of_windows
from evaluate.samples import Samples
from shards.errors import InputError
from train.config import Run
from train.loop import pretrain
from train.methods.finetune import head

SPLITS = [("train", "train", "valid", "test")[i // 4 % 4] for i in range(48)]


@pytest.fixture
def index(archive, targets, music):
    """Forty-eight tones of four heights."""
    index = archive([music(300 * (1 + i % 4), 1.2, seed=i) for i in range(48)])
    targets(index, "height", "class", [f"{i % 4}" for i in range(48)], splits=SPLITS)
    targets(index, "hz", "number", [300.0 * (1 + i % 4) for i in range(48)], splits=SPLITS)
    return index


def tuned(index, out, labels, **settings):
    run = Run(
        method="finetune",
        index=(str(index.path),),
        out=out,
        steps=60,
        batch_size=12,
        warmup_steps=5,
        lr=3e-3,
        backend="inline",
        num_workers=0,
        device="cpu",
    )
    encoder = {"clip_s": 1.0, "width": 8, "layers": (1, 1, 1, 1), "num_heads": 2, "dim": 16}
    settings = {"labels": labels, **settings}
    assert pretrain(run, method=settings, encoder=encoder, view={"clip_s": 1.0}) == 0
    return out


def test_it_is_judged_by_its_own_head_and_on_nothing_else(index, tmp_path, capsys):
    out = tuned(index, tmp_path / "run", "height")
    asked = [str(index.path), "--encoder", str(out), "--protocol", "finetuned"]
    assert cli.main(asked) == 0
    said = capsys.readouterr().out
    assert "not judged: hz (the run was fine-tuned on 'height'" in said
    (result,) = json.loads((out / "evaluation/results.json").read_text())["labels"]
    trained = result["scores"][0]
    assert trained["scores"]["accuracy"] >= 0.9
    assert trained["chosen"]["title"] == "its own head, trained on 24 tracks"
    selection = json.loads((out / "evaluation/selections/height--trained.json").read_text())
    assert selection["label_sha256"] == result["label_sha256"]
    baselines = result["scores"][1:]
    assert baselines
    assert all("its own head" not in one["chosen"]["title"] for one in baselines)


def test_numbers_come_back_in_their_unit(index, tmp_path):
    out = tuned(index, tmp_path / "run", "hz", share=0.5)
    assert cli.main([str(index.path), "--encoder", str(out), "--protocol", "finetuned"]) == 0
    (result,) = json.loads((out / "evaluation/results.json").read_text())["labels"]
    trained = result["scores"][0]
    assert trained["scores"]["mae"] < 200
    assert trained["chosen"]["tracks"] == 12


def test_the_output_of_a_track_is_the_mean_of_the_heads_on_its_windows(tmp_path):
    samples = Samples({}, np.array([0, 0, 0, 1]), np.array([4, 9]), None)
    values = np.random.default_rng(0).normal(size=(4, 3))
    wanted = np.stack([values[:3].mean(axis=0), values[3]])
    np.testing.assert_allclose(mean_of_windows(values, samples), wanted)


def test_a_hidden_layer_is_loaded_as_it_was_saved(index, tmp_path):
    out = tuned(index, tmp_path / "run", "height", hidden=8, dropout=0.3)
    kept = Finetuned(run=out)
    vectors = torch.randn(5, 16)
    made = head(16, 4, hidden=8).eval()
    made.load_state_dict(load_file(out / "head" / "model.safetensors"))
    with torch.no_grad():
        torch.testing.assert_close(kept._head(16)(vectors), made(vectors))


def test_a_run_without_a_head_is_told_so(tmp_path):
    with pytest.raises(InputError, match="holds no head"):
        Finetuned(run=tmp_path)
