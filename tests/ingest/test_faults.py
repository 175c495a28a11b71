"""A full disk, a failing disk, a closed door, sources that move: said in a line, nothing wrong."""

import hashlib
import re
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

from ingest.scan import track_key
from shards.files import read_parquet
from shards.index import Index
from shards.reader import read_track
from tests.ingest.cases import (
    REJECTS,
    Case,
    assert_same,
    final,
    first_build,
    growth,
    spread,
    tree,
    write_tracks,
)
from tests.ingest.faults import ERRORS, NOT_POSSIBLE, Fault
from tests.ingest.trials import Ended, trials

CODES = {"ENOSPC": 4, "EIO": 4, "EACCES": 2}
CASES = {"first build": first_build, "growth": growth}


def slow(value):
    return pytest.param(value, marks=pytest.mark.slow)


SIZE = r"\d[\d.]* (bytes|kB|KiB|MB|MiB|GB|GiB|TB|TiB)"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are told from /proc")


def contents(out: Path) -> dict[str, str]:
    """Key → hash of the samples that a reader gets, for every track."""
    index = Index.open(out)
    return {
        index[row].key: hashlib.sha256(read_track(index, row).tobytes()).hexdigest()
        for row in range(len(index))
    }


def not_packed(out: Path) -> dict[str, str]:
    """Path → code of every input that is not packed."""
    name = Index.open(out).manifest["generations"][-1]["rejected"]
    return {row["path"]: row["code"] for row in read_parquet(out / name).to_pylist()}


def check_message(ended: Ended, *folders: Path) -> str:
    """The one line that says which file or folder is meant and what to do."""
    assert "Traceback" not in ended.stderr, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, ended.stderr
    assert any(str(folder) in lines[0] for folder in folders), f"names no folder: {lines[0]}"
    return lines[0]


def check_fault(case: Case, at: int, error: str) -> str:
    """One operation fails once: how the build took it."""
    out = case.begin()
    ended = case.build(out, fault=Fault(at, error))
    if ended.code != REJECTS:
        assert ended.code == CODES[error], f"{ended.events[-1]}: {ended.code} {ended.stderr}"
        case.check_interrupted(out)
        check_message(ended, out.parent, ended.folder)
        case.check_goes_on(out)
        took = "ended"
    elif tree(out) == case.after:
        took = "did not mind"
    else:
        check_hole(case, out, ended.events[at - 1])
        took = "left a source out"
    shutil.rmtree(out)
    return took


def check_hole(case: Case, out: Path, event: str) -> None:
    """All but the source that could not be opened are as ever; it is packed next time."""
    assert event.startswith(f"open '{case.audio}/"), f"a hole after {event}"
    name = Path(event.strip("'")).name
    assert not_packed(out)[name] == "unreadable"
    wanted = contents(case.whole)
    assert contents(out) == {k: v for k, v in wanted.items() if k != track_key(name.encode())}
    assert case.build(out).code == REJECTS
    assert contents(out) == wanted


@pytest.mark.parametrize("count", [3, pytest.param(10**6, marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", CASES)
def test_an_operation_that_fails_ends_the_build_with_a_line_or_costs_its_source(case, count):
    case = CASES[case]()
    total = len(case.events)
    took = Counter(
        check_fault(case, at, ERRORS[number % 3])
        for number, at in enumerate(spread(min(count, total), total))
    )
    assert took["ended"] >= min(count, total) // 4


@pytest.mark.parametrize("size_kib", [32, *(slow(k) for k in (8, 16, 48, 64, 80, 96, 112, 128))])
def test_a_full_disk_is_said_with_numbers_and_the_build_goes_on_when_it_has_grown(size_kib):
    case = first_build()
    out = case.begin()
    ended = case.build(out, tmpfs_kib=size_kib)
    if ended.code == NOT_POSSIBLE:
        pytest.skip("this machine lets nobody mount a disk of their own")
    assert ended.code == 4, ended.stderr
    full, again = ended.folder / "full", ended.folder / "again"
    assert final(tree(full)).items() <= case.after.items()
    assert (ended.folder / "again.code").read_text() == str(REJECTS)
    assert_same(tree(again), case.after)
    message = check_message(ended, out)
    assert re.search(SIZE, message), f"no numbers: {message}"


@pytest.mark.parametrize("count", [2, pytest.param(10**6, marks=pytest.mark.slow)])
def test_a_file_that_may_not_grow_ends_the_build(count):
    """As over quota: the shard, a payload in the decoder, or any table hits the limit."""
    case = first_build()
    sizes = sorted({path.stat().st_size for path in case.whole.rglob("*") if path.is_file()})
    limits = [size - 1 for size in sizes if size > 1_024]
    for number in spread(min(count, len(limits)), len(limits)):
        out = case.begin()
        ended = case.build(out, max_file_bytes=limits[number - 1])
        assert ended.code == 4, ended.stderr
        case.check_interrupted(out)
        check_message(ended, out)
        case.check_goes_on(out)


@pytest.mark.parametrize("error", ["EMFILE", slow("ENOMEM")])
def test_what_the_process_lacks_is_not_held_against_a_track(error):
    """Too few open files, no memory: the build ends, else it would list good tracks as bad."""
    case = first_build()
    decoding = case.number_of("open unnamed")
    source = case.number_of(f"open '{case.audio}/", after=decoding)
    out = case.begin()
    ended = case.build(out, fault=Fault(source, error))
    assert ended.code in (2, 4), f"{ended.code}: {not_packed(out) if ended.code == REJECTS else ''}"
    check_message(ended, out, case.audio)
    case.check_interrupted(out)
    case.check_goes_on(out)


@pytest.mark.parametrize("begun", [False, True])
def test_a_folder_that_may_not_be_written_is_said_at_once(begun):
    case = growth() if begun else first_build()
    out = case.begin()
    target = out if begun else out.parent
    folders = [path for path in [target, *target.rglob("*")] if path.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    ended = case.build(out, unprivileged=True, fault=Fault())
    for folder in folders:
        folder.chmod(0o755)
    if ended.code == NOT_POSSIBLE:
        pytest.skip("this machine lets nobody lay down rights")
    assert ended.code == 2, ended.stderr
    check_message(ended, out)
    assert not any(event.startswith("open unnamed") for event in ended.events), "began to decode"
    case.check_interrupted(out) if begun else None
    case.check_goes_on(out)


def test_a_lost_plan_of_a_later_generation_costs_no_packed_track():
    case = growth()
    out = trials().fresh("lost") / "out"
    shutil.copytree(case.whole, out)
    (out / "plan-000001.json").unlink()
    before = tree(out)
    ended = case.build(out)
    assert ended.code == 2, f"{ended.code}: {sorted(before.keys() - tree(out).keys())} are gone"
    assert "plan-000001.json" in check_message(ended, out)
    assert_same(tree(out), before)


def test_sources_that_vanish_change_or_grow_meanwhile_are_listed_and_the_others_exact():
    """40 tracks; ten of them are not what was planned when their turn comes, or while it is."""
    folder = trials().fresh("moving")
    write_tracks(folder, 40, ("wav",))
    whole, out = (trials().fresh("moving") / "out" for _ in range(2))
    assert trials().build(folder, whole).code == 0
    names = sorted((path.name for path in folder.iterdir()), key=lambda n: track_key(n.encode()))
    how = ["unlink", "append", "rewrite"] * 3
    edits = [(act, str(folder / name)) for act, name in zip(how, names[1:10], strict=True)]
    # The decoder waits for the first payload's file: its source is open, the others are not yet.
    fault = Fault(edit_at=f"open unnamed {out}/data", edits=(("append", ""), *edits))
    ended = trials().build(folder, out, fault=fault)
    assert ended.code == REJECTS, ended.stderr
    wanted = {name: "missing" if act == "unlink" else "changed" for (act, _), name in
              zip(edits, names[1:10], strict=True)}  # fmt: skip
    assert not_packed(out) == {names[0]: "changed"} | wanted
    kept = {track_key(name.encode()) for name in names[10:]}
    assert contents(out) == {k: v for k, v in contents(whole).items() if k in kept}
    assert trials().build(folder, out).code == REJECTS
    assert set(not_packed(out).values()) == {"missing"}
    assert len(contents(out)) == 37
