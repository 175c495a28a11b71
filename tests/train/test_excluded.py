"""excluded.csv: every track that is not drawn from, once, with the first reason for it."""

import csv

from shards.views.pair import AnchorPositive
from tests.shards.silent import silent_archive
from train.config import Run
from train.excluded import write_excluded
from train.plan import plan_of

RATE, HOSTILE = 16_000, 'a "name", with\nall = of it'


def listed(run):
    with open(write_excluded(run, plan_of(run, AnchorPositive())), newline="") as file:
        return list(csv.DictReader(file))


def test_every_track_that_is_left_out_is_listed_with_its_reason(tmp_path):
    copies = ["" if i % 4 else f"{0:032x}" for i in range(20)]
    seconds = [60 if i % 5 else 2 for i in range(20)]
    frames = [s * RATE for s in seconds]
    kind = {
        "duplicate_of": copies,
        "frames": frames,
        "source": [f"{HOSTILE}{i}" for i in range(20)],
    }
    one = silent_archive(tmp_path / "one", 20, duration_s=[float(s) for s in seconds], **kind)
    other = silent_archive(tmp_path / "other", 6, name=1)
    run = Run(method="byol", index=(str(one.path), str(other.path)), out=tmp_path)
    expected = []
    for i in range(20):
        reason = "" if i % 4 else "duplicate"
        reason = reason or ("" if i % 5 else "shorter than 128000 samples")
        if reason:
            key = one.column("key")[i]
            expected.append((str(one.path), key, f"{HOSTILE}{i}", reason))
    assert [tuple(line.values()) for line in listed(run)] == expected
    plan = plan_of(run, AnchorPositive())
    assert len(expected) == sum(plan.selection.left_out.values())


def test_conditions_are_reasons_too_and_a_run_that_uses_all_lists_nothing(tmp_path):
    index = silent_archive(tmp_path / "one", 5)
    kind = {"method": "byol", "index": (str(index.path),), "out": tmp_path}
    assert listed(Run(**kind)) == []
    where = ("frames > 960002",)
    assert [line["reason"] for line in listed(Run(**kind, where=where))] == [f"not {where[0]}"] * 3
