"""Key labels through the judge: learnt as 24 classes, scored by points."""

import numpy as np
import pytest

from evaluate.embeddings import Embeddings
from evaluate.metrics import METRICS
from evaluate.probe import judge
from evaluate.protocols.linear import LINEAR, Linear
from shards.targets import KEYS

TRACKS = 240


def embeddings(vectors):
    rows = np.arange(len(vectors))
    return {"default": Embeddings("e", rows, vectors.astype(np.float32), np.ones(TRACKS, np.int32))}


@pytest.fixture
def index(archive):
    return archive([np.zeros(16, np.int16)] * TRACKS)


def test_planted_keys_are_found_and_a_fifth_too_high_earns_half(index, targets, tmp_path):
    rng = np.random.default_rng(0)
    keys = rng.integers(24, size=TRACKS)
    keys[keys == 23] = 0  # a key that no track has is still a class
    labels = targets(index, "key", "key", [KEYS[k] for k in keys])
    vectors = rng.normal(size=(TRACKS, 32))
    vectors[:, :24] += 9 * np.eye(24)[keys]
    features = embeddings(vectors)
    protocol = Linear(grid=LINEAR[2:4])
    verdict = judge(labels, features, encoder="e", folder=tmp_path, protocol=protocol)
    assert verdict.metrics == ("key_score", "accuracy")
    assert verdict.outputs.shape == (60, 24)
    score = {
        name: METRICS[name].score(verdict.outputs, verdict.targets) for name in verdict.metrics
    }
    assert score["accuracy"] > 0.95
    assert score["key_score"] >= score["accuracy"]
    fifth_up = (verdict.targets + 7) % 12 + 12 * (verdict.targets // 12)
    assert METRICS["key_score"].score(np.eye(24)[fifth_up], verdict.targets) == 0.5
    assert verdict.constant < 0.35


def test_shuffled_keys_sit_at_what_a_guess_earns(index, targets, tmp_path):
    rng = np.random.default_rng(1)
    labels = targets(index, "key", "key", [KEYS[k] for k in rng.integers(24, size=TRACKS)])
    features = embeddings(rng.normal(size=(TRACKS, 16)))
    protocol = Linear(grid=LINEAR[2:4])
    verdict = judge(labels, features, encoder="e", folder=tmp_path, protocol=protocol)
    guess = (1 + 0.5 + 0.3 + 0.2) / 24
    points = METRICS["key_score"].score(verdict.outputs, verdict.targets)
    spread = np.sqrt((1 + 0.5**2 + 0.3**2 + 0.2**2) / 24 - guess**2)  # of one track
    assert abs(points - guess) < 3 * spread / np.sqrt(len(verdict.targets))
