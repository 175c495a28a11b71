"""What a cache gives out is whole, its size has a limit, and what many want is fetched once."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from shards.blocks import BLOCK_BYTES, Blocks, runs
from shards.cache import TRAILER_BYTES, Cache
from shards.errors import InputError
from shards.traffic import Traffic

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cache(tmp_path) -> Cache:
    return Cache(tmp_path / "cache", 10 * 1024)


def fill(cache: Cache, name: str, data: bytes) -> None:
    claim = cache.claim(name)
    assert claim is not None
    claim.fill(data)
    claim.give_up()


def files(cache: Cache) -> dict[str, int]:
    """Name → bytes of all entries on the disk."""
    folder = cache.folder / "entries"
    return {str(p.relative_to(folder)): p.stat().st_size for p in folder.glob("*/*")}


def test_an_entry_comes_back_as_it_was_in_every_process(cache):
    fill(cache, "a/0", b"music")
    assert bytes(Cache(cache.folder, 10 * 1024).read("a/0")) == b"music"
    assert cache.read("a/1") is None


def test_a_changed_or_cut_or_renamed_entry_is_none(cache):
    path = cache.folder / "entries/a/0"
    for number in range(40):
        fill(cache, "a/0", b"x" * 20)
        whole = bytearray(path.read_bytes())
        if number < len(whole):
            whole[number] ^= 1
            path.write_bytes(whole)
        else:
            path.write_bytes(whole[: number - 40])
        assert cache.read("a/0") is None
        assert not path.exists()
    fill(cache, "a/0", b"x" * 20)
    path.rename(path.with_name("1"))
    assert cache.read("a/1") is None


def test_all_entries_together_never_exceed_the_limit_and_the_oldest_go_first(cache):
    for number in range(30):
        fill(cache, f"a/{number}", bytes(1000))
        os.utime(cache.folder / f"entries/a/{number}", (number, number))
        assert sum(files(cache).values()) <= cache.limit_bytes
        assert cache.read("a/0")  # which marks it as used
    kept = {int(name[2:]) for name in files(cache)}
    assert 0 in kept
    assert kept - {0} == set(range(30 - len(kept) + 1, 30))


def test_an_entry_larger_than_the_cache_is_not_kept(cache):
    fill(cache, "a/0", bytes(1000))
    fill(cache, "a/1", bytes(20_000))
    assert list(files(cache)) == ["a/0"]


def test_what_was_counted_wrong_is_counted_again(cache):
    for number in range(9):
        fill(cache, f"a/{number}", bytes(1000))
    (cache.folder / "used").write_bytes(b"")
    fill(cache, "a/9", bytes(1000))
    assert int.from_bytes((cache.folder / "used").read_bytes(), "little") == sum(
        files(cache).values()
    )


def test_one_process_fills_and_others_are_told_to_wait(cache):
    claim = cache.claim("a/0")
    assert cache.claim("a/0") is None
    claim.fill(b"1")
    assert cache.claim("a/0") is None  # it is there
    claim.give_up()
    assert list((cache.folder / "filling").iterdir()) == []


FILLER = """
import sys, os, time
from shards.cache import Cache
cache = Cache(__import__("pathlib").Path(sys.argv[1]), 10240)
claim = cache.claim("a/0")
os.write(claim._fd, b"half an ent")
print("half", flush=True)
time.sleep(60)
"""


def test_a_filler_that_is_killed_leaves_nothing_and_frees_its_claim(cache):
    with subprocess.Popen(
        [sys.executable, "-c", FILLER, str(cache.folder)], cwd=ROOT, stdout=subprocess.PIPE
    ) as filler:
        assert filler.stdout.readline() == b"half\n"
        assert cache.claim("a/0") is None
        filler.send_signal(signal.SIGKILL)
    assert cache.read("a/0") is None
    fill(cache, "a/0", b"whole")
    assert bytes(cache.read("a/0")) == b"whole"


def test_what_killed_fillers_left_is_swept_when_room_is_made(cache):
    (cache.folder / "filling/b-7").write_bytes(bytes(5000))
    held = cache.claim("c/0")
    for number in range(11):
        fill(cache, f"a/{number}", bytes(1000))
    assert [path.name for path in (cache.folder / "filling").iterdir()] == ["c-0"]
    held.give_up()


def test_threads_that_want_the_same_ask_once(tmp_path):
    cache, asked, whole = Cache(tmp_path / "c", 1 << 26), [], os.urandom(5 * BLOCK_BYTES + 99)

    def ask(begin, end):
        asked.append((begin, end))
        time.sleep(0.05)
        return memoryview(whole)[begin:end]

    got = {}

    def read(begin, end):
        blocks = Blocks(cache, "f" * 64, len(whole), ask, Traffic())
        got[begin, end] = bytes(blocks.read(begin, end))

    spans = [(i * 25_000, min(len(whole), i * 25_000 + 200_000)) for i in range(25)]
    threads = [threading.Thread(target=read, args=span) for span in spans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {span: whole[slice(*span)] for span in spans}
    blocks = [n for a, b in asked for n in range(a // BLOCK_BYTES, -(-b // BLOCK_BYTES))]
    assert sorted(blocks) == list(range(6))


def test_a_unit_is_fetched_whole_by_one_request(tmp_path):
    cache = Cache(tmp_path / "c", 1 << 26, unit_bytes=4 * BLOCK_BYTES)
    whole, asked = os.urandom(6 * BLOCK_BYTES + 5), []

    def ask(begin, end):
        asked.append((begin, end))
        return memoryview(whole)[begin:end]

    blocks = Blocks(cache, "f" * 64, len(whole), ask, Traffic())
    for begin in (BLOCK_BYTES + 7, 0, 3 * BLOCK_BYTES, 5 * BLOCK_BYTES, 6 * BLOCK_BYTES):
        assert bytes(blocks.read(begin, begin + 5)) == whole[begin : begin + 5]
    assert asked == [(0, 4 * BLOCK_BYTES), (4 * BLOCK_BYTES, len(whole))]


def test_a_store_that_fails_gives_the_claims_back(tmp_path):
    cache = Cache(tmp_path / "c", 1 << 26)

    def ask(begin, end):
        raise OSError("down")

    with pytest.raises(OSError, match="down"):
        Blocks(cache, "f" * 64, 1000, ask, Traffic()).read(0, 1000)
    assert list((cache.folder / "filling").iterdir()) == []


def test_blocks_fill_their_place_on_a_disk():
    assert (BLOCK_BYTES + TRAILER_BYTES) % 4096 == 0
    assert runs([1, 2, 3, 7, 8, 10]) == [[1, 2, 3], [7, 8], [10]]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Cache(tmp_path / "file/cache", 1 << 20)
