"""Other people's tars: read where they lie, measured as they will be read, never believed."""

import gzip
import hashlib
import io
import json
import os
import pickle
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ingest.card import CARD
from ingest.cli import main
from ingest.foreign import index_tars
from ingest.labels.add import Options, add_labels
from shards.errors import InputError
from shards.files import read_parquet, sha256_file
from shards.index import Index
from shards.plan import TrainPlan
from shards.reader import read_track, read_window
from shards.stream import stream
from shards.views.pair import AnchorPositive

FORMS = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}
RATE_HZ = 16_000


def audio(
    number: int, *, kind="FLAC", subtype="PCM_16", rate_hz=RATE_HZ, channels=1, seconds=1.0
) -> bytes:
    """A file of noise that is a little different for each number."""
    rng = np.random.default_rng(number)
    samples = rng.normal(0, 0.2, (int(seconds * rate_hz), channels))
    file = io.BytesIO()
    if subtype == "PCM_16":  # soundfile scales float differently for each container
        samples = np.clip(np.rint(samples * 32_768), -32_768, 32_767).astype(np.int16)
    soundfile.write(file, samples, rate_hz, format=kind, subtype=subtype)
    return file.getvalue()


def write_tar(path: Path, members: dict[str, bytes], form: str = "pax") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=FORMS[form]) as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def sound_of(data: bytes) -> np.ndarray:
    """int16 [n] by soundfile alone, for mono of 16 bits."""
    return soundfile.read(io.BytesIO(data), dtype="int16")[0]


def tree(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256_file(path) for path in files}


def index(tars, out, **options):
    return index_tars(tars, out, num_workers=1, **options)


def codes(built) -> dict[str, str]:
    return {row["path"]: row["code"] for row in built.rejected}


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


def test_what_cannot_be_streamed_is_listed_with_what_to_do(tmp_path):
    unending = bytearray(audio(5))
    unending[21] &= 0xF0
    unending[22:26] = bytes(4)
    members = {
        "a.flac": audio(1),
        "b.wav": audio(2, kind="WAV"),
        "c.flac": audio(3, rate_hz=22_050),
        "d.mp3": audio(4, kind="MP3", subtype="MPEG_LAYER_III"),
        "e.ogg": audio(4, kind="OGG", subtype="VORBIS"),
        "f.flac": bytes(unending),
        "g.wav": audio(6, kind="WAV", subtype="IMA_ADPCM"),
        "h.flac": b"",
        "i.flac": b"a shopping list",
        "j.flac": audio(7)[:4_000],
        "k.m4a": b"\0\0\0\x20ftypM4A " + bytes(200),
        "l.wav": audio(8, kind="WAV", seconds=0.01),
    }
    built = index([write_tar(tmp_path / "a.tar", members)], tmp_path / "out")
    assert codes(built) == {
        "../a.tar/c.flac": "needs_repacking",
        "../a.tar/d.mp3": "needs_repacking",
        "../a.tar/e.ogg": "needs_repacking",
        "../a.tar/f.flac": "needs_repacking",
        "../a.tar/g.wav": "needs_repacking",
        "../a.tar/h.flac": "empty",
        "../a.tar/i.flac": "not_audio",
        "../a.tar/j.flac": "corrupt",
        "../a.tar/k.m4a": "needs_repacking",
        "../a.tar/l.wav": "too_short",
    }
    assert len(Index.open(tmp_path / "out")) == 2
    for row in built.rejected:
        if row["code"] == "needs_repacking":
            assert "`ingest build-shards`" in row["message"]


def test_the_rate_that_most_tracks_have_is_the_archives_unless_told(tmp_path):
    rates = {f"{i}.flac": audio(i, rate_hz=rate) for i, rate in enumerate([8_000, 22_050, 22_050])}
    tar = write_tar(tmp_path / "a.tar", rates)
    assert index([tar], tmp_path / "most").manifest["sample_rate"] == 22_050
    told = index([tar], tmp_path / "told", sample_rate=8_000).manifest
    assert (told["sample_rate"], told["tracks"], told["rejected"]) == (8_000, 1, 2)


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
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["foreign"]
    (out / "manifest.json").write_text(json.dumps(manifest))
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
    tar = write_tar(tmp_path / "a.tar", {"x.flac": audio(1), "y.mp3": audio(2, rate_hz=8_000)})
    assert main(["index", str(tar), "--out", str(tmp_path / "out"), "--num-workers", "1"]) == 3
    said = capsys.readouterr().out
    assert "1 tracks" in said
    assert "needs_repacking: 1" in said


# Hostile tars: nothing is written anywhere but into the output folder, nothing but audio is opened.


def header(name: str, size: int, kind: bytes = b"0", link: str = "") -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = size, kind, link
    return member.tobuf(tarfile.GNU_FORMAT)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def pax(records: dict[str, str], kind: bytes = b"x") -> bytes:
    """An extended header with these records."""
    lines = b""
    for name, value in records.items():
        body = f" {name}={value}\n".encode()
        length = len(body) + len(str(len(body) + 3))
        lines += str(length).encode() + body
    return header("pax", len(lines), kind) + padded(lines)


GOOD = audio(1, seconds=0.5)
FILE = header("good.flac", len(GOOD)) + padded(GOOD)
END = bytes(1_024)

HOSTILE_MEMBERS = {
    "traversal": (header("../../escape.flac", len(GOOD)) + padded(GOOD), "unsafe_name"),
    "absolute": (header("/escape.flac", len(GOOD)) + padded(GOOD), "unsafe_name"),
    "symbolic link": (header("link.flac", 0, b"2", "/etc/passwd"), "not_a_file"),
    "hard link": (header("link.wav", 0, b"1", "good.flac"), "not_a_file"),
    "character device": (header("dev.wav", 0, b"3"), "not_a_file"),
    "block device": (header("dev.flac", 0, b"4"), "not_a_file"),
    "pipe": (header("pipe.flac", 0, b"6"), "not_a_file"),
    "duplicate name": (FILE, "duplicate_name"),
    "pax path": (
        pax({"path": "../escape.flac"}) + header("x.flac", len(GOOD)) + padded(GOOD),
        "unsafe_name",
    ),
}

HOSTILE_TARS = {
    "gzip": (gzip.compress(FILE + END), "compressed"),
    "text": (b"this is no tar" * 100, "not_a_tar"),
    "sparse": (FILE + header("s.flac", 512, b"S") + bytes(512) + END, "damaged"),
    "pax sparse": (
        FILE + pax({"GNU.sparse.size": "99999999"}) + header("s.wav", 512) + bytes(512) + END,
        "damaged",
    ),
    "pax size that differs": (FILE + pax({"size": "9"}) + FILE + END, "damaged"),
    "pax that does not add up": (
        FILE + header("pax", 512, b"x") + b"99999 path=x\n".ljust(512, b"\0") + FILE + END,
        "damaged",
    ),
    "pax for all members": (pax({"path": "one.flac"}, b"g") + FILE + END, "damaged"),
    "header of a gibibyte": (header("pax", 1 << 30, b"x") + FILE + END, "damaged"),
    "more bytes than there are": (FILE + header("x.flac", 1 << 40) + GOOD + END, "damaged"),
    "flipped header": (FILE + FILE.replace(b"good", b"gooe", 1) + END, "damaged"),
    "cut between members": (FILE, "truncated"),
    "cut in a member": (FILE[:-600], "damaged"),
    "cut in a header": (FILE + FILE[:100], "truncated"),
    "hidden behind the end": (FILE + END + FILE + END, "damaged"),
    "unknown type": (FILE + header("x.flac", 0, b"Z") + END, "damaged"),
    "link with content": (header("x.flac", 512, b"1", "y") + bytes(512) + END, "damaged"),
    "announced and not there": (FILE + pax({"path": "x.flac"}) + END, "damaged"),
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """All of them in one archive with a tar that is fine; what lies around it, before and after."""
    folder = tmp_path_factory.mktemp("hostile")
    write_tar(folder / "in/fine.tar", {"fine.flac": audio(2, seconds=0.5)})
    for name, (bad, _) in HOSTILE_MEMBERS.items():
        (folder / f"in/{name}.tar").write_bytes(FILE + bad + END)
    for name, (data, _) in HOSTILE_TARS.items():
        (folder / f"in/{name}.tar").write_bytes(data)
    before = tree(folder)
    built = index(sorted((folder / "in").iterdir()), folder / "out")
    after = {name: sha256 for name, sha256 in tree(folder).items() if not name.startswith("out/")}
    return built, before, after


def test_hostile_tars_write_nothing_outside_the_output(hostile):
    built, before, after = hostile
    assert after == before
    assert not Path("/escape.flac").exists()
    assert built.manifest["tracks"] == 1 + len(HOSTILE_MEMBERS)
    assert len(built.rejected) == len(HOSTILE_MEMBERS) + len(HOSTILE_TARS)


@pytest.mark.parametrize("name", HOSTILE_MEMBERS)
def test_a_hostile_member_is_refused_and_the_others_are_kept(hostile, name):
    built, _, _ = hostile
    rows = [row for row in built.rejected if row["path"].startswith(f"../in/{name}.tar")]
    assert [row["code"] for row in rows] == [HOSTILE_MEMBERS[name][1]]
    assert f"../in/{name}.tar/good.flac" in Index.open(built.out).column("source")


@pytest.mark.parametrize("name", HOSTILE_TARS)
def test_a_hostile_tar_is_refused_whole_and_named_with_the_place(hostile, name):
    built, _, _ = hostile
    row = next(row for row in built.rejected if row["path"] == f"../in/{name}.tar")
    code = HOSTILE_TARS[name][1]
    assert row["code"] == code
    if code in ("damaged", "truncated"):
        assert re.search(r"\b(at|byte) \d+", row["message"])


@pytest.fixture
def sandbox(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path


def test_members_that_are_code_are_counted_and_never_loaded(sandbox):
    class Touch:
        def __reduce__(self):
            return (Path.touch, (sandbox / "executed",))

    code = pickle.dumps(Touch())
    names = ("pyd", "pkl", "pickle", "pth", "pt", "npy", "npz", "cbor", "ten")
    members = {f"s.{ending}": code for ending in names} | {"s.flac": GOOD}
    tar = write_tar(sandbox / "in/1.tar", members)
    built = index([tar], sandbox / "out")
    assert built.manifest["others"] == len(names)
    found = Index.open(sandbox / "out")
    np.testing.assert_array_equal(read_track(found, 0), sound_of(GOOD))
    assert not (sandbox / "executed").exists()


def test_hostile_names_stay_text(sandbox):
    names = [
        "-rf.flac",
        "a\x1b[31m.flac",
        "b\nc.flac",
        "<script>.flac",
        "\u202e.flac",
        "pipe:x.wav",
    ]
    kinds = {name: "WAV" if name.endswith("wav") else "FLAC" for name in names}
    members = {name: audio(i, kind=kinds[name]) for i, name in enumerate(names)}
    built = index([write_tar(sandbox / "in/1.tar", members)], sandbox / "out")
    assert built.rejected == []
    found = Index.open(sandbox / "out")
    assert all(str(source).isprintable() for source in found.column("source"))
    for row in range(len(found)):
        read_track(found, row)


def test_a_tar_without_audio_says_so(sandbox):
    tar = write_tar(sandbox / "in/1.tar", {"a.txt": b"words"})
    with pytest.raises(InputError, match="No FLAC or WAV in 1 tars"):
        index([tar], sandbox / "out")


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


def test_the_rejected_are_in_a_table_as_in_any_archive(sandbox):
    write_tar(sandbox / "in/1.tar", {"a.flac": GOOD, "b.mp3": b"no music"})
    built = index([sandbox / "in/1.tar"], sandbox / "out")
    assert codes(built) == {"../in/1.tar/b.mp3": "not_audio"}
    assert read_parquet(sandbox / "out/rejected.parquet").to_pylist() == built.rejected
