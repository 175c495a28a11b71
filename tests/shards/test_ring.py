"""The ring: memory that processes share, that has no name, and that is refused in time."""

import os
import subprocess
import sys

import numpy as np
import pytest

from shards.errors import InputError
from shards.ring import Ring, Shape, free_bytes

SHAPE = Shape(num_slots=3, rank_size=4, num_views=2, clip_frames=100)
WRITE = """
import sys
from shards.ring import Address, Ring, Shape
ring = Ring.at(Address(sys.argv[1], Shape(3, 4, 2, 100)))
ring.clips[ring.slot(1)] = 7
ring.valid[5] = True
"""


def test_slots_lie_end_to_end_and_do_not_overlap():
    ring = Ring.new(SHAPE)
    for number in range(3):
        ring.clips[ring.slot(number)] = number
    assert [int(clip) for clip in ring.clips[:, 1, 99]] == [0] * 4 + [1] * 4 + [2] * 4
    assert not ring.valid.any()
    ring.close()
    ring.close()


def test_another_process_writes_into_it_by_its_address():
    ring = Ring.new(SHAPE)
    subprocess.run([sys.executable, "-c", WRITE, ring.address.path], check=True)
    assert (ring.clips[ring.slot(1)] == 7).all()
    assert not ring.clips[ring.slot(0)].any()
    assert ring.valid.tolist() == [False] * 5 + [True] + [False] * 6
    ring.close()


def test_a_batch_outlives_the_ring_it_lies_in():
    ring = Ring.new(SHAPE)
    batch = ring.clips[ring.slot(2)]
    batch[:] = 5
    ring.close()
    assert (batch == 5).all()


def test_what_is_closed_is_given_back():
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        Ring.new(SHAPE).close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_ring_larger_than_the_memory_is_refused_with_what_to_do():
    free = free_bytes()
    assert free is not None
    clips = free // 2 // 1000
    with pytest.raises(InputError, match=r"MiB are free. Take a smaller --batch-size"):
        Ring.new(Shape(2, clips, 1, 1000))


def test_every_byte_of_a_slot_is_written(index):
    """A slot is used again: what a clip does not fill must not be the one before."""
    from shards.decode import Decoder
    from shards.plan import WindowPlan

    plan = WindowPlan(index, np.arange(3), clip_frames=48_000)
    rows = plan.located(np.arange(plan.stop))
    rows["valid"] = np.arange(plan.stop) != 1
    clips, valid = np.full((plan.stop, 1, 48_000), 99, np.int16), np.ones(plan.stop, bool)
    Decoder.of(plan).fill(rows, clips, valid)
    for i, frames in enumerate(rows["frames"][:, 0]):
        assert not clips[i, 0, frames:].any()
    assert not clips[1].any()
    np.testing.assert_array_equal(valid, rows["valid"])
