"""The same audio gives the same archive: however many work on it, wherever, in whatever locale."""

import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from tests.ingest.cases import REJECTS, assert_same, first_build, growth, music, tree
from tests.ingest.faults import Fault
from tests.ingest.trials import trials

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are told from /proc")

PLACES = {
    "far east": {"TZ": "Pacific/Kiritimati", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "1"},
    "far west": {"TZ": "America/Adak", "LC_ALL": "C", "PYTHONHASHSEED": "2", "PYTHONUTF8": "0"},
}


def check_same(**how) -> None:
    case = first_build()
    out = case.begin()
    ended = case.build(out, **how)
    assert ended.code == REJECTS, ended.stderr
    assert_same(tree(out), case.after)


def test_many_workers_a_strict_umask_relative_paths_and_folders_listed_backwards_change_nothing():
    case = first_build()
    out = case.begin()
    audio = os.path.relpath(case.audio, out.parent)
    how = {"num_workers": 8, "umask": 0o077, "reverse_listings": True}
    ended = trials().build(audio, "./out", cwd=out.parent, **how)
    assert ended.code == REJECTS, ended.stderr
    assert_same(tree(out), case.after)


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [2, 3, 8])
def test_any_number_of_workers_gives_the_same_archive(num_workers):
    check_same(num_workers=num_workers)


@pytest.mark.slow
@pytest.mark.parametrize("umask", [0o077, 0o027, 0o000])
def test_files_have_their_bytes_and_modes_whatever_the_umask(umask):
    check_same(umask=umask)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_any_time_zone_locale_and_hash_seed_gives_the_same_archive(place):
    check_same(command=True, environment=PLACES[place])


def test_a_copy_of_the_audio_written_in_another_order_gives_the_same_archive():
    copy = trials().fresh("copy")
    for path in sorted(music().iterdir(), reverse=True):
        shutil.copy2(path, copy)
    out = trials().fresh("copied") / "out"
    assert trials().build(copy, out).code == REJECTS
    assert_same(tree(out), first_build().after)


@pytest.mark.slow
def test_growth_gives_the_same_archive_with_any_number_of_workers():
    case = growth()
    out = case.begin()
    assert case.build(out, num_workers=8, umask=0o077).code == REJECTS
    assert_same(tree(out), case.after)


@pytest.mark.parametrize("case", [first_build, growth])
def test_a_finished_build_run_again_touches_nothing(case):
    out = case().begin()
    assert case().build(out).code == REJECTS
    for path in [out, *out.rglob("*")]:
        os.utime(path, ns=(10**18, 10**18))
    ended = case().build(out, fault=Fault())
    assert ended.code == REJECTS
    assert {path.stat().st_mtime_ns for path in [out, *out.rglob("*")]} == {10**18}
    assert not [event for event in ended.events if event.startswith(("write", "rename"))]


def test_of_three_builds_at_the_same_time_one_works_and_two_end_at_once():
    case = first_build()
    out = case.begin()
    first_write = Fault(case.number_of("fsync"), "hold")  # who has the lock waits until told
    pids = [trials().start(case.audio, out, fault=first_write) for _ in range(3)]
    folders = {pid: trials().folder(pid) for pid in pids}
    losers = []
    for _ in range(2):
        pid, ended = trials().wait_any(*folders)
        folders.pop(pid)
        losers.append(ended)
    (worker,) = folders
    (folders[worker] / "go").touch()
    assert trials().wait(worker).code == REJECTS
    for ended in losers:
        assert ended.code == 75
        assert ended.stderr.startswith("error: Another ingest is at work in ")
        assert len(ended.stderr.splitlines()) == 1
    assert_same(tree(out), case.after)


def test_who_comes_second_does_not_read_through_the_audio_first():
    case = first_build()
    out = case.begin()
    pid = trials().start(case.audio, out, fault=Fault(case.number_of("fsync"), "hold"))
    wait_for(trials().folder(pid) / "events", "fsync")
    second = case.build(out, fault=Fault())
    (trials().folder(pid) / "go").touch()
    assert trials().wait(pid).code == REJECTS
    assert second.code == 75
    assert not [event for event in second.events if event.startswith(f"open '{case.audio}")]


def wait_for(journal: Path, event: str) -> None:
    """Until a build has come to an event."""
    while not journal.exists() or event not in journal.read_text():
        time.sleep(0.005)


def test_the_lock_of_a_killed_build_is_free_at_once():
    case = first_build()
    out = case.begin()
    fault = Fault(case.number_of("open unnamed"), "hold")
    pid = trials().start(case.audio, out, fault=fault)
    wait_for(trials().folder(pid) / "events", "open unnamed")
    trials().kill(pid, everyone=False)
    case.check_goes_on(out)
    assert trials().wait(pid).code == -9
