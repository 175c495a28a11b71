"""A decoder that dies, hangs or babbles costs its own file and nothing else."""

import sys

import pytest

from ingest.inputs import inputs_of
from ingest.pool import Decoded, Pool
from ingest.scan import scan
from ingest.settings import Settings

BAD_WORKER = """
import ctypes, os, signal, sys, time
import ingest.worker as worker

real = worker.pack
mark = os.open({mark!r}, os.O_CREAT | os.O_RDWR)  # later the sandbox would not let us

def pack(source, sink, *, name, **rest):
    print("noise on standard output", flush=True)
    print("noise on standard error", file=sys.stderr, flush=True)
    if name.startswith("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if name.startswith("once") and os.fstat(mark).st_size == 0:
        os.write(mark, b"1")
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("hang"):
        time.sleep(3_600)
    while name.startswith("busy"):
        rest["beat"]()
        time.sleep(0.1)
    if name.startswith("memory"):
        bytearray(1 << 36)
    return real(source, sink, name=name, **rest)

worker.pack = pack
worker.main()
"""


def test_a_decoder_that_dies_or_hangs_costs_one_file(tmp_path, make_chord, capfd):
    folder = tmp_path / "in"
    for number, name in enumerate(["crash", "hang", "busy", "memory", "once", *"abcdef"]):
        make_chord(folder / f"{name}.wav", number)
    script = tmp_path / "bad_worker.py"
    script.write_text(BAD_WORKER.format(mark=str(tmp_path / "mark")))
    command = (sys.executable, "-P", str(script))
    limits = {"stall_s": 1.0, "deadline_s": 2.0}
    pool = Pool(inputs_of(folder), tmp_path, Settings(), num_workers=2, command=command, **limits)
    sources = scan(folder).sources
    with pool:
        outcomes = list(pool.decode(sources))
    names = [source.raw.decode().removesuffix(".wav") for source in sources]
    rejected = {}
    for name, outcome in zip(names, outcomes, strict=True):
        if isinstance(outcome, Decoded):
            outcome.payload.close()
        else:
            rejected[name] = outcome
    # "once" was killed from outside and tried again
    codes = {name: outcome.code for name, outcome in rejected.items()}
    assert codes == {"crash": "crashed", "hang": "timeout", "busy": "timeout", "memory": "memory"}
    assert rejected["hang"].message == "made the decoder stand still for 1 s"
    assert rejected["busy"].message == "kept the decoder busy for more than 2 s"
    assert "SIGSEGV: noise on standard error" in rejected["crash"].message
    assert capfd.readouterr() == ("", "")


def test_outcomes_come_in_the_order_of_the_sources(tmp_path, make_chord):
    folder = tmp_path / "in"
    for number in range(8):
        make_chord(folder / f"{number}.wav", number, seconds=1 + 9 * (number == 0))
    sources = scan(folder).sources
    with Pool(inputs_of(folder), tmp_path, Settings(), num_workers=2) as pool:
        found = list(pool.decode(sources))
    assert [outcome.source for outcome in found] == sources
    for outcome in found:
        outcome.payload.close()


def test_a_decoder_that_cannot_start_ends_the_build_with_its_reason(tmp_path, make_chord):
    make_chord(tmp_path / "in/a.wav", 0)
    command = (sys.executable, "-c", "raise SystemExit('no numpy here')")
    pool = Pool(inputs_of(tmp_path / "in"), tmp_path, Settings(), num_workers=1, command=command)
    with pool, pytest.raises(RuntimeError, match=r"did not start .*no numpy here"):
        list(pool.decode(scan(tmp_path / "in").sources))
