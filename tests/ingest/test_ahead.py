"""Decoders that start ahead are used, and never outlive the command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ingest.ahead import decoders_ahead
from ingest.build import build_shards
from ingest.settings import Settings
from shards.errors import InputError

SETTINGS = Settings(sample_rate=8_000)


def children() -> set[str]:
    """Process numbers of what this thread has started."""
    return set(Path("/proc/thread-self/children").read_text().split())


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_a_build_takes_the_decoders_that_were_started(tmp_path, make_chord):
    make_chord(tmp_path / "in/a.wav", 1)
    before = children()
    with decoders_ahead(str(tmp_path / "out"), 1) as ahead:
        started = children() - before
        built = build_shards(
            tmp_path / "in", tmp_path / "out", settings=SETTINGS, num_workers=1, ahead=ahead
        )
        assert len(started) == len(ahead) == built.new_tracks == 1
    assert not children() & started


def test_a_finished_archive_starts_none(tmp_path, make_chord):
    make_chord(tmp_path / "in/a.wav", 1)
    build_shards(tmp_path / "in", tmp_path / "out", settings=SETTINGS, num_workers=1)
    with decoders_ahead(str(tmp_path / "out"), 2) as ahead:
        assert ahead == []


def test_a_build_that_is_refused_leaves_none_behind(tmp_path):
    before = children()
    (tmp_path / "in").mkdir()
    with decoders_ahead(str(tmp_path / "o"), 2) as ahead:
        assert len(children() - before) == 2
        with pytest.raises(InputError):
            build_shards(tmp_path / "in", tmp_path / "o", settings=SETTINGS, ahead=ahead)
    assert children() <= before


def test_the_module_that_starts_them_loads_neither_numpy_nor_pyarrow():
    code = "import ingest.ahead, sys; print({'numpy', 'pyarrow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
