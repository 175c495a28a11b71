"""All that is asked of an encoder comes from one pass, and is what it gives when asked alone."""

import json

import numpy as np
import pytest
import torch

from evaluate import embeddings
from evaluate.baselines import LogMelStatistics
from evaluate.embed import Extraction, embed, embed_tracks
from evaluate.features import Feature
from evaluate.forward import Forward
from shards.errors import InputError
from shards.reader import read_track
from tests.evaluate.planted import RATE_HZ, Planted, planted, planted_track
from train.encoders import build_encoder

LENGTHS_S = [2.5, 0.4, 3.2, 1.0]
WINDOWS = [3, 1, 3, 1]
ALL = (Feature(), Feature("second"), Feature(layers=True))


@pytest.fixture
def index(archive):
    rng = np.random.default_rng(0)
    levels = rng.uniform(0.01, 0.07, (len(LENGTHS_S), 13))
    return archive([planted_track(levels[i], s, seed=i) for i, s in enumerate(LENGTHS_S)])


class Counted(Planted):
    """The planted encoder; `calls` counts forward passes."""

    calls = 0

    def trunk(self, features, frames):
        self.calls += 1
        return super().trunk(features, frames)


def counted() -> Counted:
    encoder = Counted().eval()
    encoder.load_state_dict(planted().state_dict())
    return encoder


def windows_of(index, row, *, window=RATE_HZ, hop=RATE_HZ):
    """Padded windows of a track and their true samples, by the rule in words."""
    samples = read_track(index, row).astype(np.float32) / 32768
    starts = [s for s in range(0, len(samples), hop) if len(samples) - s >= window / 2] or [0]
    for start in starts:
        some = samples[start : start + window]
        padded = np.pad(some, (0, window - len(some)))
        yield torch.from_numpy(padded)[None], torch.tensor([len(some)])


def alone(encoder, feature, waveform, frames) -> np.ndarray:
    """A feature of one clip, from the encoder's own methods."""
    if not feature.layers:
        return encoder.embed(waveform, frames, pool=feature.pool or None)[0].detach().numpy()
    encoded = encoder.trunk(encoder.frontend(waveform), frames)
    return encoded.layers[:, 0, encoded.mask[0]].mean(dim=1).detach().numpy()


@pytest.mark.parametrize("feature", ALL, ids=lambda f: f.name)
def test_each_feature_of_one_pass_equals_the_encoders_own(index, tmp_path, feature):
    encoder = counted()
    how = Extraction(batch_size=64, num_workers=0)
    found = embed(encoder, index, np.arange(4), features=ALL, folder=tmp_path, extraction=how)
    assert list(found) == ["default", "second", "layers"]
    assert encoder.calls == 1
    vectors = found[feature.name]
    assert vectors.windows.tolist() == WINDOWS
    for row in range(4):
        expected = [alone(planted(), feature, *clip) for clip in windows_of(index, row)]
        np.testing.assert_allclose(vectors.vectors[row], np.mean(expected, axis=0), atol=2e-5)


@pytest.mark.parametrize("feature", ALL, ids=lambda f: f.name)
def test_windows_are_kept_one_by_one_with_their_numbers(index, tmp_path, feature):
    how = Extraction(batch_size=3, num_workers=0)
    found = embed(
        planted(),
        index,
        np.arange(4),
        features=[feature],
        unit="window",
        hop_s=0.5,
        folder=tmp_path,
        extraction=how,
    )[feature.name]
    windows = [list(windows_of(index, row, hop=RATE_HZ // 2)) for row in range(4)]
    assert found.rows.tolist() == [row for row in range(4) for _ in windows[row]]
    assert found.window.tolist() == [i for row in range(4) for i in range(len(windows[row]))]
    assert (found.windows == 1).all()
    expected = [alone(planted(), feature, *clip) for some in windows for clip in some]
    np.testing.assert_allclose(found.vectors, expected, atol=2e-5)
    vectors, owner = found.of_windows(np.array([3, 0]))
    counts = [len(windows[3]), len(windows[0])]
    assert owner.tolist() == np.repeat([0, 1], counts).tolist()
    assert np.array_equal(vectors[: counts[0]], found.vectors[-counts[0] :])
    assert np.array_equal(vectors[counts[0] :], found.vectors[: counts[1]])


def test_a_track_is_the_mean_of_its_windows(index, tmp_path):
    both = {
        unit: embed(planted(), index, np.arange(4), features=ALL, unit=unit, folder=tmp_path)
        for unit in ("track", "window")
    }
    for name, track in both["track"].items():
        vectors, owner = both["window"][name].of_windows(np.arange(4))
        means = [vectors[owner == i].mean(axis=0, dtype=np.float64) for i in range(4)]
        np.testing.assert_allclose(track.of(np.arange(4)), means, atol=1e-6)
        assert both["window"][name].id != track.id


def test_a_feature_that_is_asked_for_later_costs_one_pass_and_nothing_is_lost(index, tmp_path):
    rows = np.arange(4)
    once = embed(planted(), index, rows, features=ALL[:2], folder=tmp_path)
    encoder = counted()
    again = embed(encoder, index, rows, features=ALL, folder=tmp_path)
    assert encoder.calls == 1
    for name, before in once.items():
        assert np.array_equal(again[name].vectors, before.vectors)
        assert again[name].id == before.id
    encoder = counted()
    embed(encoder, index, rows, features=ALL, folder=tmp_path)
    assert encoder.calls == 0


def test_the_default_pool_by_its_own_name_is_the_same_vectors(index, tmp_path):
    features = [Feature(), Feature("first")]
    found = embed(planted(), index, np.arange(4), features=features, folder=tmp_path)
    assert found["default"].id == found["first"].id
    assert len(list(tmp_path.glob("*/part-*"))) == 1
    assert embed_tracks(planted(), index, np.arange(4), folder=tmp_path).id == found["first"].id


def test_parts_hold_few_windows_whatever_the_lengths_of_tracks(index, tmp_path, monkeypatch):
    whole = embed(planted(), index, np.arange(4), unit="window", folder=tmp_path / "whole")
    monkeypatch.setattr(embeddings, "PART_WINDOWS", 4)
    found = embed(planted(), index, np.arange(4), unit="window", folder=tmp_path / "parts")
    assert len(list(tmp_path.glob("parts/*/part-*"))) == 2
    for name in ("rows", "window", "vectors"):
        assert np.array_equal(getattr(found["default"], name), getattr(whole["default"], name))


def test_what_an_encoder_does_not_have_is_named(index, tmp_path):
    statistics = LogMelStatistics(sample_rate=RATE_HZ, clip_frames=RATE_HZ)
    with pytest.raises(InputError, match=r"No pool 'third' in planted; .*\['first', 'second'\]"):
        embed(planted(), index, np.arange(4), features=[Feature("third")], folder=tmp_path)
    with pytest.raises(InputError, match="log-mel statistics has no layers"):
        embed(statistics, index, np.arange(4), features=[Feature(layers=True)], folder=tmp_path)
    with pytest.raises(InputError, match="no tracks"):
        embed(planted(), index, np.arange(0), folder=tmp_path)


def test_tracks_that_cannot_be_read_have_no_vectors_but_a_shape(index, tmp_path):
    shard = index.shards[0]
    damaged = bytearray(shard.read_bytes())
    for row in (0, 2):
        start = int(index.column("offset")[row])
        damaged[start : start + 200] = bytes(200)
    shard.write_bytes(damaged)
    found = embed(planted(), index, np.arange(4), unit="window", folder=tmp_path)["default"]
    assert found.unread.tolist() == [0, 2]
    assert found.known(np.arange(4)).tolist() == [False, True, False, True]
    vectors, owner = found.of_windows(np.array([1, 3]))
    assert (vectors.shape, owner.tolist()) == ((2, 26), [0, 1])
    none = embed(planted(), index, np.array([0, 2]), features=ALL, folder=tmp_path)["layers"]
    assert none.vectors.shape == (2, 13, 4)
    assert none.windows.tolist() == [0, 0]


def test_mixed_precision_stays_in_the_trunk():
    encoder = build_encoder("resnet", {"clip_s": 1.0, "width": 8, "layers": [1, 1, 1, 1]}, seed=0)
    encoder = encoder.eval()
    seen = {}

    class Spy(type(encoder.frontend)):
        def features(self, waveform):
            found = super().features(waveform)
            seen["front end"] = (waveform.dtype, found.dtype)
            return found

    encoder.frontend.__class__ = Spy
    encoder.stem.register_forward_hook(lambda _, __, out: seen.update(trunk=out.dtype))
    encoder.attention.register_forward_hook(lambda _, __, out: seen.update(pool=out.dtype))
    clips = np.random.default_rng(0).integers(-9000, 9000, (2, 16_000)).astype(np.int16)
    features = [Feature(), Feature("mean"), Feature(layers=True)]
    vectors = {
        precision: Forward(encoder, 16_000, Extraction(precision=precision)).vectors(
            clips, np.array([16_000, 9_000]), features
        )
        for precision in ("no", "bf16")
    }
    assert seen["front end"] == (torch.float32, torch.float32)
    assert seen["trunk"] == torch.bfloat16
    assert seen["pool"] == torch.float32
    for name, exact in vectors["no"].items():
        mixed = vectors["bf16"][name]
        assert 0 < np.abs(mixed - exact).max() < 0.1 * np.abs(exact).max()


def test_what_made_a_vector_stands_beside_it(index, tmp_path):
    found = embed(planted(), index, np.arange(4), features=ALL, hop_s=0.25, folder=tmp_path)
    facts = json.loads((tmp_path / found["layers"].id / "embeddings.json").read_text())
    assert facts["feature"] == "layers"
    assert facts["archive"] == index.fingerprint
    assert (facts["window_frames"], facts["hop_frames"]) == (RATE_HZ, RATE_HZ // 4)
    assert len({one.id for one in found.values()}) == 3
