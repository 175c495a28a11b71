"""The benchmark of ingest packs the same files with every packer and says what it left out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from scripts.bench.ingest import Packer, gather, turned, why_not
from scripts.bench.measured import measure

ROOT = Path(__file__).resolve().parents[2]


def bench(*words: str | Path) -> str:
    command = [sys.executable, ROOT / "scripts/bench/ingest.py", *words, "--num-workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_quick_run_measures_ingest_and_the_bare_loop_on_the_same_tracks(
    corpus: Path, tmp_path: Path
) -> None:
    lines = bench(corpus, "--quick", "--peers", "", "--work-dir", tmp_path).splitlines()
    assert lines[0].startswith("4 tracks, 0.03 h, 2 processes, 1 round")
    rows = {line[:12].strip(): line[12:].split() for line in lines[2:4]}
    assert list(rows) == ["bare loop", "ingest"]
    for cells in rows.values():
        seconds, tracks_per_s, times_real_time = map(float, cells[:3])
        assert abs(tracks_per_s - 4 / seconds) < 0.06 + 0.03 * tracks_per_s  # as printed
        assert times_real_time > 1
    assert rows["bare loop"][8] == "1.00×"
    out_mib = {name: float(cells[7]) for name, cells in rows.items()}
    assert 0.5 < out_mib["bare loop"] <= out_mib["ingest"] < out_mib["bare loop"] + 0.3
    assert not list(tmp_path.iterdir())


def test_only_tracks_that_read_to_their_end_are_measured(tmp_path: Path) -> None:
    folder = tmp_path / "audio"
    folder.mkdir()
    sound = np.sin(np.arange(32_000) / 20)
    soundfile.write(folder / "whole.flac", sound, 16_000)
    soundfile.write(folder / "short.wav", sound[:800], 16_000)
    whole = (folder / "whole.flac").read_bytes()
    (folder / "cut.flac").write_bytes(whole[: len(whole) // 2])
    (folder / "readme.txt").write_text("no music")
    hours, count = gather(folder, tmp_path / "tracks", 0, 1)
    assert (hours, count) == (pytest.approx(2 / 3600), 1)
    assert [path.read_bytes() for path in (tmp_path / "tracks").iterdir()] == [whole]


def test_a_peer_that_is_not_there_is_skipped_with_the_way_to_install_it() -> None:
    packer = Packer((), needs="no_such_module", install="no-such-package")
    reason = why_not(packer, dict(os.environ))
    assert "No module named 'no_such_module'" in reason
    assert "pip install --no-deps --target DIR no-such-package" in reason
    assert why_not(Packer((), needs="json"), dict(os.environ)) == ""


def test_every_packer_takes_its_turn_at_every_place() -> None:
    names = ["a", "b", "c"]
    orders = [turned(names, number) for number in range(6)]
    assert all(sorted(order) == names for order in orders)
    assert {order[0] for order in orders} == set(names)


def test_a_run_is_measured_with_its_workers() -> None:
    """A worker that fills 60 MiB and works for a while is seen in memory and processor seconds."""
    worker = "import time; held = b'x' * (60 << 20); t = time.process_time\nwhile t() < 0.5: pass"
    main = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {worker!r}])"
    measured = measure([sys.executable, "-c", main], os.environ, ROOT)
    assert measured.code == 0
    assert 60 < measured.worker_mib < 120
    assert measured.main_mib < 40
    assert measured.sum_mib == pytest.approx(measured.main_mib + measured.worker_mib)
    assert 0.5 < measured.cpu_s < 1.5
    assert measured.seconds > 0.5


def test_a_failing_run_brings_its_words_along() -> None:
    measured = measure([sys.executable, "-c", "import sys; sys.exit('why')"], os.environ, ROOT)
    assert (measured.code, measured.output) == (1, "why\n")
