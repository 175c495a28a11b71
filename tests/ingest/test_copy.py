"""--codec copy: shards of original bytes that resume, grow, verify and repair as those of FLAC."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest

from ingest.build import Built, build_shards
from ingest.card import CARD
from ingest.cli import main
from ingest.pool import Decoded, Pool
from ingest.repair import Options, repair_archive
from ingest.scan import Source, scan
from ingest.settings import Settings
from ingest.verify import verify_archive
from shards.index import Index
from shards.reader import read_track, read_window
from tests.ingest.tars import tree

ROOT = Path(__file__).parents[2]
COPY = Settings(codec="copy", shard_mib=0.3, licence="CC0-1.0")


@pytest.fixture(scope="module")
def copies(corpus, tmp_path_factory) -> Built:
    out = tmp_path_factory.mktemp("copies") / "out"
    return build_shards(corpus.folder, out, settings=COPY, num_workers=2)


@pytest.fixture
def mine(copies, tmp_path) -> Path:
    return Path(shutil.copytree(copies.out, tmp_path / "out"))


def members(out: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted((out / "data").glob("*.tar")):
        with tarfile.open(path) as tar:
            found |= {member.name: tar.extractfile(member).read() for member in tar}
    return found


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def test_payload_is_the_sources_bytes_under_the_suffix_of_their_kind(copies, corpus):
    index, found = Index.open(copies.out), members(copies.out)
    assert len(index) == len(corpus.good)
    assert len(index.shards) > 2
    sources = {source.key: source for source in scan(corpus.folder).sources}
    for row in range(len(index)):
        track = index[row]
        raw = sources[track.key].raw
        data = (corpus.folder / os.fsdecode(raw)).read_bytes()
        assert found[f"{track.key}.{track.codec.removeprefix('raw-')}"] == data
        assert track.shard.read_bytes()[track.offset : track.offset + track.size] == data
        assert hashlib.sha256(data).hexdigest() == index.column("source_sha256")[row]
        assert json.loads(found[f"{track.key}.json"])["codec"] == track.codec
        assert track.channels == json.loads(found[f"{track.key}.json"])["source_channels"]
    assert not (copies.out / "seek").is_dir() or not list((copies.out / "seek").iterdir())


def test_tracks_and_facts_are_those_of_a_packed_archive(copies, built):
    ours, theirs = Index.open(copies.out), Index.open(built.out)
    assert ours.fingerprint == theirs.fingerprint
    for name in set(ours.table.column_names) - {"shard", "offset", "size", "seek", "codec"}:
        if name != "channels":
            assert ours.table[name] == theirs.table[name], name
    assert set(ours.column("codec")) == {"raw-flac", "wav", "mp3", "ogg", "aiff"}
    assert [row["code"] for row in copies.rejected] == [row["code"] for row in built.rejected]
    for row in range(len(ours)):
        np.testing.assert_array_equal(read_track(ours, row), read_track(theirs, row))
        window = read_window(theirs, row, 3_000, 5_000)
        np.testing.assert_array_equal(read_window(ours, row, 3_000, 5_000), window)


@pytest.mark.parametrize(
    "lost", ["manifest.json", "data/shard-000001.tar", "receipts/shard-000000.json"]
)
def test_what_was_lost_is_built_again_with_the_same_bytes(lost, mine, corpus, copies):
    (mine / lost).unlink()
    again = build_shards(corpus.folder, mine, settings=COPY, num_workers=1)
    assert again.new_tracks < again.manifest["tracks"]
    assert tree(mine) == tree(copies.out)


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_bytes(corpus, copies, tmp_path):
    out, rng, killed = tmp_path / "out", random.Random(3), 0
    command = [sys.executable, "-m", "ingest", "build-shards", str(corpus.folder)]
    command += ["--out", str(out), "--codec", "copy", "--shard-mib", "0.3", "--licence", "CC0-1.0"]
    begun = time.monotonic()
    subprocess.run(command, cwd=ROOT, capture_output=True)
    full_s = time.monotonic() - begun
    while killed < 10:
        shutil.rmtree(out)
        with subprocess.Popen(command, cwd=ROOT, stdout=PIPE, stderr=PIPE) as build:
            time.sleep(rng.uniform(0.3, 1.0) * full_s)
            build.kill()
            build.communicate()
            killed += build.returncode == -signal.SIGKILL
        assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 3
        assert tree(out) == tree(copies.out)


def test_it_grows_and_what_was_copied_stays(tmp_path, make_chord):
    for number in range(3):
        make_chord(tmp_path / f"in/{number}.ogg", number)
    build_shards(tmp_path / "in", tmp_path / "out", settings=COPY, num_workers=1)
    before = tree(tmp_path / "out")
    make_chord(tmp_path / "in/new.mp3", 4)
    again = build_shards(tmp_path / "in", tmp_path / "out", settings=COPY, num_workers=1)
    assert (again.new_tracks, again.manifest["sandboxed"]) == (1, 4)
    del before["manifest.json"], before["README.md"]
    assert before.items() <= tree(tmp_path / "out").items()
    assert verify_archive(tmp_path / "out", level="decode").faults == []


def test_a_whole_archive_has_no_faults_down_to_the_samples(copies):
    report = verify_archive(copies.out, level="decode")
    assert report.faults == []
    assert report.decoded_tracks == copies.manifest["tracks"]


def test_any_flipped_bit_is_found_named_and_repaired(mine, corpus, copies):
    """An mp3 with a flipped bit often decodes, to other samples: the hash of the file tells."""
    index = Index.open(mine)
    for codec in ("mp3", "ogg", "wav", "raw-flac"):
        track = index[list(index.column("codec")).index(codec)]
        flip(track.shard, track.offset + track.size // 2)
    damaged = {path for path in (mine / "data").iterdir() if not same(path, copies.out)}
    faults = verify_archive(mine).damaged
    assert {mine / fault.file for fault in faults} == damaged
    said = " ".join(fault.why for fault in faults)
    assert said.count("has other bytes than its source") == 4
    repaired = repair_archive(mine, corpus.folder, Options())
    assert repaired.left == []
    assert not repaired.changed
    assert tree(mine) == tree(copies.out)


def test_a_lost_receipt_is_made_again_of_tables_and_tar(mine, corpus, copies):
    (mine / "receipts/shard-000001.json").unlink()
    assert repair_archive(mine, corpus.folder, Options()).left == []
    assert tree(mine) == tree(copies.out)


def same(path: Path, out: Path) -> bool:
    return path.read_bytes() == (out / "data" / path.name).read_bytes()


def test_whole_copies_of_a_damaged_shard_need_no_sources(mine, corpus, copies, tmp_path):
    index = Index.open(mine)
    track = index[list(index.column("codec")).index("mp3")]
    flip(track.shard, track.offset + track.size // 2)
    source = next(s for s in scan(corpus.folder).sources if s.key == track.key)
    only = tmp_path / "only" / os.fsdecode(source.raw)
    only.parent.mkdir(parents=True)
    shutil.copy2(corpus.folder / os.fsdecode(source.raw), only)
    assert repair_archive(mine, tmp_path / "only", Options()).left == []
    assert tree(mine) == tree(copies.out)


def test_decoding_finds_what_decodes_otherwise_here(mine, copies, monkeypatch):
    """As if another version of a decoder were at work."""
    monkeypatch.setattr("ingest.contents.WholeTrack", Otherwise)
    assert verify_archive(mine).faults == []
    faults = verify_archive(mine, level="decode").faults
    assert "decodes to other samples here than where it was packed" in faults[0].why


class Otherwise:
    def __init__(self, original):
        self.frames = original.frames

    def read(self, start, frames):
        return np.zeros(frames, np.int16)


class Swapped:
    """Inputs whose file is another one when it is copied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, source: Source) -> int:
        return os.open(self.folder / source.raw.decode(), os.O_RDWR)

    def is_still(self, source: Source, fd: int) -> bool:
        return True


def test_a_source_that_changes_behind_its_decoder_is_not_packed(tmp_path, make_chord, monkeypatch):
    make_chord(tmp_path / "in/a.wav", 0)
    (source,) = scan(tmp_path / "in").sources
    real = Pool._ask

    def ask(self, source, fd):
        outcome = real(self, source, fd)
        os.pwrite(fd, b"other", 100)
        return outcome

    for change, wanted in ((False, Decoded), (True, "changed")):
        with Pool(Swapped(tmp_path / "in"), tmp_path, COPY, num_workers=1) as pool:
            if change:
                monkeypatch.setattr(Pool, "_ask", ask)
            (outcome,) = pool.decode([source])
        if isinstance(outcome, Decoded):
            outcome.payload.close()
            assert wanted is Decoded
        else:
            assert outcome.code == wanted


def test_summary_info_and_card_say_what_it_is_and_that_it_is_slow(copies, corpus, capsys):
    slow = Index.open(copies.out).sandboxed.sum()
    says = f"slow: {slow} of 15 tracks are decoded by a sandboxed decoder at each visit"
    command = ["build-shards", str(corpus.folder), "--out", str(copies.out), "--codec", "copy"]
    assert main([*command, "--shard-mib", "0.3", "--licence", "CC0-1.0"]) == 3
    assert says in capsys.readouterr().out
    assert main(["info", str(copies.out)]) == 0
    told = capsys.readouterr().out
    assert says in told
    assert "MiB of original files at 16000 Hz" in told
    assert main(["info", str(copies.out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sandboxed"] == slow
    page = (copies.out / CARD).read_text()
    assert "| codec | original files |" in page
    assert f"| decoded at each visit | {slow} |" in page
    assert "lies in the\nshards as it was" in page


@pytest.mark.filterwarnings(  # closing tars are left to the collector
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_webdataset_and_hugging_face_read_the_originals(copies, tmp_path, monkeypatch):
    import webdataset

    index = Index.open(copies.out)
    rows = {index[row].key: index[row] for row in range(len(index))}
    last = f"{len(index.shards) - 1:06d}"
    url = f"{copies.out}/data/shard-{{000000..{last}}}.tar"
    found = list(webdataset.WebDataset(url, shardshuffle=False))
    for sample in found:
        track = rows.pop(sample["__key__"])
        assert len(sample[track.codec.removeprefix("raw-")]) == track.size
    assert not rows
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    import datasets

    loaded = datasets.load_dataset(str(copies.out), split="train", cache_dir=str(tmp_path))
    for row in loaded:
        track = index[index.row_of_key[row["__key__"]]]
        payloads = {name: row[name] for name in ("aiff", "flac", "mp3", "ogg", "wav")}
        name = track.codec.removeprefix("raw-")
        assert len(payloads.pop(name)) == track.size
        assert not any(payloads.values())
