"""Every protocol finds what was planted, and chance where nothing was."""

import atexit
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from evaluate.bootstrap import interval
from evaluate.embed import Extraction, embed
from evaluate.embeddings import Embeddings
from evaluate.heads import Configuration, Schedule
from evaluate.metrics import METRICS
from evaluate.probe import judge
from evaluate.protocols import PROTOCOLS, build_protocol
from evaluate.protocols.deezer import Deezer, root_mean_square
from evaluate.protocols.finetuned import Finetuned
from evaluate.protocols.hybrid import Hybrid, every_pool
from evaluate.protocols.jukemir import JukeMIR
from evaluate.protocols.layers import Layers
from evaluate.protocols.limited import DRAWS, SHARES, Limited, drawn
from evaluate.protocols.linear import LINEAR, Linear
from evaluate.protocols.myna_code import DISTINCT, MynaCode, scaled_by_itself
from evaluate.protocols.protocol import Protocol
from shards.errors import InputError
from shards.files import write_json
from shards.targets import KEYS
from tests.evaluate.planted import NUM_BANDS, planted_track
from tests.evaluate.planted import planted as planted_encoder

SHORT = Schedule(max_steps=160, check_every=20, patience=4, min_gain=0.0, watch="score")
SMALL = tuple(
    Configuration(head, 0.0, learning_rate=0.01, standardise=standardise, batch_size=64)
    for head in ("linear", "mlp")
    for standardise in (False, True)
)
PLAIN = tuple(c for c in SMALL if not c.standardise)
FEW = Schedule(max_steps=256, check_every=64, patience=25, min_gain=0.0)

N, K, D = 240, 3, 16


@cache
def tuned_run() -> Path:
    """A run whose head answers with the first four features, where `planted` puts the class."""
    folder = Path(tempfile.mkdtemp(prefix="tuned-"))
    atexit.register(shutil.rmtree, folder)
    (folder / "head").mkdir()
    facts = {"labels": "style", "label_sha256": "", "kind": "class", "pool": "", "tracks": 120}
    numbers = {"outputs": 4, "hidden": 0, "mean": 0.0, "std": 1.0}
    write_json(folder / "head" / "head.json", {**facts, **numbers})
    weights = {"1.weight": torch.eye(4, D), "1.bias": torch.zeros(4)}
    save_file(weights, folder / "head" / "model.safetensors")
    return folder


QUICK: dict[str, Callable[[], Protocol]] = {
    "linear": lambda: Linear(grid=LINEAR[2:4]),
    "jukemir": lambda: JukeMIR(grid=SMALL, schedule=SHORT),
    "layers": lambda: Layers(schedule=SHORT),
    "deezer": lambda: Deezer(schedule=FEW),
    "limited": lambda: Limited(inner=Deezer(schedule=replace(FEW, max_steps=64, check_every=32))),
    "hybrid": lambda: Hybrid(inner=JukeMIR(grid=SMALL, schedule=SHORT)),
    "finetuned": lambda: Finetuned(run=tuned_run()),
    "myna-code": lambda: MynaCode(grid=PLAIN, schedule=SHORT),
}
"""The protocols with fewer configurations and steps, so that a test takes a second."""


@pytest.fixture
def index(archive):
    return archive([np.zeros(16, np.int16)] * N)


def vectors(x: np.ndarray) -> Embeddings:
    return Embeddings("planted", np.arange(N), x.astype(np.float32), np.ones(N, np.int32))


def windows_of(x: np.ndarray) -> Embeddings:
    """Two windows a track, a little apart."""
    twice = np.repeat(x, 2, axis=0) + 0.1 * np.random.default_rng(1).normal(size=(2 * N, D))
    rows = np.repeat(np.arange(N), 2)
    return Embeddings(
        "planted", rows, twice.astype(np.float32), np.ones(2 * N, np.int32), np.tile([0, 1], N)
    )


def planted(rng: np.random.Generator, classes: np.ndarray) -> np.ndarray:
    x = rng.normal(size=(N, D))
    x[:, :4] += 5 * np.eye(4)[classes]
    return x


PROTOCOL_UNITS = {name: quick().unit for name, quick in QUICK.items()}


def features(name: str, x: np.ndarray, rng: np.random.Generator) -> dict[str, Embeddings]:
    """What a protocol asks for: the vectors `x` where it must find them, noise elsewhere."""
    noise = rng.normal(size=(N, D))
    if name == "layers":
        return {"layers": vectors(np.stack([noise, x, noise[::-1]], axis=1))}
    if name == "hybrid":
        return {"first": vectors(noise), "second": vectors(x)}
    return {"default": windows_of(x) if PROTOCOL_UNITS[name] == "window" else vectors(x)}


@pytest.fixture
def labelled(index, targets):
    def make(classes: np.ndarray):
        splits = [("train", "train", "valid", "test")[i % 4] for i in range(N)]
        return targets(index, "style", "class", [f"c{c}" for c in classes], splits=splits)

    return make


def test_there_is_a_quick_form_of_every_protocol_to_test():
    assert set(QUICK) == set(PROTOCOLS)
    for name in PROTOCOLS:
        settings = {"run": tuned_run()} if name == "finetuned" else {}
        protocol = build_protocol(name, **settings)
        assert protocol.name == name == QUICK[name]().name
        assert protocol.paper
        assert protocol.aggregation
        assert protocol.deviations or name == "linear"
        assert all(text.endswith(".") for text in protocol.deviations)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_planted_features_recover_the_planted_score(labelled, tmp_path, name):
    rng = np.random.default_rng(0)
    classes = rng.integers(4, size=N)
    found, protocol = features(name, planted(rng, classes), rng), QUICK[name]()
    verdict = judge(labelled(classes), found, encoder="trained", folder=tmp_path, protocol=protocol)
    assert METRICS["accuracy"].score(verdict.outputs, verdict.targets) > 0.9
    assert verdict.chosen["title"]
    assert verdict.counts == {"train": 120, "valid": 60, "test": 60}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_shuffled_labels_sit_at_chance(labelled, tmp_path, name):
    rng = np.random.default_rng(3)
    found = features(name, planted(rng, rng.integers(4, size=N)), rng)
    shuffled = np.tile(np.arange(4), N // 4)[rng.permutation(N)]
    labels, protocol = labelled(shuffled), QUICK[name]()
    verdict = judge(labels, found, encoder="trained", folder=tmp_path, protocol=protocol)

    def score(weights: np.ndarray) -> np.ndarray:
        return METRICS["accuracy"].weighted(verdict.outputs, verdict.targets, weights)

    sure = interval(score, verdict.groups)
    assert sure.low <= 0.25 <= sure.high


def test_the_layer_that_holds_the_label_is_found_and_all_layers_are_reported(labelled, tmp_path):
    rng = np.random.default_rng(0)
    classes = rng.integers(4, size=N)
    found = features("layers", planted(rng, classes), rng)
    verdict = judge(
        labelled(classes), found, encoder="e", folder=tmp_path, protocol=QUICK["layers"]()
    )
    by_title = {other.title: other for other in verdict.others}
    assert list(by_title) == ["weighted sum of layers", "layer 0", "layer 1", "layer 2"]
    assert by_title["layer 1"].scores["accuracy"] > 0.9
    assert by_title["layer 0"].scores["accuracy"] < 0.6
    shares = by_title["weighted sum of layers"].facts["layer_shares"]
    assert np.argmax(shares) == 1
    assert verdict.chosen["title"] in ("weighted sum of layers", "layer 1")


def test_without_the_first_layer_numbers_stay_the_encoders(labelled, tmp_path):
    rng = np.random.default_rng(0)
    classes = rng.integers(4, size=N)
    found = features("layers", planted(rng, classes), rng)
    protocol = Layers(drop_first_layer=True, schedule=SHORT)
    verdict = judge(labelled(classes), found, encoder="e", folder=tmp_path, protocol=protocol)
    titles = [other.title for other in verdict.others]
    assert titles == ["weighted sum of layers", "layer 1", "layer 2"]
    assert protocol.settings["drop_first_layer"] is True
    with pytest.raises(InputError, match="no setting drop_first_layer"):
        build_protocol("linear", drop_first_layer=True)


def test_the_pool_is_chosen_on_valid(labelled, tmp_path):
    rng = np.random.default_rng(0)
    classes = rng.integers(4, size=N)
    labels = labelled(classes)
    x, noise = planted(rng, classes), rng.normal(size=(N, D))
    on_test = labels.rows("test")
    tempting, honest = noise.copy(), x.copy()
    tempting[on_test], honest[on_test] = x[on_test], noise[on_test]
    tempting = {"tempting": vectors(tempting), "honest": vectors(honest)}
    verdict = judge(labels, tempting, encoder="e", folder=tmp_path, protocol=QUICK["hybrid"]())
    assert verdict.chosen["pool"] == "honest"  # though it is the worse on test
    assert {other.title for other in verdict.others} == {"tempting", "honest"}


def test_a_head_without_bias_answers_zero_with_zero(labelled, tmp_path):
    rng = np.random.default_rng(0)
    classes = rng.integers(4, size=N)
    labels, x = labelled(classes), planted(rng, classes)
    x[labels.rows("test")[0]] = 0
    verdict = judge(
        labels, {"default": vectors(x)}, encoder="e", folder=tmp_path, protocol=QUICK["deezer"]()
    )
    assert np.all(verdict.outputs[0] == 0)
    assert np.any(verdict.outputs[1] != 0)
    assert root_mean_square(np.array([[3.0, 4.0]])) == pytest.approx(np.sqrt(12.5))
    assert root_mean_square(np.zeros((2, 2))) == 1


def test_limited_data_is_drawn_as_the_paper_counts_and_written_down(labelled, tmp_path):
    assert [len(drawn(15_244, share, seed=0)) for share in SHARES] == [152, 762, 1524, 3048]
    assert len({tuple(drawn(1000, 0.05, seed=seed)) for seed in range(DRAWS)}) == DRAWS
    rng = np.random.default_rng(0)
    classes = rng.integers(4, size=N)
    labels = labelled(classes)
    found = features("limited", planted(rng, classes), rng)
    verdict = judge(labels, found, encoder="e", folder=tmp_path, protocol=QUICK["limited"]())
    assert [other.facts["tracks"] for other in verdict.others] == np.repeat(
        [1, 6, 12, 24], 4
    ).tolist()
    by_share = {
        share: np.mean([o.scores["accuracy"] for o in verdict.others if o.facts["share"] == share])
        for share in SHARES
    }
    assert by_share[0.01] < 0.5 < by_share[0.2]
    selection = json.loads((tmp_path / "style--e.json").read_text())
    assert len(selection["drawn"]) == len(SHARES) * DRAWS
    rows = selection["drawn"]["10%, draw 3"]
    assert len(rows) == 12
    assert set(rows) <= set(labels.rows("train").tolist())
    assert len({one["head_sha256"] for one in selection["beside"]}) == 16


def test_what_selects_on_test_says_so_before_it_does(labelled, tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(N, D))
    labels = labelled(rng.integers(4, size=N))
    found = {"default": windows_of(noise)}
    verdict = judge(labels, found, encoder="e", folder=tmp_path, protocol=QUICK["myna-code"]())
    selection = json.loads((tmp_path / "style--e.json").read_text())
    assert selection["selects_on_test"] is True
    assert "SELECTS ON TEST" in selection["chosen"]
    assert len(selection["rivals"]) == len(PLAIN)
    assert verdict.chosen["title"] in {one["title"] for one in selection["rivals"]}
    assert len(DISTINCT) == 72
    scaled = scaled_by_itself(50 + 7 * noise)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-4)


@pytest.mark.parametrize("name", ["jukemir", "deezer", "myna-code"])
@pytest.mark.parametrize("kind", ["tags", "number", "key"])
def test_every_kind_of_label_is_learnt(index, targets, tmp_path, name, kind):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, D))
    values = {
        "tags": [[t for t, on in zip("abcd", row > 0.3, strict=True) if on] for row in x[:, :4]],
        "number": (120 + 30 * x[:, 0]).tolist(),
        "key": [KEYS[k] for k in x[:, :3].argmax(axis=1)],
    }
    splits = [("train", "train", "valid", "test")[i % 4] for i in range(N)]
    labels = targets(index, "mine", kind, values[kind], splits=splits)
    found = {"default": windows_of(x) if name == "myna-code" else vectors(5 * x)}
    verdict = judge(labels, found, encoder="e", folder=tmp_path, protocol=QUICK[name]())
    metric = verdict.metrics[0]
    score = METRICS[metric].score(verdict.outputs, verdict.targets)
    lowest = {"roc_auc": 0.85, "r2": 0.4, "key_score": 0.7}[metric]
    assert verdict.constant + 0.1 < lowest < score


def test_jukemirs_216_configurations_are_tried_and_stand_in_the_selection(labelled, tmp_path):
    rng = np.random.default_rng(0)
    classes = rng.integers(4, size=N)
    found = features("jukemir", planted(rng, classes), rng)
    protocol = JukeMIR(schedule=replace(SHORT, max_steps=4))
    verdict = judge(labelled(classes), found, encoder="e", folder=tmp_path, protocol=protocol)
    assert verdict.grid_size == protocol.settings["configurations"] == 216
    grid = json.loads((tmp_path / "style--e.json").read_text())["grid"]
    assert max(trial["valid_score"] for trial in grid) == verdict.valid_score
    assert len({trial["title"] for trial in grid}) == 216
    assert protocol.settings != JukeMIR().settings  # another schedule is another question


def test_an_encoder_without_pools_has_one_vector(tones):
    assert [feature.name for feature in every_pool(tones())] == ["default"]
    (feature,) = Layers().features(tones())
    assert not feature.layers


@pytest.fixture
def heard(archive, targets, tmp_path):
    """Tracks whose label is how loud band 7 is, and what the planted encoder hears of them."""
    tracks = []
    for i in range(60):
        levels = np.full(NUM_BANDS, 0.02)
        levels[7] = (0.02, 0.1, 0.3)[i % 3]
        tracks.append(planted_track(levels, 1.0, seed=i))
    index = archive(tracks)
    splits = [("train", "train", "valid", "test")[i // 3 % 4] for i in range(60)]
    labels = targets(index, "level", "class", [f"l{i % 3}" for i in range(60)], splits=splits)
    encoder = planted_encoder()
    wanted = (*Layers().features(encoder), *every_pool(encoder))
    inline = Extraction(num_workers=0)
    where = tmp_path / "embeddings"
    found = embed(encoder, index, np.arange(60), features=wanted, folder=where, extraction=inline)
    return labels, found


def test_of_13_layers_of_an_encoder_the_one_that_hears_the_label_is_found(heard, tmp_path):
    labels, found = heard
    layers = {"layers": found["layers"]}
    verdict = judge(labels, layers, encoder="e", folder=tmp_path, protocol=QUICK["layers"]())
    assert len(verdict.others) == 14
    scores = {other.title: other.scores["accuracy"] for other in verdict.others}
    assert max(scores, key=scores.__getitem__) in ("layer 7", "weighted sum of layers")
    assert scores["layer 7"] == METRICS["accuracy"].score(verdict.outputs, verdict.targets) == 1


def test_of_two_pools_of_an_encoder_the_one_that_hears_the_label_is_found(heard, tmp_path):
    labels, found = heard
    pools = {name: found[name] for name in ("first", "second")}
    verdict = judge(labels, pools, encoder="e", folder=tmp_path, protocol=QUICK["hybrid"]())
    assert verdict.chosen["pool"] == "second"
    assert METRICS["accuracy"].score(verdict.outputs, verdict.targets) == 1
