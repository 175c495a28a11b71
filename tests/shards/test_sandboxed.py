"""Originals: decoded whole by a process that may die, hang or lie, which costs one track."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from shards import sandboxed
from shards.errors import DamagedTrack
from shards.sandboxed import Decoders, Original, WholeTrack

ROOT = Path(__file__).parents[2]
WORKER = """
import os, sys, time
import ingest.worker as worker

real = worker.read
begun = os.open({begun!r}, os.O_CREAT | os.O_RDWR | os.O_APPEND)  # later the sandbox forbids it

def read(source, sink, **rest):
    os.write(begun, b".")
    given = {{**globals(), **locals()}}
    exec({tricks!r}.get(os.fstat(source.fileno()).st_size, {always!r}), given)
    return given["answer"] if "answer" in given else real(source, sink, **rest)

worker.read = read
worker.main()
"""


@pytest.fixture
def mp3(tmp_path) -> Original:
    """A second and a half at 22 050 Hz, as the whole of a file."""
    noise = np.random.default_rng(0).normal(0, 0.2, 33_075)
    soundfile.write(tmp_path / "a.mp3", noise, 22_050, format="MP3")
    size = (tmp_path / "a.mp3").stat().st_size
    frames = soundfile.info(tmp_path / "a.mp3").frames
    return Original(tmp_path / "a.mp3", 0, size, -(-frames * 16_000 // 22_050), 16_000)


@pytest.fixture
def tricked(tmp_path):
    """Decoders whose program does something before it reads, by the size of the file or always."""
    made = []

    def make(always: str = "pass", *, tricks=None, **options) -> Decoders:
        script = tmp_path / "worker.py"
        begun = str(tmp_path / "begun")
        script.write_text(WORKER.format(begun=begun, tricks=tricks or {}, always=always))
        made.append(Decoders((sys.executable, "-P", str(script)), **options))
        return made[-1]

    yield make
    for decoders in made:
        decoders.close()


def begun(tmp_path: Path) -> int:
    return (tmp_path / "begun").stat().st_size


def test_windows_are_parts_of_the_whole_and_nobody_can_change_it(mp3):
    with WholeTrack(mp3) as track:
        whole = track.read(0, mp3.frames)
        assert len(whole) == track.frames == mp3.frames
        np.testing.assert_array_equal(track.read(5_000, 700), whole[5_000:5_700])
        assert len(track.read(mp3.frames - 9, 50)) == 9
        assert len(track.read(mp3.frames + 5, 50)) == len(track.read(5, -3)) == 0
        track.read(0, 100)[:] = 0
        np.testing.assert_array_equal(track.read(0, 100), whole[:100])


def test_a_track_is_decoded_once_for_all_who_ask(mp3, tricked, tmp_path):
    decoders = tricked("time.sleep(0.2)")
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(decoders.samples(mp3))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(samples is found[0] for samples in found)
    assert begun(tmp_path) == 1


def test_few_decoded_tracks_are_kept_but_always_the_last(mp3, tricked, tmp_path):
    others = [replace(mp3, shard=tmp_path / f"{i}.mp3") for i in range(3)]
    for other in others:
        other.shard.write_bytes(mp3.shard.read_bytes())
    two = tricked(kept_bytes=2 * 2 * mp3.frames)
    for number in (0, 1, 0, 2, 0, 1):  # 1 was let go when 2 came
        two.samples(others[number])
    assert begun(tmp_path) == 4
    none = tricked(kept_bytes=0)
    for number in (0, 0, 1, 1):
        none.samples(others[number])
    assert begun(tmp_path) == 4 + 2


TRICKS = {
    "made the decoder die .SIGSEGV": "os.kill(os.getpid(), 11)",
    "stand still for 1 s": "time.sleep(3_600)",
    "1 samples, want": "os.write(sink._fd, b'12'); answer = 1",
    "0 samples, want": "answer = 24_000",
    "I/O error": "raise OSError(5, 'I/O error')",
    r"is \\x1b\[2J dam": "raise worker.Rejection('decode', 'corrupt', 'is \x1b[2J damaged')",
}


def test_a_decoder_that_dies_hangs_or_lies_costs_one_track(mp3, tricked, tmp_path):
    """Each file is a few bytes shorter than the good one, which tells the decoder what to do."""
    sizes = [mp3.size - 1 - number for number in range(len(TRICKS))]
    tricks = dict(zip(sizes, TRICKS.values(), strict=True))
    decoders = tricked(tricks=tricks, stall_s=1.0)
    for size, says in zip(sizes, TRICKS, strict=True):
        path = tmp_path / f"{size}.mp3"
        path.write_bytes(mp3.shard.read_bytes()[:size])
        with pytest.raises(DamagedTrack, match=says):
            decoders.samples(Original(path, 0, size, mp3.frames, 16_000))
        assert len(decoders.samples(mp3)) == mp3.frames


BABBLER = """
import socket, sys

with socket.socket(fileno=int(sys.argv[1])) as channel:
    channel.sendall(b'{"ready": "Decoders are what they are."}\\n')
    while channel.recv(1 << 16):
        channel.sendall(ANSWER)
"""


@pytest.mark.parametrize("answer", [b'{"ready": "again"}\n', b"{}\n", b'{"read": "many"}\n', b"\n"])
def test_what_is_no_answer_is_not_believed(answer, mp3, tmp_path):
    (tmp_path / "babbler.py").write_text(BABBLER.replace("ANSWER", repr(answer)))
    decoders = Decoders((sys.executable, str(tmp_path / "babbler.py")))
    with pytest.raises(DamagedTrack, match="made the decoder die"):
        decoders.samples(mp3)
    decoders.close()


def test_a_full_disk_is_not_the_tracks_fault(mp3, tricked):
    full = "sink.error = OSError(28, 'No space left on device'); raise sink.error"
    with pytest.raises(OSError, match="No space left"):
        tricked(full).samples(mp3)


def test_a_failure_is_not_kept(mp3, tricked, tmp_path):
    trick = "if os.fstat(begun).st_size == 1: raise worker.Rejection('decode', 'corrupt', 'once')"
    decoders = tricked(trick)
    with pytest.raises(DamagedTrack, match="once"):
        decoders.samples(mp3)
    assert len(decoders.samples(mp3)) == mp3.frames


@pytest.mark.parametrize("wrong", [{"frames": 20_000}, {"frames": 30_000}, {"size": 10**9}])
def test_what_the_index_promises_must_come(wrong, mp3):
    with pytest.raises(DamagedTrack, match=r"a\.mp3 at byte 0: .*, want|lasts more than"):
        WholeTrack(replace(mp3, **wrong))


def test_what_goes_on_for_longer_than_the_index_says_is_not_decoded_to_its_end(tmp_path):
    """A bomb: an hour of silence in a few KiB, in the place of a second."""
    soundfile.write(tmp_path / "bomb.flac", np.zeros(16_000 * 3_600, np.int16), 16_000)
    size = (tmp_path / "bomb.flac").stat().st_size
    begun = time.monotonic()
    with pytest.raises(DamagedTrack, match="lasts more than 2 s"):
        WholeTrack(Original(tmp_path / "bomb.flac", 0, size, 16_000, 16_000))
    assert time.monotonic() - begun < 10


def test_a_process_that_was_forked_off_has_a_decoder_of_its_own(mp3):
    wanted = WholeTrack(mp3).read(0, mp3.frames)
    child = os.fork()
    if child == 0:
        ours = sandboxed._ours
        same = np.array_equal(WholeTrack(mp3).read(0, mp3.frames), wanted)
        sandboxed._close()
        os._exit(0 if same and ours is None else 1)
    assert os.waitpid(child, 0)[1] == 0
    relative = replace(mp3, shard=Path(os.path.relpath(mp3.shard)))  # ours is not disturbed
    np.testing.assert_array_equal(WholeTrack(relative).read(0, mp3.frames), wanted)


ASKS = """
import sys, time
from pathlib import Path
from shards.sandboxed import Original, WholeTrack
path, frames = Path(sys.argv[1]), int(sys.argv[2])
track = WholeTrack(Original(path, 0, path.stat().st_size, frames, 16_000))
print(track.read(0, frames).sum(), flush=True)
if len(sys.argv) > 3:
    time.sleep(3_600)
"""


def decoders_of(parent: int) -> list[str]:
    """Processes that carry a parent's number as an argument."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"ingest.worker" in line and str(parent).encode() in line:
            found.append(path.parent.name)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="processes are told from /proc")
@pytest.mark.parametrize("ending", ["exit", "kill"])
def test_decoders_end_with_the_process_that_asks(ending, mp3):
    command = [sys.executable, "-W", "error", "-c", ASKS, str(mp3.shard), str(mp3.frames)]
    command += ["stay"] * (ending == "kill")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as asking:
        said = asking.stdout.readline()
        if ending == "kill":
            assert decoders_of(asking.pid)
            asking.send_signal(signal.SIGKILL)
        assert asking.stderr.read() == ""
    assert int(said) == WholeTrack(mp3).read(0, mp3.frames).sum()
    deadline = time.monotonic() + 5
    while decoders_of(asking.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert decoders_of(asking.pid) == []
