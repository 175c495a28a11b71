"""A decoder that a file took over can reach nothing, and what it answers is not believed."""

import json
import logging
import os
import socket
import struct
import sys

import numpy as np
import pytest

from ingest.answers import parse
from ingest.inputs import inputs_of
from ingest.pool import Decoded, Pool
from ingest.sandbox import ALL, described, level
from ingest.scan import scan
from ingest.seccomp import (
    ALLOW,
    ARCH_AT,
    AUDIT_ARCH,
    DENIED,
    EQUAL,
    LOAD,
    NUMBER_AT,
    RETURN,
    filter_program,
)
from ingest.settings import Settings
from shards import process
from shards.answers import Nonsense

PROBE = """
import json, os, signal, socket, subprocess, sys
import ingest.sandbox as sandbox
import ingest.worker as worker
from ingest.rejection import Rejection

{before}

def abstract(address):
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect("\\0" + address)

def pack(source, sink, *, name, settings, beat):
    if not name:  # the worker warms up
        return
    folder, port, address, parent = {folder!r}, {port}, {address!r}, os.getppid()
    attempts = {{
        "read": lambda: open(folder + "/secret").read(),
        "list": lambda: os.listdir(folder),
        "write": lambda: open(folder + "/secret", "w"),
        "make": lambda: open(folder + "/new", "x"),
        "mkdir": lambda: os.mkdir(folder + "/folder"),
        "link": lambda: os.symlink("/", folder + "/link"),
        "remove": lambda: os.unlink(folder + "/secret"),
        "rename": lambda: os.rename(folder + "/secret", folder + "/moved"),
        "truncate": lambda: os.truncate(folder + "/secret", 0),
        "run": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
        "connect": lambda: socket.create_connection(("127.0.0.1", port)),
        "udp": lambda: socket.socket(type=socket.SOCK_DGRAM),
        "unix": lambda: socket.socket(socket.AF_UNIX),
        "mode": lambda: os.chmod(folder + "/secret", 0o777),
        "time": lambda: os.utime(folder + "/secret"),
        "owner": lambda: os.chown(folder + "/secret", os.getuid(), os.getgid()),
        "bind": lambda: socket.create_server(("127.0.0.1", 0)),
        "signal": lambda: os.kill(parent, signal.SIGCONT),
        "abstract": lambda: abstract(address),
    }}
    reached = []
    for what, attempt in attempts.items():
        try:
            attempt()
            reached.append(what)
        except OSError:
            pass
    raise Rejection("decode", "probe", " ".join(reached))

worker.pack = pack
worker.main()
"""


NO_SECCOMP = "sandbox.deny_calls = lambda libc: None"


@pytest.fixture
def probe(tmp_path, make_chord):
    """Runs a decoder that tries what it must not; what it reached."""

    def run(before: str = "") -> list[str]:
        make_chord(tmp_path / "in/a.wav", 0)
        (tmp_path / "secret").write_text("secret")
        address = f"wholetone-test-{os.getpid()}"
        with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as own:
            own.bind("\0" + address)
            own.listen()
            script = tmp_path / "probe.py"
            port = server.getsockname()[1]
            script.write_text(
                PROBE.format(folder=str(tmp_path), port=port, address=address, before=before)
            )
            command = (sys.executable, "-P", str(script))
            with Pool(
                inputs_of(tmp_path / "in"), tmp_path, Settings(), num_workers=1, command=command
            ) as pool:
                (outcome,) = pool.decode(scan(tmp_path / "in").sources)
        assert outcome.code == "probe", outcome
        return outcome.message.split()

    return run


@pytest.fixture
def logged(caplog):
    caplog.set_level(logging.INFO, "shards")
    process._logged.clear()
    return lambda: [record.message for record in caplog.records]


def test_a_decoder_reaches_nothing_by_name(probe, logged, tmp_path):
    reached = probe()
    if logged() != [described(list(ALL))]:
        pytest.skip(f"this kernel: {logged()}")
    assert reached == []
    assert (tmp_path / "secret").read_text() == "secret"


def test_what_a_kernel_does_not_offer_is_missed_and_said(probe, logged):
    reached = probe(f"sandbox.CREATE_RULESET = 9_999  # no such system call\n{NO_SECCOMP}")
    assert {"read", "remove", "connect", "udp", "signal", "run"} <= set(reached)
    assert logged() == [described([])]
    assert "not sandboxed" in logged()[0]


def test_an_older_kernel_gives_a_part_of_it(probe, logged):
    reached = probe(f"sandbox.SCOPES_BY_ABI = {{6: 0}}\n{NO_SECCOMP}")
    if "not sandboxed" in logged()[0]:
        pytest.skip("this kernel has no Landlock")
    assert reached == ["udp", "unix", "mode", "time", "owner", "signal", "abstract"]
    assert logged()[0].endswith("but this kernel leaves them network, signals.")


def run_filter(program: bytes, *, arch: int, number: int) -> int:
    """What a filter answers, worked out instruction by instruction."""
    data = {NUMBER_AT: number, ARCH_AT: arch}
    at = value = 0
    while True:
        code, if_true, if_false, constant = struct.unpack_from("HBBI", program, 8 * at)
        if code == RETURN:
            return constant
        if code == LOAD:
            value, at = data[constant], at + 1
        else:
            holds = value == constant if code == EQUAL else value >= constant
            at += 1 + (if_true if holds else if_false)


@pytest.mark.parametrize("machine", DENIED)
def test_the_filter_denies_what_it_lists_and_all_of_foreign_tables(machine):
    arch, denied = AUDIT_ARCH[machine], DENIED[machine]
    program = filter_program(arch, denied)
    for number in range(600):
        allowed = run_filter(program, arch=arch, number=number) == ALLOW
        assert allowed == (number not in denied)
    assert run_filter(program, arch=arch, number=0x40000000 + 2) != ALLOW
    assert run_filter(program, arch=arch ^ 1, number=0) != ALLOW


def test_the_level_is_told_by_what_was_denied():
    assert level(list(ALL)) == "on"
    assert level(["files", "network"]) == level(["files"]) == "partial"
    assert level([]) == level(["network"]) == "off"


def test_decoding_needs_nothing_that_the_sandbox_takes(tmp_path, make_chord, decode_file, logged):
    folder = tmp_path / "in"
    for number, suffix in enumerate(("wav", "flac", "ogg", "opus", "mp3", "aiff")):
        make_chord(folder / f"a.{suffix}", number)
    title = "Été 夏".encode("utf-16")
    frame = b"TIT2" + (len(title) + 1).to_bytes(4, "big") + b"\0\0\1" + title
    tag = b"ID3\3\0\0" + bytes([0, 0, 0, len(frame)]) + frame
    (folder / "a.mp3").write_bytes(tag + (folder / "a.mp3").read_bytes())
    with Pool(inputs_of(folder), tmp_path, Settings(min_seconds=0), num_workers=2) as pool:
        outcomes = list(pool.decode(scan(folder).sources))
    for outcome in outcomes:
        assert isinstance(outcome, Decoded)
        packed, _ = decode_file(folder / outcome.source.raw.decode())
        assert outcome.facts == packed.facts
        np.testing.assert_array_equal(outcome.seek, packed.seek)
        assert outcome.fingerprint == bytes.fromhex(packed.fingerprint)
        outcome.payload.close()
    assert len(outcomes) == 6
    assert len(logged()) == 1
    assert "Été 夏" in {outcome.facts["title"] for outcome in outcomes}


@pytest.fixture
def answer(tmp_path, make_chord, decode_file):
    """An honest answer about a track."""
    make_chord(tmp_path / "a.wav", 0)
    packed, _ = decode_file(tmp_path / "a.wav")
    return json.loads(json.dumps(vars(packed)))


def test_an_honest_answer_is_believed(answer):
    assert parse(json.dumps(answer).encode()) == answer
    for message in ({"beat": True}, {"failed": {"where": "sink", "errno": 28, "message": "full"}}):
        assert parse(json.dumps(message).encode()) == message


@pytest.mark.parametrize(
    "lie",
    [
        lambda a: a.update(extra=1),
        lambda a: a.pop("seek"),
        lambda a: a.update(seek=[-1]),
        lambda a: a.update(seek=[1 << 32]),
        lambda a: a.update(seek=[0.5]),
        lambda a: a.update(seek="0"),
        lambda a: a.update(fingerprint="xy"),
        lambda a: a.update(fingerprint="abc"),
        lambda a: a["facts"].update(frames=0),
        lambda a: a["facts"].update(frames=1.0),
        lambda a: a["facts"].update(peak_db=float("nan")),
        lambda a: a["facts"].update(title="\x1b[2J"),
        lambda a: a["facts"].update(artist="\u202eevil"),
        lambda a: a["facts"].update(album="x" * 2_000),
        lambda a: a["facts"].update(genre=["rock"]),
        lambda a: a["facts"].update(key="../../etc"),
        lambda a: a["facts"].update(pcm_sha256="0" * 63 + "/"),
        lambda a: a["facts"].pop("truncated"),
    ],
)
def test_a_lie_is_no_answer(lie, answer):
    lie(answer)
    with pytest.raises(Nonsense):
        parse(json.dumps(answer).encode())


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]\n", b"[" * 100_000, b"\xff\n", b'{"rejected": "because"}\n', b"1\n"]
)
def test_nonsense_is_no_answer(line):
    with pytest.raises(Nonsense):
        parse(line)
