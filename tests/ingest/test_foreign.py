"""Other people's tars: read where they lie, measured as they will be read, never believed."""

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ingest.card import CARD
from ingest.cli import main
from ingest.labels.add import Options, add_labels
from ingest.sniff import is_installed
from shards.errors import InputError
from shards.index import Index
from shards.plan import TrainPlan
from shards.reader import read_track, read_window
from shards.sealed import read_sealed, write_sealed
from shards.stream import stream
from shards.views.pair import AnchorPositive
from tests.ingest.tars import FORMS, audio, codes, index, sound_of, tree, write_tar


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> list[Path]:
    """A tar of each form, with names that are long, not ASCII, in folders."""
    folder = tmp_path_factory.mktemp("three")
    tars = []
    for number, form in enumerate(FORMS):
        names = [f"sub/{number}-{i}.flac" for i in range(2)] + [f"{'n' * 60}/{'long' * 20}.wav"]
        if form != "ustar":
            names.append(f"{'Köln-' * 30}.flac")
        members = {}
        for i, name in enumerate(names):
            kind = "WAV" if name.endswith("wav") else "FLAC"
            members[name] = audio(10 * number + i, kind=kind, seconds=0.2 + i / 10)
            members[name.rpartition(".")[0] + ".json"] = b'{"label": 3}'
        tars.append(write_tar(folder / f"{form}.tar", members, form))
    return tars


def payloads(tars) -> dict[str, bytes]:
    """Name of the tar and of the member → bytes of each audio file, by tarfile."""
    found = {}
    for path in tars:
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(("flac", "wav")):
                    found[f"{path.name}/{member.name}"] = tar.extractfile(member).read()
    return found


def test_tars_of_every_form_read_back_sample_by_sample(three, tmp_path):
    built = index(three, tmp_path / "out")
    found = Index.open(tmp_path / "out")
    wanted = payloads(three)
    assert built.rejected == []
    assert len(found) == len(wanted) == 11
    assert built.manifest["others"] == 11
    assert built.manifest["codec"] == "flac, wav"
    for row in range(len(found)):
        track = found[row]
        data = wanted.pop(track.source.split("/three0/")[1])
        np.testing.assert_array_equal(read_track(found, row), sound_of(data))
        np.testing.assert_array_equal(read_window(found, row, 700, 900), sound_of(data)[700:1_600])
        assert track.shard.read_bytes()[track.offset : track.offset + track.size] == data
        assert found.column("source_sha256")[row] == hashlib.sha256(data).hexdigest()
    assert not wanted


def test_a_webdataset_shard_trains(tmp_path):
    from webdataset.writer import ShardWriter

    (tmp_path / "wds").mkdir()
    with ShardWriter(str(tmp_path / "wds/%06d.tar"), maxcount=3, verbose=0) as writer:
        for number in range(6):
            flac = audio(number, seconds=6.0)
            writer.write({"__key__": f"{number:03d}", "flac": flac, "cls": number % 2})
    tars = sorted((tmp_path / "wds").glob("*.tar"))
    index(tars, tmp_path / "out")
    found = Index.open(tmp_path / "out")
    assert len(found) == 6
    view = AnchorPositive(clip_s=1.0, min_gap_s=1.0, max_gap_s=3.0)
    plan = TrainPlan(found, view, seed=1)
    batch = next(iter(stream(plan, batch_size=4)))
    assert batch.valid.all()
    for i in range(4):
        for v in range(2):
            start, frames = int(batch.start[i, v]), int(batch.frames[i, v])
            track = read_track(found, int(batch.row[i]))
            np.testing.assert_array_equal(batch.clips[i, v, :frames], track[start : start + frames])


ENCODINGS = [
    ("FLAC", "PCM_16", 2),
    ("FLAC", "PCM_24", 1),
    ("FLAC", "PCM_S8", 3),
    ("WAV", "PCM_U8", 1),
    ("WAV", "PCM_24", 2),
    ("WAV", "FLOAT", 1),
    ("WAV", "DOUBLE", 2),
    ("WAV", "ULAW", 1),
    ("WAVEX", "PCM_32", 5),
]


def test_what_was_measured_is_what_is_read_in_every_encoding(tmp_path):
    members = {
        f"{i}.{'flac' if kind == 'FLAC' else 'wav'}": audio(
            i, kind=kind, subtype=subtype, channels=channels, seconds=3.0
        )
        for i, (kind, subtype, channels) in enumerate(ENCODINGS)
    }
    built = index([write_tar(tmp_path / "a.tar", members)], tmp_path / "out")
    assert built.rejected == []
    found = Index.open(tmp_path / "out")
    for row in range(len(found)):
        data = members[found[row].source.removeprefix("../a.tar/")]
        samples = read_track(found, row)
        assert hashlib.sha256(samples.tobytes()).hexdigest() == found.column("pcm_sha256")[row]
        wanted, _ = soundfile.read(io.BytesIO(data), always_2d=True)
        mixed = np.clip(wanted.mean(axis=1) * 32_768, -32_768, 32_767)
        assert np.abs(samples - mixed).max() <= 0.51
        assert found[row].channels == wanted.shape[1]
        window = read_window(found, row, 20_000, 9_000)
        np.testing.assert_array_equal(window, samples[20_000:29_000])


def test_what_is_no_track_is_listed_with_its_reason(tmp_path):
    members = {
        "a.flac": audio(1),
        "h.flac": b"",
        "i.flac": b"a shopping list",
        "j.flac": audio(7)[:4_000],
        "k.m4a": b"\0\0\0\x20ftypM4A " + bytes(200),
        "l.wav": audio(8, kind="WAV", seconds=0.01),
    }
    built = index([write_tar(tmp_path / "a.tar", members)], tmp_path / "out")
    assert codes(built) == {
        "../a.tar/h.flac": "empty",
        "../a.tar/i.flac": "not_audio",
        "../a.tar/j.flac": "corrupt",
        "../a.tar/k.m4a": "corrupt" if is_installed() else "unsupported",
        "../a.tar/l.wav": "too_short",
    }
    assert len(Index.open(tmp_path / "out")) == 1


def test_copies_are_found_across_tars(tmp_path):
    tars = [
        write_tar(tmp_path / "a/0.tar", {"x.flac": audio(1), "y.flac": audio(2)}),
        write_tar(tmp_path / "b/0.tar", {"x.wav": audio(1, kind="WAV")}),
    ]
    index(tars, tmp_path / "out")
    found = Index.open(tmp_path / "out")
    assert sum(bool(key) for key in found.column("duplicate_of")) == 1
    assert len(set(found.column("key"))) == 3


def test_labels_and_card_work_as_in_any_archive(three, tmp_path):
    index(three, tmp_path / "out")
    names = [f"{n}-{i}.flac" for n in range(3) for i in range(2)]
    lines = [f"{name},{['calm', 'wild'][i % 2]}" for i, name in enumerate(names)]
    (tmp_path / "moods.csv").write_text("\n".join(["file,mood", *lines]))
    list(add_labels(tmp_path / "out", tmp_path / "moods.csv", Options(column="mood")))
    page = (tmp_path / "out" / CARD).read_text()
    assert "| mood | class | 2 |" in page
    assert "| sources | 8 flac, 3 wav |" in page
    assert "configs:" not in page


def test_a_finished_index_run_again_writes_nothing(three, tmp_path):
    index(three, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    again = index(reversed(three), tmp_path / "out")
    assert again.new_tracks == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_any_lost_part_comes_back_with_the_same_bytes(three, tmp_path):
    out = tmp_path / "out"
    index(three, out)
    wanted = tree(out)
    for lost in sorted(set(wanted) - {".lock"}):
        (out / lost).unlink()
        index(three, out)
        assert tree(out) == wanted, lost


def test_only_tars_that_changed_are_measured_again(tmp_path):
    tars = [write_tar(tmp_path / f"{n}.tar", {"x.flac": audio(n)}) for n in (1, 3)]
    out = tmp_path / "out"
    index(tars, out)
    write_tar(tars[0], {"x.flac": audio(1), "y.flac": audio(9)})
    changed = index(tars, out)
    assert (changed.new_tracks, changed.manifest["tracks"]) == (2, 3)
    between = write_tar(tmp_path / "2.tar", {"x.flac": audio(2)})
    added = index([*tars, between], out)
    assert (added.new_tracks, added.manifest["tracks"]) == (1, 4)
    fewer = index(tars, out)
    assert (fewer.new_tracks, fewer.manifest["tracks"]) == (0, 3)
    fresh = tree(index(tars, tmp_path / "fresh").out)
    assert tree(out) == fresh
    found = Index.open(out)
    for row in range(3):
        read_track(found, row)


def test_a_tar_that_is_gone_or_cut_is_noticed_on_opening(tmp_path):
    tar = write_tar(tmp_path / "a.tar", {"x.flac": audio(1)})
    index([tar], tmp_path / "out")
    os.truncate(tar, 2_048)
    with pytest.raises(InputError, match=r"a\.tar has 2048 bytes"):
        Index.open(tmp_path / "out")
    with pytest.raises(InputError, match="no such files"):
        index([tmp_path / "b.tar"], tmp_path / "out")


def test_only_an_archive_that_says_so_may_name_tars_outside(tmp_path):
    out = index([write_tar(tmp_path / "a.tar", {"x.flac": audio(1)})], tmp_path / "out").out
    manifest = read_sealed(out / "manifest.json")
    del manifest["foreign"]
    write_sealed(out / "manifest.json", manifest)
    with pytest.raises(InputError, match="names a shard outside"):
        Index.open(out)


def test_an_archive_of_build_shards_is_not_written_into(own, three):
    before = tree(own.out)
    with pytest.raises(InputError, match="archive of its own"):
        index(three, own.out)
    assert tree(own.out) == before


def test_tars_below_the_output_make_a_folder_that_can_move(tmp_path):
    write_tar(tmp_path / "old/data/a.tar", {"x.flac": audio(1)})
    index([tmp_path / "old/data/a.tar"], tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")
    found = Index.open(tmp_path / "new")
    np.testing.assert_array_equal(read_track(found, 0), sound_of(audio(1)))


def test_the_command_lists_what_it_left_out_and_ends_with_3(tmp_path, capsys):
    tar = write_tar(tmp_path / "a.tar", {"x.flac": audio(1), "y.mp3": b"words"})
    assert main(["index", str(tar), "--out", str(tmp_path / "out"), "--num-workers", "1"]) == 3
    said = capsys.readouterr().out
    assert "1 of them measured now" in said
    assert "not_audio: 1" in said
    assert "slow" not in said


def test_a_tar_without_audio_says_so(tmp_path):
    tar = write_tar(tmp_path / "in/1.tar", {"a.txt": b"words"})
    with pytest.raises(InputError, match="No audio in 1 tars"):
        index([tar], tmp_path / "out")


def test_an_interrupted_index_measures_only_the_rest(three, tmp_path, monkeypatch):
    out = tmp_path / "out"
    import ingest.foreign

    written = []

    def failing(path, value):
        if len(written) == 1:
            raise KeyboardInterrupt
        written.append(path)
        write(path, value)

    write = ingest.foreign.write_sealed
    monkeypatch.setattr("ingest.foreign.write_sealed", failing)
    with pytest.raises(KeyboardInterrupt):
        index(three, out)
    (out / "receipts/.tmp-0123").write_text("half a receipt")
    assert not (out / "manifest.json").exists()
    monkeypatch.undo()
    done = len(json.loads(written[0].read_text())["rows"])
    assert index(three, out).new_tracks == 11 - done
    assert tree(out) == tree(index(three, tmp_path / "whole").out)
