"""Killed at any file operation or moment, or by a power cut, a build loses and doubles nothing."""

import pickle
import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from tests.ingest.cases import (
    REJECTS,
    Case,
    assert_same,
    first_build,
    growth,
    music,
    spread,
    tree,
    undisturbed,
)
from tests.ingest.crash_states import State, lay_out
from tests.ingest.faults import Fault
from tests.ingest.trials import KILLED, Ended, trials

CASES = {"first build": first_build, "growth": growth}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are told from /proc")


def some_and_all(some: int):
    """A count for every run of the suite, and one for the run with the long tests."""
    slow = pytest.param(10**6, marks=pytest.mark.slow, id="all")
    return pytest.mark.parametrize("count", [pytest.param(some, id="some"), slow])


def check_kill(case: Case, fault: Fault) -> Ended:
    """Kill, look at the ruins, see the decoders end, go on, compare; how the killed build ended."""
    out = case.begin()
    ended = case.build(out, fault=fault)
    assert ended.code in (KILLED, REJECTS), ended.stderr
    trials().settle()
    case.check_interrupted(out)
    case.check_goes_on(out)
    shutil.rmtree(out)
    return ended


@some_and_all(3)
@pytest.mark.parametrize("case", CASES)
def test_a_build_killed_at_a_file_operation_goes_on_as_if_nothing_had_happened(case, count):
    case = CASES[case]()
    total = len(case.events)
    assert total > 100
    killed = 0
    for at in spread(min(count, total), total):
        act = "kill-all" if at % 2 else "kill"
        killed += check_kill(case, Fault(at, act)).code == KILLED
    assert killed >= min(count, total) - 2  # the order of threads can shift the last event


@pytest.mark.parametrize(
    ("kills", "command"), [(2, False), pytest.param(50, True, marks=pytest.mark.slow)]
)
def test_killed_at_a_random_moment_the_build_goes_on(kills, command):
    """Half of the kills meet the parent only; the many ones meet the real command."""
    case = first_build()
    how = {"command": command, "num_workers": 2}
    full_s = case.build(case.begin(), **how).seconds
    rng = random.Random(7)
    killed = 0
    while killed < kills:
        out = case.begin()
        for _ in range(rng.choice([1, 1, 2])):  # now and then the second attempt dies too
            pid = trials().start(case.audio, out, **how)
            time.sleep(rng.uniform(0.1, 1.0) * full_s)
            trials().kill(pid, everyone=killed % 2 == 0)
            killed += trials().wait(pid).code == KILLED
            trials().settle()
            case.check_interrupted(out)
        case.check_goes_on(out)
        shutil.rmtree(out)


def test_a_kill_leaves_no_litter_where_files_without_a_name_are_unknown():
    case = first_build()
    whole = case.build(case.begin(), fault=Fault(no_unnamed_files=True))
    assert whole.code == REJECTS
    named = [
        at
        for at, event in enumerate(whole.events, start=1)
        if event.startswith("unlink") and "/data/" in event and ".tar" not in event
    ]
    check_kill(case, Fault(named[0], "kill", no_unnamed_files=True))


@cache
def power_cuts() -> tuple[list[State], list[State]]:
    """All states that a power cut during a build can leave, and those of one after its end."""
    root = trials().fresh("recorded")
    ended = trials().build(music(), root / "out", record=root)
    assert ended.code == REJECTS, ended.stderr
    during, after = pickle.loads((ended.folder / "states").read_bytes())
    assert len(during) > 100
    return during, after


@some_and_all(3)
def test_after_a_power_cut_that_loses_what_was_not_synced_the_build_goes_on(count):
    during, _ = power_cuts()
    case = first_build()
    for number in spread(min(count, len(during)), len(during)):
        root = trials().fresh("cut")
        lay_out(during[number - 1], root)
        out = root / "out"
        if out.exists():
            case.check_interrupted(out)
        if number % 2:  # a second power cut, this one during the recovery
            case.build(out, fault=Fault(1 + number * 7919 % 150, "kill-all"))
            case.check_interrupted(out)
        case.check_goes_on(out)
        shutil.rmtree(root)


def test_a_power_cut_after_the_end_of_a_build_takes_nothing_away():
    _, after = power_cuts()
    for state in after:
        root = trials().fresh("cut")
        lay_out(state, root)
        found = tree(root / "out") if (root / "out").exists() else {}
        assert_same(found, tree(undisturbed()))


@some_and_all(3)
def test_a_growth_that_comes_to_nothing_leaves_nothing_wherever_it_is_killed(count):
    """A new file vanishes before its turn: its generation is withdrawn, the archive as it was."""
    case = Case(music(), undisturbed(), undisturbed())
    total = len(vanishing(case.begin(), Fault()).events)
    for at in spread(min(count, total), total):
        out = case.begin()
        ended = vanishing(out, Fault(at, "kill"))
        assert ended.code in (KILLED, REJECTS), ended.stderr
        trials().settle()
        case.check_goes_on(out)
        shutil.rmtree(out)


def vanishing(out: Path, fault: Fault) -> Ended:
    """End of a build that finds a new file, which is gone before it is opened again."""
    audio = trials().fresh("vanishing")
    for path in music().iterdir():
        shutil.copy2(path, audio)
    new = audio / "new.wav"
    shutil.copy(audio / "0.wav", new)
    gone = replace(fault, edit_at=f"open {out}/data/.tmp-", edits=(("unlink", str(new)),))
    return trials().build(audio, out, fault=gone)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize("syscall", ["rename", "fsync", "unlink", "fchmod", "mkdir", "ftruncate"])
def test_killed_by_the_kernel_at_each_system_call_the_build_goes_on(syscall):
    case = first_build()
    for at in range(1, 1_000):
        out = case.begin()
        inject = [f"-einject={syscall}:signal=KILL:when={at}"]
        ended = under_strace(case, out, [f"-etrace={syscall}", *inject])
        case.check_interrupted(out)
        case.check_goes_on(out)
        if ended == REJECTS:
            assert at > 1, f"no {syscall} was ever seen"
            return
    pytest.fail("the build never ended unharmed")


def under_strace(case: Case, out: Path, options: list[str]) -> int:
    """Exit code (negative: signal) of a build whose system calls are tampered with."""
    args = ["build-shards", str(case.audio), "--out", str(out), "--shard-mib", "0.02"]
    traced = [sys.executable, "-m", "ingest", *args, "--num-workers", "1"]
    # Decoders are let go: one that is killed at each attempt would cost its track, as it should.
    strace = ["strace", "-f", "-b", "execve", "-qq", "-o", str(out.parent / "strace")]
    command = [*strace, *options, *traced]
    return subprocess.run(command, capture_output=True, cwd=Path(__file__).parents[2]).returncode
