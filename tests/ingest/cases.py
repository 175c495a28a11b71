"""The builds that are put to the test: a small corpus, its archive, and what must hold of both."""

import shutil
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import pytest
import soundfile

from shards.errors import InputError
from shards.files import sha256_file
from shards.index import Index
from tests.ingest.faults import Fault
from tests.ingest.trials import Ended, trials

REJECTS = 3
"""Exit code of every whole build here: the corpus holds two bad files."""

Tree = dict[str, tuple[str, str]]
"""Relative path → mode and hash."""


@cache
def music() -> Path:
    """Ten short tracks in four formats, a damaged one and a text that is named like one."""
    folder = trials().fresh("music")
    write_tracks(folder, 10)
    damaged = bytearray((folder / "1.flac").read_bytes())
    damaged[len(damaged) // 2 :] = bytes(len(damaged) // 2)
    (folder / "damaged.flac").write_bytes(damaged)
    (folder / "text.mp3").write_text("no music\n" * 40)
    return folder


FORMS = ("wav", "flac", "ogg", "mp3")


def write_tracks(folder: Path, count: int, forms: tuple[str, ...] = FORMS) -> None:
    """Noisy tones of 0.3 s and more, whose forms take turns."""
    rng = np.random.default_rng(0)
    for number in range(count):
        rate_hz = (16_000, 44_100)[number % 2]
        t = np.arange(int(rate_hz * (0.3 + number / 100))) / rate_hz
        tone = 0.3 * np.sin(2 * np.pi * 220 * (1 + number / 12) * t)
        soundfile.write(
            folder / f"{number}.{forms[number % len(forms)]}",
            tone + 0.05 * rng.standard_normal(len(t)),
            rate_hz,
        )


@cache
def undisturbed() -> Path:
    """The archive that every other build must equal."""
    out = trials().fresh("undisturbed") / "out"
    ended = trials().build(music(), out)
    assert ended.code == REJECTS, ended.stderr
    return out


def tree(folder: Path) -> Tree:
    """Mode and hash of every file but the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {
        str(path.relative_to(folder)): (oct(path.stat().st_mode & 0o777), sha256_file(path))
        for path in files
    }


@dataclass(frozen=True)
class Case:
    """A build: what lies in the output folder before it, and what must lie there when it ended."""

    audio: Path
    before: Path | None
    whole: Path

    @cached_property
    def after(self) -> Tree:
        """What lies in the folder when all is done."""
        return tree(self.whole)

    @cached_property
    def events(self) -> list[str]:
        """File operations of an undisturbed build, in order."""
        return self.build(self.begin(), fault=Fault()).events

    def number_of(self, event: str, *, after: int = 0) -> int:
        """Of the first event that begins so, counted from 1."""
        numbered = enumerate(self.events, start=1)
        return next(n for n, e in numbered if n > after and e.startswith(event))

    def begin(self) -> Path:
        """An output folder as the build finds it."""
        out = trials().fresh("case") / "out"
        if self.before:
            shutil.copytree(self.before, out)
        return out

    def build(self, out: Path, **how) -> Ended:
        """The build, under whatever circumstances."""
        return trials().build(self.audio, out, **how)

    def check_interrupted(self, out: Path) -> None:
        """What an interrupted build left is right or temporary; a manifest stands for all of it."""
        there = final(tree(out))
        before = tree(self.before) if self.before else {}
        wrong = there.items() - self.after.items() - before.items()
        assert not wrong, f"wrong bytes under a final name: {sorted(wrong)}"
        assert there.keys() >= before.keys(), "what was packed before is gone"
        if there.get("manifest.json") == self.after["manifest.json"]:
            card = {"README.md": self.after.get("README.md")}  # written from the manifest, after it
            assert there | card == self.after | card
        if "manifest.json" in there:
            Index.open(out)  # what was packed before stays readable all the time
        else:
            with pytest.raises(InputError):
                Index.open(out)

    def check_goes_on(self, out: Path) -> Ended:
        """Run again without a fault, the build ends with the bytes of an undisturbed one."""
        ended = self.build(out)
        assert ended.code == REJECTS, f"{ended.code}: {ended.stderr}"
        assert_same(tree(out), self.after)
        return ended


def final(files: Tree) -> Tree:
    """Without what is temporary."""
    return {name: file for name, file in files.items() if not Path(name).name.startswith(".tmp-")}


def differences(found: Tree, wanted: Tree) -> list[str]:
    """Names of files that only one has or that differ, with what is wrong."""
    names = sorted(found.keys() | wanted.keys())
    return [
        f"{name}: {found.get(name)}, want {wanted.get(name)}"
        for name in names
        if found.get(name) != wanted.get(name)
    ]


def assert_same(found: Tree, wanted: Tree) -> None:
    """Two trees are equal, or what differs is said."""
    wrong = differences(found, wanted)
    assert not wrong, "\n".join(wrong)


@cache
def first_build() -> Case:
    """The corpus into a new folder."""
    return Case(music(), None, undisturbed())


@cache
def growth() -> Case:
    """Half of the corpus is packed, then all of it is there."""
    half = trials().fresh("half")
    for path in sorted(music().iterdir())[::2]:
        shutil.copy2(path, half)
    before = trials().fresh("grown") / "out"
    assert trials().build(half, before).code in (0, REJECTS)
    after = trials().fresh("grown") / "out"
    shutil.copytree(before, after)
    assert trials().build(music(), after).code == REJECTS
    return Case(music(), before, after)


def spread(count: int, total: int) -> list[int]:
    """`count` numbers of 1 to `total`, evenly, the first and the last among them."""
    return sorted({1 + round(i * (total - 1) / max(1, count - 1)) for i in range(count)})
