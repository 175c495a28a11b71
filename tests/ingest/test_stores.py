"""Every command does in an object store what it does in a folder, with few requests."""

import io
import json
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ingest.build import build_shards
from ingest.cli import main
from ingest.labels.add import Options as LabelOptions
from ingest.labels.add import add_labels
from ingest.repair import Options, repair_archive
from ingest.settings import Settings
from ingest.verify import LEVELS, verify_archive
from shards.errors import InputError, StoreError
from shards.files import publish, sha256_file
from shards.index import Index
from shards.place import Place, Remote, listed, place, size_of
from tests.ingest.stores import Store, no_fault, tree, upload

ROOT = Path(__file__).parents[2]
SETTINGS = Settings(shard_mib=0.03)
FILES = (
    *("data/shard-000000.tar", "receipts/shard-000001.json", "seek/shard-000000.npy"),
    *("index.parquet", "fingerprints.parquet", "plan.parquet", "plan-000001.json"),
    *("manifest.json", "labels/mood.parquet", "labels/mood.json"),
)


@dataclass(frozen=True)
class Case:
    """An archive of two generations with labels, and everything that it came from."""

    music: Place
    out: Place
    labels: Place

    def repair(self, **options):
        return repair_archive(self.out, self.music, Options(labels=(self.labels,), **options))


@pytest.fixture(scope="module")
def grown(tmp_path_factory, make_chord) -> Case:
    root = tmp_path_factory.mktemp("grown")
    music, labels = root / "in", root / "mood.csv"
    for number in range(6):
        make_chord(music / f"{number}.{'flac' if number % 2 else 'wav'}", number)
    (music / "text.mp3").write_text("no music")
    build_shards(music, root / "out", settings=SETTINGS, num_workers=1)
    make_chord(music / "new/6.wav", 6)
    build_shards(music, root / "out", settings=SETTINGS, num_workers=1)
    sources = Index.open(root / "out").column("source")
    rows = [f"{source},{'ab'[i % 2]}" for i, source in enumerate(sources)]
    labels.write_text("\n".join(["path,mood", *rows]))
    list(add_labels(root / "out", labels, LabelOptions(column="mood")))
    return Case(music, root / "out", labels)


@pytest.fixture
def here(grown, tmp_path) -> Case:
    shutil.copytree(grown.music, tmp_path / "in")
    shutil.copytree(grown.out, tmp_path / "out")
    shutil.copy(grown.labels, tmp_path / "mood.csv")
    return Case(tmp_path / "in", tmp_path / "out", tmp_path / "mood.csv")


def uploaded(grown: Case, bucket: str, store: Store) -> Case:
    case = Case(*(place(f"{bucket}/{name}?{store}") for name in ("in", "out", "mood.csv")))
    upload(grown.music, case.music)
    upload(grown.out, case.out)
    publish(case.labels, grown.labels.read_bytes())
    return case


@pytest.fixture
def there(grown, bucket, store) -> Case:
    return uploaded(grown, bucket, store)


@pytest.fixture(scope="module")
def whole(grown, store) -> Case:
    """One that is only read."""
    return uploaded(grown, store.new_bucket("whole"), store)


@pytest.fixture(params=["folder", "store"])
def case(request, here) -> Case:
    """The sources lie in a folder: a plan comes back only with the times that they had."""
    if request.param == "folder":
        return here
    return replace(request.getfixturevalue("there"), music=here.music)


def miss(file: Place) -> None:
    file.unlink()


def cut(file: Place) -> None:
    data = file.read_bytes()
    publish(file, data[: len(data) // 2])


def flip(file: Place) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    publish(file, bytes(data))


HARMS = (miss, cut, flip)


def check_harm(case: Case, harms: list[tuple]) -> None:
    """Each is found, named with what to type, and undone."""
    before = tree(case.out)
    for name, harm in harms:
        harm(case.out / name)
        (fault,) = verify_archive(case.out).faults
        assert fault.file == name
        assert f"ingest repair {address(case.out)} AUDIO_DIR" in fault.remedy
        done = case.repair()
        assert (done.restored, done.left) == ([name], []), harm
        assert tree(case.out) == before


def address(out: Place) -> str:
    return f"'{out.uri}'" if isinstance(out, Remote) else str(out)


def test_what_is_missing_cut_or_flipped_is_found_and_brought_back(case):
    check_harm(case, [(FILES[1], miss), (FILES[8], cut), (FILES[7], flip)])


@pytest.mark.slow
@pytest.mark.parametrize("harm", HARMS)
def test_any_harm_to_any_file_is_found_and_brought_back(case, harm):
    check_harm(case, [(name, harm) for name in FILES])


def test_many_harms_at_once_are_brought_back_at_once(case):
    before = tree(case.out)
    names = [*FILES[:5], "plan-000001.json", "labels/mood.parquet"]
    for number, name in enumerate(names):
        HARMS[number % 3](case.out / name)
    assert {fault.file for fault in verify_archive(case.out).faults} == {*names}
    assert case.repair().left == []
    assert tree(case.out) == before


def test_a_store_is_verified_as_its_folder_is(here, there):
    for level in LEVELS:
        assert verify_archive(there.out, level=level) == verify_archive(here.out, level=level)
    for case in (here, there):
        flip(case.out / "data/shard-000000.tar")
        miss(case.out / "seek/shard-000001.npy")
        publish(case.out / "data/shard-000099.tar", b"stray")
    for level in LEVELS:
        wanted, found = (
            [replace(fault, remedy="") for fault in verify_archive(case.out, level=level).faults]
            for case in (here, there)
        )
        assert found == wanted
        assert len(found) == (2 if level == "size" else 3)


def test_sizes_cost_one_listing_however_many_shards_there_are(whole, store):
    manifest = Index.open(whole.out).manifest
    files = len(manifest["shards"]) + len(manifest["files"])
    counts = []
    for level in LEVELS:
        store.requests.clear()
        verify_archive(whole.out, level=level)
        counts.append(len(store.requests))
    size, sha256, decode = counts
    assert sum("list-type=2" in request for request in store.requests) == 1
    assert size <= 11  # a listing; manifest and labels' facts (each twice) and labels' table
    assert sha256 <= size + 2 * files
    assert decode <= sha256 + 3 * files + 2 * manifest["tracks"]


def test_a_listing_answers_as_the_store_does(whole, store):
    names = ["data", "data/shard-000000.tar", "nowhere", "manifest.json", "manifest", "data/shard"]
    snapshot = listed(whole.out)
    store.requests.clear()
    told = answers(snapshot, names)
    assert store.requests == []
    assert told == answers(whole.out, names)
    publish(whole.out / "later", b"1")
    assert not (snapshot / "later").exists()
    (whole.out / "later").unlink()


def answers(folder: Place, names: list[str]) -> list:
    files = [folder / name for name in names]
    return [
        [(file.exists(), file.is_file(), file.is_dir()) for file in files],
        [size_of(file) for file in files if file.is_file()],
        sorted(map(str, folder.iterdir())),
        sorted(map(str, (folder / "data").glob("shard-*"))),
        sorted(folder.below(info) for info in folder.walk()),
        (folder.name, str(folder.parent), folder.uri),
    ]


def test_an_index_of_a_store_opens_with_one_listing(whole, store):
    index = Index.open(whole.out)
    store.requests.clear()
    index = Index.open(whole.out)
    assert len(index.shards) > 2
    tars = [
        request for request in store.requests if request.startswith("HEAD") and "/data/" in request
    ]
    assert tars == []
    assert len(store.requests) < 10


def test_hashing_a_large_object_keeps_a_few_mib_of_it(bucket, store, tmp_path):
    (tmp_path / "large").write_bytes(b"wholetone" * 3_000_000)
    large = place(f"{bucket}/large?{store}")
    with open(tmp_path / "large", "rb") as file:
        large.put(file)
    assert [block.size for block in large.blocks()] == [8 << 20] * 3 + [27_000_000 - (24 << 20)]
    assert sha256_file(large) == sha256_file(tmp_path / "large")


def test_only_damaged_tracks_are_read_from_their_sources(there, store):
    track = Index.open(there.out)[2]
    tar = bytearray(track.shard.read_bytes())
    tar[track.offset + track.size // 2] ^= 1
    publish(track.shard, bytes(tar))
    before = tree(there.out)
    store.requests.clear()
    done = there.repair()
    assert done.left == []
    read = Counter(
        request for request in store.requests if request.startswith("GET /") and "/in/" in request
    )
    assert [*read] == [f"GET /{str(there.music).removeprefix('s3://')}/{track.source}"]
    changed = {name for name, data in tree(there.out).items() if data != before[name]}
    assert changed == {str(track.shard).removeprefix(f"{there.out}/")}


def test_a_dry_run_writes_nothing_to_a_store(there, store):
    lost = ["data/shard-000001.tar", "labels/mood.json"]
    for name in lost:
        miss(there.out / name)
    before = tree(there.out)
    store.requests.clear()
    assert there.repair(dry_run=True).restored == lost
    assert {request.split()[0] for request in store.requests} == {"HEAD", "GET"}
    assert tree(there.out) == before


class Killed(BaseException):
    """Stands for SIGKILL: nothing is tidied up behind it."""


def kill_after(calls: int, monkeypatch) -> None:
    """From the n-th upload or deletion on, nothing in the store changes any more."""
    left = [calls]

    def guarded(real):
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return real(*args, **kwargs)

        return call

    for name in ("put", "unlink", "delete_below"):
        monkeypatch.setattr(Remote, name, guarded(getattr(Remote, name)))


def spoil(case: Case):
    """Make a track unreadable and take all sources away."""
    track = Index.open(case.out)[3]
    data = bytearray(track.shard.read_bytes())
    data[track.offset + 99 : track.offset + 299] = bytes(200)
    publish(track.shard, bytes(data))
    miss(case.out / "index-000001.parquet")
    case.music.delete_below()
    publish(case.music / "other.wav", b"RIFF")
    return track


@pytest.mark.slow
def test_a_repair_in_a_store_killed_before_any_write_ends_as_an_undisturbed_one(
    there, bucket, store, monkeypatch
):
    """Tracks are dropped and all sources are gone: nothing but the archive has the others."""
    track = spoil(there)
    damaged = tree(there.out)
    there.repair(drop_lost=True)
    wanted, calls = tree(there.out), 0
    while True:
        again = Case(there.music, place(f"{bucket}/again{calls}?{store}"), there.labels)
        for name, data in damaged.items():
            publish(again.out / name, data)
        with monkeypatch.context() as patched:
            kill_after(calls, patched)
            try:
                again.repair(drop_lost=True)
                break
            except Killed:
                calls += 1
        if not same_reports(verify_archive(again.out), wanted):
            again.repair(drop_lost=True)
        assert {**tree(again.out), "README.md": b""} == {**wanted, "README.md": b""}, calls
    assert calls >= 9  # three files set aside, the decision, three put in their places, …
    assert verify_archive(again.out, level="decode").faults == []
    assert track.key not in Index.open(again.out).row_of_key


def same_reports(report, wanted) -> bool:
    """Whether an archive is whole; if not, every fault has a remedy."""
    assert all(fault.remedy.startswith("run `ingest repair") for fault in report.faults)
    return not report.faults and report.files == len(wanted) - 1


def test_a_build_waits_for_a_repair_that_was_killed_and_a_repair_ends_it(there, monkeypatch):
    track = spoil(there)
    with monkeypatch.context() as patched:
        kill_after(5, patched)  # when it has decided, and put one of three files in its place
        with pytest.raises(Killed):
            there.repair(drop_lost=True)
    with pytest.raises(InputError, match="was interrupted"):
        build_shards(there.music, there.out, settings=SETTINGS)
    (tar,) = (fault for fault in verify_archive(there.out).faults if "data/" in fault.file)
    assert tar.file == str(track.shard).removeprefix(f"{there.out}/")
    assert there.repair(drop_lost=True).left == []
    assert verify_archive(there.out, level="decode").faults == []
    assert len(Index.open(there.out)) == 6
    assert not any(name.startswith(".") for name in tree(there.out))


def test_a_store_that_fails_once_is_asked_again(whole, store):
    failed = []

    def first_only(request: str) -> str:
        if request in failed:
            return ""
        failed.append(request)
        return "cut" if request.startswith("GET") and len(failed) % 2 else "503"

    store.fault = first_only
    try:
        assert verify_archive(whole.out).faults == []
    finally:
        store.fault = no_fault
    assert len(failed) > 10


def test_a_store_that_keeps_failing_is_named_in_a_line_and_no_file_is_blamed(whole, store, capsys):
    store.fault = lambda request: "503" if "/receipts/" in request else ""
    store.requests.clear()
    try:
        assert main(["verify", whole.out.uri]) == 4
    finally:
        store.fault = no_fault
    said = capsys.readouterr()
    (line,) = (line for line in said.err.splitlines() if "verifying" not in line)
    assert line.startswith(f"error: {whole.out}/receipts/shard-")
    assert "does not answer" in line
    assert said.out == ""
    assert max(Counter(store.requests).values()) < 40


@pytest.mark.slow
def test_a_build_stops_where_its_store_fails_and_refuses_no_track_for_it(grown, bucket, store):
    case = Case(*(place(f"{bucket}/{name}?{store}") for name in ("in", "out", "mood.csv")))
    upload(grown.music, case.music)

    def busy(request: str) -> str:
        begun = any("/out/plan.json" in before for before in store.requests)
        return "503" if begun and request.endswith("/in/3.flac") else ""

    store.requests.clear()
    store.fault = busy
    try:
        with pytest.raises(StoreError, match=r"in/3\.flac"):
            build_shards(case.music, case.out, settings=SETTINGS, num_workers=1)
    finally:
        store.fault = no_fault
    assert not (case.out / "manifest.json").exists()
    built = build_shards(case.music, case.out, settings=SETTINGS, num_workers=1)
    assert [row["code"] for row in built.rejected] == ["not_audio"]
    assert len(Index.open(case.out)) == 7


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["503", "cut"])
def test_an_upload_that_fails_leaves_no_object(bucket, store, fault):
    large = place(f"{bucket}/large?{store}")
    store.fault = lambda request: fault if "partNumber=2" in request else ""
    try:
        with pytest.raises(StoreError, match="does not answer"):
            large.put(io.BytesIO(bytes(30 << 20)))
    finally:
        store.fault = no_fault
    assert not large.exists()


def test_an_upload_that_is_interrupted_here_leaves_no_object(bucket, store):
    """To forget an upload would end it: what was sent so far would stand there as if whole."""
    uri = f"{bucket}/half?{store}"
    script = f"""
import io
from shards.place import place

class Stops(io.BytesIO):
    def read(self, size):
        if self.tell() >= 24 << 20:
            raise KeyboardInterrupt
        return super().read(size)

place({uri!r}).put(Stops(bytes(30 << 20)))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert "KeyboardInterrupt" in done.stderr
    assert not place(uri).exists()


def test_the_commands_take_uris(here, there, capsys):
    def told(*args: str, code: int = 0):
        assert main([*args, "--json"]) == code
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    out, music = there.out.uri, there.music.uri
    assert told("verify", out, "--level", "decode") == told(
        "verify", str(here.out), "--level", "decode"
    )
    wanted, found = (told("info", archive)[0] for archive in (str(here.out), out))
    assert {**found, "files": found["files"] + 1} == wanted  # a folder has a lock
    assert told("check", out) == told("check", str(here.out))
    assert told("check", out, "--against", str(here.out), code=3)[0]["exact"]["tracks"] == 7
    asked = ("--column", "mood", "--name", "other")
    assert told("labels", out, there.labels.uri, *asked) == told(
        "labels", str(here.out), str(here.labels), *asked
    )
    assert tree(there.out) == tree(here.out)
    miss(there.out / "data/shard-000001.tar")
    (repaired,) = told("repair", out, music)
    assert repaired["restored"] == ["data/shard-000001.tar"]
    assert main(["repair", out, f"{music.replace('/in?', '/nowhere?')}"]) == 2
    assert "/nowhere is not a folder" in capsys.readouterr().err


def test_tars_in_a_store_are_refused_in_a_line(whole, tmp_path, capsys):
    tar = (whole.out / "data/shard-000000.tar").uri
    assert main(["index", tar, "--out", str(tmp_path / "index")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{whole.out}/data/shard-000000.tar lies in an object store" in line
    assert "Copy them into a folder first" in line
    assert not (tmp_path / "index").exists()


def test_what_is_to_be_typed_shows_no_secret():
    out = place("s3://KEY:hush@bucket/out?region=eu-west-1&allow_bucket_creation=true")
    assert out.uri == "s3://bucket/out?region=eu-west-1"
    assert "hush" not in f"{out}{out!r}"
