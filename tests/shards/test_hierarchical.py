"""Hierarchical crops: what a naive loop cuts, parts inside parts, one read for all of them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from shards.batch import Batch
from shards.draw import draw
from shards.errors import InputError
from shards.plan import TrainPlan
from shards.stream import stream
from shards.views.hierarchical import LONG_S, SHORT_S, HierarchicalCrops

GOLDEN = Path(__file__).parents[1] / "golden" / "draws.json"
T = 1001  # no power of anything


def batch(tracks=3, views=2, frames=T):
    """A ramp a clip, so that a sample tells where it was."""
    shape = tracks, views
    ramp = np.arange(tracks * views * frames).astype(np.int16).reshape(*shape, frames)
    seed = draw(1, "view", np.arange(tracks)[:, None], np.arange(views))
    zeros = np.zeros(shape, np.int64)
    return Batch(
        clips=ramp,
        position=np.arange(tracks),
        row=np.arange(tracks),
        start=zeros,
        frames=zeros + frames,
        seed=seed,
        valid=np.ones(tracks, bool),
    )


def naive(view, clip, seed):
    """Level → list of (first sample, samples) of one clip, one part after the other."""
    levels = [[(0, len(clip))]]
    for level in range(1, view.num_levels):
        size = len(clip) // view.num_parts**level
        parts = []
        for begin, whole in levels[-1]:
            for _ in range(view.num_parts):
                room, number = whole - size, len(parts)
                inside = number % view.num_parts * size
                if view.placed == "drawn":
                    bits = int(draw(level, "part", np.array(seed), number))
                    inside = (bits % 2**64 >> 1) % (room + 1)
                parts.append((begin + inside, size))
        levels.append(parts)
    return levels


@pytest.mark.parametrize("placed", ["evenly", "drawn"])
@pytest.mark.parametrize(("levels", "parts"), [(4, 2), (3, 3), (1, 2), (2, 5)])
def test_parts_are_those_of_a_naive_loop_and_lie_inside_theirs(placed, levels, parts):
    view = HierarchicalCrops(num_levels=levels, num_parts=parts, placed=placed)
    drawn = batch()
    applied = view.apply(drawn.to("cpu"))
    assert len(applied.parts) == levels - 1
    for b in range(3):
        for v in range(2):
            clip = drawn.clips[b, v].astype(np.float32) / 32768
            np.testing.assert_array_equal(applied.clips[b, v].numpy(), clip)
            expected = naive(view, clip, drawn.seed[b, v])
            for level, found in enumerate(applied.parts, 1):
                assert found.shape == (3, 2, parts**level, T // parts**level)
                for m, (begin, size) in enumerate(expected[level]):
                    np.testing.assert_array_equal(found[b, v, m], clip[begin : begin + size])
                    above, of = expected[level - 1][m // parts]
                    assert above <= begin
                    assert begin + size <= above + of


def test_even_parts_of_a_length_that_divides_are_the_clip_again():
    applied = HierarchicalCrops().apply(batch(frames=4096).to("cpu"))
    for level in applied.parts:
        assert torch.equal(level.flatten(2), applied.clips)


def test_drawn_parts_differ_from_clip_to_clip_and_fill_their_room():
    view = HierarchicalCrops(num_levels=2, placed="drawn")
    (parts,) = view.apply(batch(tracks=200).to("cpu")).parts
    begins = (parts[..., 0] * 32768).long() - torch.arange(400).view(200, 2, 1) * T
    begins = torch.remainder(begins, 2**16)  # int16 has wrapped
    assert begins.min() <= 10
    assert begins.max() >= T - T // 2 - 10
    assert len(begins.unique()) > 250


def test_the_last_parts_of_the_long_clip_last_as_long_as_the_short_clip():
    for rate in (16_000, 22_050, 24_000):
        long, short = (HierarchicalCrops(clip_s=s).clip_frames(rate) for s in (LONG_S, SHORT_S))
        assert abs(long / 8 - short) < 0.002 * short
    assert HierarchicalCrops(clip_s=LONG_S).clip_frames(22_050) == 473_088
    assert HierarchicalCrops().clip_frames(22_050) == 59_049


def test_whole_clips_lie_anywhere_in_a_track_and_one_may_be_asked_for():
    frames = np.full(4000, 60_000)
    start = HierarchicalCrops(clip_s=3).draw(0, np.arange(4000), frames, 16_000)
    assert start.shape == (4000, 2)
    assert start.min() < 100
    assert 11_900 < start.max() <= 12_000
    assert abs(np.corrcoef(start.T)[0, 1]) < 0.05
    one = HierarchicalCrops(clip_s=3, num_views=1).draw(0, np.arange(4000), frames, 16_000)
    np.testing.assert_array_equal(one, start[:, :1])


def test_a_stream_reads_whole_clips_only_and_any_world_size_cuts_the_same_parts(index):
    view = HierarchicalCrops(placed="drawn")
    plan = TrainPlan(index, view, seed=4)

    def applied(**rank):
        with stream(plan, batch_size=4, **rank) as batches:
            read = next(batches)
            assert read.clips.shape[1:] == (2, view.clip_frames(16_000))
            assert read.parts == ()
            return view.apply(read.to("cpu")).parts

    halves = zip(applied(rank=0, world_size=2), applied(rank=1, world_size=2), strict=True)
    for whole, both in zip(applied(), halves, strict=True):
        assert torch.equal(whole, torch.cat(both))


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_parts": 1},
        {"num_levels": 0},
        {"num_views": 0},
        {"clip_s": 0.0},
        {"placed": "somewhere"},
    ],
)
def test_settings_that_no_hierarchy_can_have_are_refused(wrong):
    with pytest.raises(InputError, match=r"Want .*got"):
        HierarchicalCrops(**wrong)


def test_parts_must_hold_samples():
    with pytest.raises(InputError, match="take fewer levels"):
        HierarchicalCrops(clip_s=0.01, num_levels=9).clip_frames(16_000)


def test_pinned_hierarchies_never_change():
    pinned = json.loads(GOLDEN.read_text())["hierarchical"]
    view = HierarchicalCrops(placed="drawn")
    frames = np.array([300_000, 480_000, 1_000_000])
    start = view.draw(7, np.array([0, 1, 10**12]), frames, 16_000)
    assert start.tolist() == pinned["start"]
    places = [place[0, 0].tolist() for place, _ in view._places(batch().to("cpu"))]
    assert places == pinned["parts"]
