import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluate import embeddings
from evaluate.baselines import LogMelStatistics
from evaluate.embed import Extraction, embed_tracks, encoder_sha256
from shards.errors import InputError
from shards.files import sha256_file
from shards.reader import read_track

RATE = 8000


@pytest.fixture
def index(archive, music):
    lengths_s = [3.0, 0.4, 2.5, 1.4, 3.2, 1.0, 2.0]
    return archive([music(200 + 90 * i, s, seed=i) for i, s in enumerate(lengths_s)])


def plain_mean(encoder, index, row) -> np.ndarray:
    """The rule in words: windows end to end, the last kept from half a window on, then the mean."""
    samples = read_track(index, row).astype(np.float32) / 32768
    starts = [s for s in range(0, len(samples), RATE) if len(samples) - s >= RATE / 2] or [0]
    vectors = []
    for start in starts:
        window = samples[start : start + RATE]
        padded = torch.from_numpy(np.pad(window, (0, RATE - len(window))))
        vectors.append(encoder.embed(padded[None], torch.tensor([len(window)]))[0].detach().numpy())
    return np.mean(vectors, axis=0)


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_embeddings_are_means_over_windows_short_tracks_padded(index, tones, tmp_path, batch_size):
    encoder = tones()
    found = embed_tracks(
        encoder,
        index,
        np.arange(7),
        folder=tmp_path,
        extraction=Extraction(batch_size=batch_size),
    )
    assert found.windows.tolist() == [3, 1, 3, 1, 3, 1, 2]
    for row in range(7):
        np.testing.assert_allclose(found.vectors[row], plain_mean(encoder, index, row), atol=2e-5)


def test_a_padded_short_track_is_embedded_as_if_it_were_not_padded(index, tmp_path):
    encoder = LogMelStatistics(sample_rate=RATE, clip_frames=RATE)
    found = embed_tracks(encoder, index, np.array([1]), folder=tmp_path).vectors[0]
    samples = torch.from_numpy(read_track(index, 1).astype(np.float32) / 32768)
    alone = encoder.embed(samples[None], torch.tensor([len(samples)]))[0]
    np.testing.assert_allclose(found, alone.numpy(), atol=1e-4)


def test_windows_cut_to_their_length_give_the_vectors_of_padded_ones(index, tmp_path):
    """And fewer samples are computed: only what is true of the last windows."""
    rows, seen = np.arange(7), []

    class Counted(LogMelStatistics):
        def embed(self, waveform, frames):
            seen.append(waveform.numel())
            return super().embed(waveform, frames)

    vectors = []
    for any_length in (True, False):
        encoder = Counted(sample_rate=RATE, clip_frames=RATE)
        encoder.any_length = any_length
        how = Extraction(batch_size=4, num_workers=0)
        vectors.append(
            embed_tracks(
                encoder, index, rows, folder=tmp_path / str(any_length), extraction=how
            ).vectors
        )
    np.testing.assert_allclose(*vectors, atol=2e-4)  # decibels of 16-bit audio
    cut, padded = sum(seen[:4]), sum(seen[4:])
    assert len(seen) == 8
    assert padded == 14 * RATE
    assert cut < 0.95 * padded


def test_log_mel_statistics_equal_a_loop_over_frames():
    encoder = LogMelStatistics(sample_rate=RATE, clip_frames=RATE)
    waveform = torch.from_numpy(np.random.default_rng(0).normal(size=RATE).astype(np.float32))
    frames_db = []
    for start in range(0, RATE - encoder.fft_frames + 1, encoder.hop_frames):
        piece = waveform[start : start + encoder.fft_frames] * torch.hann_window(encoder.fft_frames)
        power = torch.fft.rfft(piece).abs() ** 2
        frames_db.append(10 * torch.log10(power @ encoder.bands))
    frames_db = torch.stack(frames_db)
    expected = torch.cat([frames_db.mean(dim=0), frames_db.std(dim=0, correction=0)])
    found = encoder.embed(waveform[None], torch.tensor([RATE]))[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_a_neighbour_in_the_batch_changes_nothing():
    encoder = LogMelStatistics(sample_rate=RATE, clip_frames=RATE)
    rng = torch.Generator().manual_seed(0)
    a, b, c = torch.randn(3, RATE, generator=rng)
    frames = torch.tensor([RATE, RATE])
    one = encoder.embed(torch.stack([a, b]), frames)[0]
    other = encoder.embed(torch.stack([a, 100 * c]), frames)[0]
    torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def test_a_second_call_computes_nothing_and_new_rows_are_computed_alone(index, tones, tmp_path):
    first = tones()
    once = embed_tracks(first, index, np.array([0, 2, 4]), folder=tmp_path)
    again = tones()
    twice = embed_tracks(again, index, np.array([4, 2, 0]), folder=tmp_path)
    assert again.calls == 0
    assert np.array_equal(once.vectors, twice.vectors)
    more = tones()
    grown = embed_tracks(more, index, np.array([0, 1, 2]), folder=tmp_path)
    assert more.calls == 1
    assert np.array_equal(grown.vectors[[0, 2]], once.vectors[:2])
    assert grown.rows.tolist() == [0, 1, 2]


def test_what_changes_a_vector_changes_its_folder(index, tones, tmp_path):
    rows = np.array([0])
    ids = {
        embed_tracks(tones(), index, rows, folder=tmp_path).id,
        embed_tracks(tones(gain=2.0), index, rows, folder=tmp_path).id,
        embed_tracks(tones(num_tones=3), index, rows, folder=tmp_path).id,
        embed_tracks(tones(), index, rows, folder=tmp_path, window_s=0.5).id,
    }
    assert len(ids) == 4
    twin = tones()
    with torch.no_grad():
        twin.gain.mul_(2)
    assert encoder_sha256(twin) != encoder_sha256(tones())


def test_a_damaged_part_is_computed_again(index, tones, tmp_path):
    rows = np.arange(3)
    once = embed_tracks(tones(), index, rows, folder=tmp_path)
    part = tmp_path / once.id / "part-000000.parquet"
    part.write_bytes(part.read_bytes()[:-40])
    again = embed_tracks(tones(), index, rows, folder=tmp_path)
    assert np.array_equal(once.vectors, again.vectors)


def test_a_track_that_cannot_be_decoded_is_named_and_costs_no_other(index, tones, tmp_path):
    shard = index.shards[0]
    damaged = bytearray(shard.read_bytes())
    start = int(index.column("offset")[2])
    damaged[start : start + 200] = bytes(200)
    whole = embed_tracks(tones(), index, np.arange(7), folder=tmp_path / "whole")
    shard.write_bytes(damaged)
    found = embed_tracks(tones(), index, np.arange(7), folder=tmp_path / "damaged")
    assert found.unread.tolist() == [2]
    assert found.known(np.arange(7)).tolist() == [True, True, False, True, True, True, True]
    kept = [0, 1, 3, 4, 5, 6]
    np.testing.assert_allclose(found.vectors[kept], whole.vectors[kept], atol=1e-6)


def test_an_encoder_of_another_rate_hears_the_same_seconds(index, tones, tmp_path):
    slow = tones(clip_frames=RATE // 2)
    slow.sample_rate = RATE // 2
    found = embed_tracks(slow, index, np.arange(7), folder=tmp_path)
    assert found.windows.tolist() == [3, 1, 3, 1, 3, 1, 2]


def test_an_unknown_precision_is_refused(index, tones, tmp_path):
    with pytest.raises(InputError, match="precision"):
        embed_tracks(
            tones(), index, np.arange(1), folder=tmp_path, extraction=Extraction(precision="fp8")
        )


KILLED = """
import importlib.util, os, signal, sys
import numpy as np
from evaluate import embed, embeddings
from shards.index import Index

spec = importlib.util.spec_from_file_location("fixtures", sys.argv[1])
fixtures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fixtures)

class Killed(fixtures.Tones):
    def embed(self, waveform, frames):
        if self.calls == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().embed(waveform, frames)

embeddings.PART_ROWS = 2
embed.embed_tracks(Killed(), Index.open(sys.argv[2]), np.arange(7), folder=embed.Path(sys.argv[3]))
"""


def test_a_killed_run_goes_on_and_equals_an_uninterrupted_one(index, tones, tmp_path, monkeypatch):
    monkeypatch.setattr(embeddings, "PART_ROWS", 2)
    whole = embed_tracks(tones(), index, np.arange(7), folder=tmp_path / "whole")
    fixtures = Path(__file__).with_name("conftest.py")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, fixtures, index.path, tmp_path / "killed"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    parts = tmp_path / "killed" / whole.id
    assert sorted(p.name for p in parts.glob("part-*")) == [
        "part-000000.parquet",
        "part-000001.parquet",
    ]
    resumed = tones()
    found = embed_tracks(resumed, index, np.arange(7), folder=tmp_path / "killed")
    assert resumed.calls == 2
    assert np.array_equal(found.vectors, whole.vectors)
    for part in (tmp_path / "whole" / whole.id).glob("part-*"):
        assert sha256_file(part) == sha256_file(parts / part.name)
