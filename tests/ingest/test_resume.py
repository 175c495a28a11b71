"""An interrupted build goes on where it stopped and ends with the bytes of an undisturbed one."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ingest.build import build_shards
from ingest.settings import Settings
from shards.errors import InputError
from shards.files import sha256_file

ROOT = Path(__file__).parents[2]


def tree(folder: Path) -> dict[str, str]:
    """Relative path → hash of every file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256_file(path) for path in files}


@pytest.mark.parametrize(
    "lost",
    [
        ["manifest.json"],
        ["data/shard-000001.tar"],
        ["receipts/shard-000000.json", "manifest.json"],
        ["index.parquet"],
    ],
    ids=lambda names: "+".join(names),
)
def test_what_was_lost_is_built_again_with_the_same_bytes(
    lost, corpus, built, tmp_path, small_shards
):
    out = tmp_path / "out"
    shutil.copytree(built.out, out)
    for name in lost:
        (out / name).unlink()
    (out / "data/.tmp-0123456789abcdef").write_bytes(b"half a shard")
    again = build_shards(corpus.folder, out, settings=small_shards, num_workers=2)
    assert tree(out) == tree(built.out)
    assert again.new_tracks < again.manifest["tracks"]


def wait_for_no_workers(parent: int) -> None:
    """The death of a build ends its decoders, which carry its process number as an argument."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        lines = [path.read_bytes() for path in processes()]
        if not any(b"ingest.worker" in line and str(parent).encode() in line for line in lines):
            return
        time.sleep(0.02)
    pytest.fail("decoders outlive the build")


def processes() -> list[Path]:
    """Command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            path.read_bytes()
        except OSError:
            continue
        found.append(path)
    return found


def test_other_settings_in_the_same_folder_are_refused(corpus, built):
    with pytest.raises(InputError, match=r"sample_rate 16000, asked 22050"):
        build_shards(corpus.folder, built.out, settings=Settings(sample_rate=22_050))


def test_another_folder_of_music_is_not_taken_for_the_same(corpus, built, tmp_path, small_shards):
    shutil.copytree(built.out, tmp_path / "out")
    (tmp_path / "music").mkdir()
    for i, path in enumerate(sorted(corpus.folder.rglob("*.wav"))):
        shutil.copy(path, tmp_path / "music" / f"other{i}.wav")
    for finished in (True, False):
        if not finished:
            (tmp_path / "out" / "manifest.json").unlink()
        with pytest.raises(InputError, match="begun from a folder of which only 0 of"):
            build_shards(tmp_path / "music", tmp_path / "out", settings=small_shards)


def test_sources_that_vanish_before_a_resume_do_not_become_an_empty_archive(
    corpus, tmp_path, built, small_shards
):
    shutil.copytree(built.out, tmp_path / "out")
    (tmp_path / "out/manifest.json").unlink()
    (tmp_path / "unmounted").mkdir()
    with pytest.raises(InputError, match="No audio"):
        build_shards(tmp_path / "unmounted", tmp_path / "out", settings=small_shards)


def test_sigterm_ends_a_build_with_its_number_and_no_orphans(corpus, tmp_path):
    command = [sys.executable, "-m", "ingest", "build-shards", str(corpus.folder)]
    out = tmp_path / "out"
    process = subprocess.Popen([*command, "--out", str(out)], cwd=ROOT, stderr=subprocess.DEVNULL)
    while not (out / "plan.json").exists():
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    wait_for_no_workers(process.pid)
