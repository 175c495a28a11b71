"""Heads on frames and the judge of beats, on tokens that are planted and on encoders that hear."""

import json

import numpy as np
import pytest
import torch

from evaluate.beats_probe import BEAT_METRICS, judge_beats, metronome, objection
from evaluate.embed import Extraction
from evaluate.frame_heads import FrameConfiguration, FrameHead, TokenScaler, activation
from evaluate.frame_probe import FrameSchedule, beat_frames, frame_grid, train_frame_heads
from evaluate.frames import Tokens
from evaluate.metrics import METRICS
from evaluate.token_tracks import TokenTracks, stitch, token_tracks
from shards.errors import InputError
from shards.labels import Labels
from shards.targets import Events
from tests.evaluate.planted import NUM_BANDS, planted_track, with_beats

QUICK = FrameSchedule(max_epochs=12, patience=4, crop_s=4.0)
RATE_HZ = 50
INLINE = Extraction(num_workers=0)


def beat_times(bpm, seconds, begin_s=0.2):
    return np.arange(begin_s, seconds - 0.1, 60 / bpm)


def cell(times_s):
    return [{"start_s": t, "end_s": t, "value": ""} for t in times_s.tolist()]


def windows(row, heard, mask=None, length=100):
    """Windows of a track [K, N, D], as an encoder would give them."""
    for number, at in enumerate(range(0, heard.shape[1], length)):
        part = heard[:, at : at + length]
        true = np.ones(part.shape[1], bool) if mask is None else mask[at : at + length]
        yield Tokens(row, number, at / RATE_HZ, part, true)


def heard_in_layer(times_s, seconds, layer, *, num_layers=3, seed=0):
    """Tokens [K, N, 4], noise but for a rise at beats in one layer."""
    num_frames = round(seconds * RATE_HZ)
    heard = np.random.default_rng(seed).normal(size=(num_layers, num_frames, 4)).astype(np.float32)
    heard[layer, :, 1] += 8 * beat_frames(times_s, num_frames, RATE_HZ)
    return heard


def planted_tokens(num_tracks=8, seconds=8.0, layer=1):
    """Tokens of tracks by row, and their beats."""
    truth = {i: beat_times(80 + 11 * i, seconds) for i in range(num_tracks)}
    heard = {i: heard_in_layer(t, seconds, layer, seed=i) for i, t in truth.items()}
    return heard, truth


def tracks_of(heard, **settings):
    """The tokens of these tracks, and a list of what was asked for."""
    asked = []

    def read(rows):
        asked.extend(int(row) for row in rows)
        for row in sorted(rows.tolist()):
            if row in heard:
                yield from windows(row, heard[row])

    return TokenTracks(read, id="planted", rate_hz=RATE_HZ, **settings), asked


def test_windows_of_a_track_are_stitched_where_they_begin():
    heard = heard_in_layer(np.empty(0), 6.3, 0)
    (track,) = stitch(windows(7, heard), RATE_HZ)
    assert track.row == 7
    np.testing.assert_array_equal(track.tokens, heard)
    assert track.mask.all()
    first, _, third, _ = windows(7, heard)
    third.mask[-20:] = False
    (track,) = stitch([first, third], RATE_HZ)
    assert track.tokens.shape[1] == 280
    assert not track.mask[100:200].any()
    np.testing.assert_array_equal(track.tokens[:, 200:], heard[:, 200:280])


def test_tokens_are_kept_up_to_the_limit_and_the_same_beyond_it():
    heard, _ = planted_tokens()
    del heard[3]  # cannot be read
    size = heard[0].nbytes
    rows = np.array([5, 2, 3, 0, 7])
    for limit in (0, 2 * size, 10 * size):
        tracks, asked = tracks_of(heard, cache_bytes=limit)
        for _ in range(2):
            found = list(tracks.of(rows))
            assert [track.row for track in found] == [0, 2, 5, 7]
            for track in found:
                np.testing.assert_array_equal(track.tokens, heard[track.row])
        assert tracks.known(rows).tolist() == [True, True, False, True, True]
        again = {0: [0, 2, 5, 7], 2: [5, 7], 10: []}[limit // size]
        assert asked == [0, 2, 3, 5, 7, *again]


def test_a_corpus_of_which_nothing_can_be_read_says_so():
    tracks, _ = tracks_of({})
    with pytest.raises(InputError, match="none of 2 can be read"):
        tracks.first(np.array([0, 1]))


def test_beats_are_labelled_in_the_nearest_frame_and_its_neighbours():
    times_s = np.array([0.0, 0.109, 0.191, 5.0])
    assert np.flatnonzero(beat_frames(times_s, 12, RATE_HZ, neighbours=0)).tolist() == [0, 5, 10]
    around = np.flatnonzero(beat_frames(times_s, 12, RATE_HZ))
    assert around.tolist() == [0, 1, 4, 5, 6, 9, 10, 11]


def test_the_scaler_of_tracks_is_that_of_all_their_frames_at_once():
    heard, _ = planted_tokens(num_tracks=5, seconds=4.4)
    tracks, _ = tracks_of(heard)
    scaler = TokenScaler.fit(tracks.of(np.arange(5)))
    together = np.concatenate([heard[i] for i in range(5)], axis=1).astype(np.float64)
    np.testing.assert_allclose(scaler.mean, together.mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(scaler.std, together.std(axis=1), rtol=1e-10)


def test_an_encoder_that_diverged_is_named_by_its_track():
    heard, _ = planted_tokens(num_tracks=2)
    heard[1][0, 5, 0] = np.nan
    tracks, _ = tracks_of(heard)
    with pytest.raises(InputError, match="row 1: its training diverged"):
        TokenScaler.fit(tracks.of(np.arange(2)))


def test_a_learnt_sum_of_layers_is_the_softmax_of_scaled_layers():
    rng = np.random.default_rng(0)
    scaler = TokenScaler(rng.normal(size=(3, 4)), rng.uniform(1, 2, (3, 4)))
    head = FrameHead(FrameConfiguration("linear", None), scaler)
    tokens = rng.normal(size=(2, 3, 5, 4))
    with torch.no_grad():
        head.mix.copy_(torch.tensor([0.3, -1.0, 2.0]))
    share = np.exp([0.3, -1.0, 2.0])
    scaled = (tokens - scaler.mean[:, None]) / scaler.std[:, None]
    expected = np.einsum("k,bknd->bnd", share / share.sum(), scaled)
    heard = head._heard(torch.from_numpy(tokens).float()).detach().numpy()
    np.testing.assert_allclose(heard, expected, atol=1e-5)


def test_a_head_trained_alone_equals_its_twin_among_others():
    heard, truth = planted_tokens()
    tracks, _ = tracks_of(heard)
    train, valid = ({i: truth[i] for i in some} for some in (range(5), range(5, 8)))
    short = FrameSchedule(max_epochs=4, patience=2, crop_s=3.0)
    grid = frame_grid(3, ("mlp", "linear"))
    assert len(grid) == 8
    together = train_frame_heads(grid, tracks, train, valid, schedule=short)
    for i in (0, 2, 7):
        (alone,) = train_frame_heads([grid[i]], tracks, train, valid, schedule=short)
        assert alone.network.sha256 == together[i].network.sha256
        assert (alone.f70, alone.loss, alone.epochs) == (
            together[i].f70,
            together[i].loss,
            together[i].epochs,
        )


def test_a_cache_too_small_changes_no_weight():
    heard, truth = planted_tokens()
    shas = set()
    for limit in (0, 3 * heard[0].nbytes, 2**30):
        tracks, _ = tracks_of(heard, cache_bytes=limit)
        train, valid = ({i: truth[i] for i in some} for some in (range(5), range(5, 8)))
        (head,) = train_frame_heads(
            [FrameConfiguration("mlp", None)],
            tracks,
            train,
            valid,
            schedule=FrameSchedule(max_epochs=2, crop_s=3.0),
        )
        shas.add(head.network.sha256)
    assert len(shas) == 1


def test_frames_that_nobody_heard_change_no_weight():
    heard, truth = planted_tokens(num_tracks=4, seconds=3.0)
    short = FrameSchedule(max_epochs=2, crop_s=6.0)  # longer than the tracks
    shas = set()
    for filled in (0.0, 1e3):
        padded = {
            i: np.pad(x, ((0, 0), (0, 30), (0, 0)), constant_values=filled)
            for i, x in heard.items()
        }
        mask = np.arange(180) < 150

        def read(rows, padded=padded, mask=mask):
            for row in rows:
                yield from windows(int(row), padded[int(row)], mask, length=180)

        tracks = TokenTracks(read, id="padded", rate_hz=RATE_HZ)
        train, valid = ({i: truth[i] for i in some} for some in (range(3), range(3, 4)))
        (head,) = train_frame_heads(
            [FrameConfiguration("linear", 1)], tracks, train, valid, schedule=short
        )
        shas.add(head.network.sha256)
    assert len(shas) == 1


def test_a_frame_that_nobody_heard_holds_no_beat():
    found = activation(np.array([3.0, 3.0, -800.0]), np.array([True, False, True]))
    np.testing.assert_allclose(found, [1 / (1 + np.exp(-3)), 0, 0], atol=1e-12)


@pytest.fixture
def bursts(archive, targets):
    """Twelve tracks of noise and tones whose beats are bursts in band 4."""
    rng = np.random.default_rng(2)
    seconds, tracks, beats = 8.0, [], []
    for i in range(12):
        times_s = beat_times(75 + 9 * i, seconds, begin_s=rng.uniform(0.1, 0.5))
        levels = 0.02 * rng.random(NUM_BANDS)
        track = planted_track(levels, seconds, seed=i)
        tracks.append(with_beats(track, times_s, band=4, level=0.15))
        beats.append(cell(times_s))
    index = archive(tracks)
    splits = [("train", "valid", "test")[i // 2 % 3] for i in range(12)]
    groups = [f"g{i // 2}" for i in range(12)]
    return index, targets(index, "beats", "beats", beats, splits=splits, groups=groups)


def test_planted_beats_are_found_in_the_layer_they_lie_in(bursts, planted_encoder, tmp_path):
    index, labels = bursts
    tracks = token_tracks(planted_encoder, index, extraction=INLINE)
    some = (FrameConfiguration("mlp", None), *(FrameConfiguration("mlp", k) for k in (0, 4, 12)))
    verdict = judge_beats(
        labels, tracks, encoder="e", folder=tmp_path, configurations=some, schedule=QUICK
    )
    assert verdict.metrics == BEAT_METRICS
    assert verdict.outputs.shape == (4, 9)
    assert METRICS["f70"].score(verdict.outputs, verdict.targets) > 0.95
    assert METRICS["f20"].score(verdict.outputs, verdict.targets) > 0.95
    assert verdict.chosen["layer"] in (None, 4)
    assert verdict.counts == {"train": 4, "valid": 4, "test": 4}
    assert verdict.constant < 0.6
    sweep = {
        one.facts["layer"]: one.scores["f70"] for one in verdict.others if one.series == "layer"
    }
    print(
        sweep, verdict.chosen, verdict.constant, [(o.title, o.valid_score) for o in verdict.others]
    )
    assert all(sweep[layer] < 0.6 for layer in (0, 12))
    written = json.loads((tmp_path / "beats--e.json").read_text())
    assert written["chosen"] == verdict.chosen
    assert len(written["grid"]) == verdict.grid_size == 8
    best = max(trial["valid_score"] for trial in written["grid"])
    assert written["chosen"]["valid_score"] == best


def test_the_selection_is_written_before_the_beats_of_test_are_opened(
    bursts, planted_encoder, tmp_path, monkeypatch
):
    index, labels = bursts
    seen, opened = [], Labels.test_targets

    def watched(self, selection_file):
        seen.append(json.loads(selection_file.read_text()))
        return opened(self, selection_file)

    monkeypatch.setattr(Labels, "test_targets", watched)
    judge_beats(
        labels,
        token_tracks(planted_encoder, index, extraction=INLINE),
        encoder="e",
        folder=tmp_path,
        configurations=[FrameConfiguration("linear", 4)],
        schedule=FrameSchedule(max_epochs=1),
    )
    (selection,) = seen
    assert selection["chosen"]["head_sha256"]
    assert selection["label_sha256"] == labels.info["sha256"]
    assert selection["selects_on_test"] is False


def test_a_metronome_ticks_at_the_usual_tempo_of_train():
    train = {0: np.arange(0, 10, 0.5), 1: np.arange(0, 10, 0.5), 2: np.arange(0, 3, 0.8)}
    (ticks,) = metronome(train, [np.array([0.1, 2.0])])
    np.testing.assert_allclose(ticks, [0, 0.5, 1.0, 1.5, 2.0])


def test_labels_without_two_beats_in_a_track_cannot_be_judged():
    def events(count):
        return Events(*[np.arange(count, dtype=float)] * 2, np.zeros(count, np.int64))

    assert objection([events(1)], [events(4)]) == "no two beats in a track of train"
    assert objection([events(2)], [events(4)]) == ""
