"""Tars that lie: nothing is written but into the output folder, nothing but audio is opened."""

import gzip
import pickle
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest

from shards.index import Index
from shards.reader import read_track
from tests.ingest.tars import audio, index, sound_of, tree, write_tar


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
