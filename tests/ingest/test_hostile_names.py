"""Names and tags of hostile files pass through: exact where they are stored, harmless in print."""

import io
import json
import subprocess
import sys
import tarfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ingest.cli import main
from ingest.plan import read_plans
from shards.index import Index

ROOT = Path(__file__).resolve().parents[2]

NAMES = [
    b"-rf.wav",
    b"--out.wav",
    b"line\nbreak.wav",
    b"carriage\rreturn.wav",
    b"tab\there.wav",
    b"bell\x07.wav",
    b"\x1b[2J\x1b[31mred.wav",
    b"\x1b]0;title\x07.wav",
    b"\xc2\x9b31mc1.wav",
    b"delete\x7f\x08\x08.wav",
    b"not-utf-8-\xff\xfe.wav",
    b"half-\xe5\xa4.wav",
    b"surrogate-\xed\xa0\x80.wav",
    "right-to-left-\u202evaw.exe.wav".encode(),
    "isolate-\u2066x\u2069.wav".encode(),
    "invisible-\u200b\ufeff.wav".encode(),
    "decomposed-e\u0301.wav".encode(),
    "\u2028line-separator.wav".encode(),
    b"quote'\"`$(touch hacked);.wav",
    b"%s%n{0}\\x1b\\.wav",
    b" .wav",
    b"x" * 251 + b".wav",
]

HIDDEN = ["\x1b[2J", "\x00", "\x07", "\r\n", "\u202e", "\u200b", "\ufeff", "\x9b31m", "\u2066"]
TEXTS = [
    *(f"a{hidden}b" for hidden in HIDDEN),
    "x" * 100_000,
    "夏" * 5_000,
    "e\u0301" * 600,
    "\u0301" * 3_000,
    "<script>alert(1)</script>",
    "=HYPERLINK('x')",
    "](javascript:alert(1))",
    '"}, {"key": "',
    "{{7*7}} ${jndi:ldap://x} %s%n",
    "../../etc/passwd",
    "null",
    "",
]
RAW_FRAMES = [
    b"\x01\xff\xfe\x00\xd8\x41\x00",  # a surrogate alone in UTF-16
    b"\x01\xfe",  # half of a byte order mark
    b"\x02\xd8\x00\xd8\x00",
    b"\x03\xff\xfe\xc3\x28\xf0\x28\x8c\xbc",  # no UTF-8
    b"\x00\x80\x85\x9b\xa0\xad",
    b"\x07unknown encoding",
    b"",
    b"\x03" + b"a\x00" * 2_000,
]


def id3(frames: list[tuple[bytes, bytes]]) -> bytes:
    """An ID3v2.3 tag of these frames."""
    body = b"".join(name + len(text).to_bytes(4, "big") + b"\0\0" + text for name, text in frames)
    size = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + size + body


def tag_sets() -> list[bytes]:
    names = (b"TIT2", b"TPE1", b"TALB", b"TCON")
    sets = [[(name, b"\3" + text.encode()) for name in names] for text in TEXTS]
    sets += [[(name, text) for name in names] for text in RAW_FRAMES]
    sets.append([(b"TIT2", b"\3one"), (b"TIT2", b"\3two")] * 500)
    sets.append([(b"\x1b[2J", b"\3x"), (b"TIT2", b"\3fine")])
    return [id3(frames) for frames in sets]


def is_harmless(text: str) -> bool:
    return all(char == "\n" or char.isprintable() for char in text)


def noise(number: int, form: str) -> bytes:
    """A quarter of a second, different for every number."""
    file = io.BytesIO()
    audio = np.random.default_rng(number).normal(0, 0.1, 4_000)
    soundfile.write(file, audio, 16_000, format=form)
    return file.getvalue()


def write(path: bytes, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Tracks with hostile names and tags, each name once more as a file that is refused."""
    folder = tmp_path_factory.mktemp("hostile")
    for below in ("names", "refused", "tags"):
        (folder / "in" / below).mkdir(parents=True)
    root = bytes(folder / "in")
    for number, name in enumerate(NAMES):
        write(root + b"/names/" + name, noise(number, "WAV"))
        write(root + b"/refused/" + name, b"RIFF" + bytes(4) + b"WAVE" + bytes(40))
    for number, tag in enumerate(tag_sets()):
        write(root + b"/tags/%02d.mp3" % number, tag + noise(1_000 + number, "MP3"))
    command = [sys.executable, "-m", "ingest", "build-shards", str(folder / "in")]
    command += ["--out", str(folder / "out"), "--num-workers", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    return done, folder / "out"


def test_no_control_character_reaches_the_terminal(packed):
    done, _ = packed
    assert done.returncode == 3, done.stderr
    printed = done.stdout + done.stderr
    assert all(byte >= 0x20 or byte == 0x0A for byte in printed)
    assert is_harmless(printed.decode())


def test_names_are_exact_in_the_plan_and_harmless_in_the_index(packed):
    _, out = packed
    (plan,) = read_plans(out)
    raw = {source.raw for source in plan.sources}
    assert {b"names/" + name for name in NAMES} <= raw
    index = Index.open(out)
    sources = index.column("source")
    assert sum(source.startswith("names/") for source in sources) == len(NAMES)
    assert all(is_harmless(source) and "\n" not in source for source in sources)


def test_each_hostile_tag_is_short_and_printable_and_its_json_is_strict(packed):
    _, out = packed
    index = Index.open(out)
    tagged = [source.startswith("tags/") for source in index.column("source")]
    assert sum(tagged) == len(tag_sets()) >= 30
    columns = {name: index.column(name) for name in ("title", "artist", "album", "genre")}
    for texts in columns.values():
        assert all(len(text.encode()) <= 1_024 for text in texts)
        assert not any(unicodedata.category(c)[0] == "C" for text in texts for c in text)
    assert {"ab", "<script>alert(1)</script>", "fine", "a b"} <= set(columns["title"])
    for shard in index.manifest["shards"]:
        with tarfile.open(out / shard["name"]) as tar:
            for member in tar.getmembers():
                if member.name.endswith(".json"):
                    json.loads(tar.extractfile(member).read().decode(), parse_constant=pytest.fail)


@pytest.mark.parametrize("start", range(0, len(NAMES), 5))
def test_names_of_refused_files_are_shown_and_harmless(start, tmp_path, capfd):
    (tmp_path / "in").mkdir()
    for name in NAMES[start : start + 5]:
        write(bytes(tmp_path / "in") + b"/" + name, b"this is no music")
    assert main(["build-shards", str(tmp_path / "in"), "--out", "x", "--dry-run"]) == 0
    shown = capfd.readouterr().out
    assert is_harmless(shown)
    assert shown.count("is named like audio") == len(NAMES[start : start + 5])
