"""An archive in an object store gives the samples of its local copy, by few requests."""

import io
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from ingest.build import build_shards
from ingest.settings import Settings
from shards.cache import Cache
from shards.decode import Decoder
from shards.errors import StoreError
from shards.index import Index
from shards.labels import Labels, label_schema, write_labels
from shards.place import Remote, place
from shards.plan import TrainPlan
from shards.reader import read_window
from shards.remote import GAP_BYTES, MAX_REQUEST_BYTES, RemoteFile, joined
from shards.request import GCS_S, Patience, _system
from shards.stream import stream
from shards.traffic import TRAFFIC
from shards.views.pair import AnchorPositive
from tests.shards.faulty import upload

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def archive(corpus, tmp_path_factory) -> Path:
    """The synthetic corpus in shards of a few tracks."""
    out = tmp_path_factory.mktemp("parted") / "shards"
    build_shards(corpus, out, settings=Settings(shard_mib=0.5), num_workers=1)
    keys = Index.open(out).column("key").tolist()
    splits = [("train", "valid", "test")[number % 3] for number in range(len(keys))]
    columns = {"key": keys, "target": ["ab"[key[0] > "7"] for key in keys]}
    moods = pa.table({**columns, "group": keys, "split": splits}, label_schema("class"))
    write_labels(out, "mood", moods, {"kind": "class", "classes": ["a", "b"], "metric": "accuracy"})
    return out


@pytest.fixture(scope="module")
def index(archive) -> Index:
    return Index.open(archive)


@pytest.fixture(scope="module")
def bucket(archive, store_server) -> Remote:
    """The archive in a store, to read only."""
    return upload(archive, store_server, "music")


@pytest.fixture
def uri(bucket, proxy) -> str:
    """Of the archive by way of the proxy."""
    return f"{bucket}?{proxy.options}"


@pytest.fixture
def cache(tmp_path) -> Cache:
    return Cache(tmp_path / "cache", 1 << 30)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Nobody waits long for a store that is down on purpose."""
    monkeypatch.setattr(
        "shards.remote.PATIENCE", Patience(attempts=4, first_s=0.01, longest_s=0.02)
    )


def plan_of(index: Index) -> TrainPlan:
    return TrainPlan(index, AnchorPositive(clip_s=2.0, min_gap_s=3.0, max_gap_s=9.0), seed=5)


def filled(index: Index, count: int = 24) -> tuple[np.ndarray, np.ndarray, list]:
    """Clips and valid of the first positions of a plan, and what was bad."""
    plan = plan_of(index)
    rows = plan.located(np.arange(count))
    clips = np.full((count, plan.num_views, plan.clip_frames), 77, np.int16)
    valid = np.zeros(count, bool)
    report = pickle.loads(pickle.dumps(Decoder.of(plan))).fill(rows, clips, valid)
    return clips, valid, report.bad


def same(there: Index, here: Index) -> None:
    """Both give the same batch, all of it valid."""
    clips, valid, bad = filled(there)
    np.testing.assert_array_equal(clips, filled(here)[0])
    assert valid.all()
    assert not bad


def ranges(proxy) -> list[str]:
    return [request for request in proxy.requests if "data/" in request and "bytes=" in request]


def test_a_batch_from_a_store_is_that_of_the_local_copy(uri, index):
    same(Index.open(uri), index)


def test_a_pair_of_near_windows_is_one_request_and_no_shard_is_opened_twice(uri, proxy, index):
    there = Index.open(uri)
    assert len(there.shards) > 2
    proxy.requests.clear()
    before = replace(TRAFFIC)
    filled(there)
    cost = TRAFFIC.since(before)
    opened = Counter(r for r in proxy.requests if r.startswith("HEAD") and "data/" in r)
    assert set(opened.values()) == {1}
    assert len(ranges(proxy)) <= 24  # positions; windows are twice as many
    assert cost.wanted > 0
    assert cost.requests >= len(ranges(proxy))
    assert cost.transferred == proxy_bytes(proxy)
    assert cost.cached == cost.failed == 0


def proxy_bytes(proxy) -> int:
    """Bytes of all ranges that were asked for."""
    total = 0
    for request in proxy.requests:
        if "bytes=" in request and ("data/" in request or "seek/" in request):
            first, last = request.partition("bytes=")[2].split("-")
            total += int(last) - int(first) + 1
    return total


def test_opening_costs_few_requests_however_many_shards_there_are(uri, proxy):
    index = Index.open(uri)
    assert len(index.shards) > 2
    assert len(proxy.requests) <= 8, proxy.requests


def test_labels_are_those_of_the_local_copy_and_read_once(uri, proxy, index, cache):
    for _ in range(2):
        proxy.requests.clear()
        labels = Labels.open(Index.open(uri, cache=cache), "mood")
        for split in ("train", "valid"):
            here = Labels.open(index, "mood")
            np.testing.assert_array_equal(labels.rows(split), here.rows(split))
            np.testing.assert_array_equal(labels.targets(split), here.targets(split))
    assert not [r for r in proxy.requests if r.startswith("GET") and "mood.parquet" in r]


def test_labels_that_are_damaged_in_the_store_are_named(archive, store_server, proxy):
    own = upload(archive, store_server, "music-mislabelled")
    table = (own / "labels/mood.parquet").read_bytes()
    (own / "labels/mood.parquet").put(io.BytesIO(table[:-9] + b"x" + table[-8:]))
    there = Index.open(f"{own}?{proxy.options}")
    with pytest.raises(StoreError, match=r"mood.parquet is not the file that its archive knows"):
        Labels.open(there, "mood")


def test_what_the_cache_holds_is_not_asked_for_again(uri, proxy, index, cache):
    there = Index.open(uri, cache=cache)
    same(there, index)
    proxy.requests.clear()
    same(Index.open(uri, cache=cache), index)
    assert ranges(proxy) == []
    assert not [request for request in proxy.requests if "seek/" in request or "index" in request]


@pytest.mark.parametrize("fault", ["503", "cut", "short"])
def test_a_store_that_fails_every_other_time_changes_nothing(uri, proxy, index, fault):
    there = Index.open(uri)
    asked = Counter()

    def every_other(request):
        asked[request] += 1
        return fault if "bytes=" in request and asked[request] % 2 else ""

    proxy.fault = every_other
    same(there, index)
    assert sum(asked.values()) > len(asked)


def test_a_transfer_that_lies_is_doubted_before_the_track_is(uri, proxy, index, cache):
    there = Index.open(uri, cache=cache)
    lies = []

    def three_times(request):
        if "data/" in request and "bytes=" in request and len(lies) < 3:
            lies.append(request)
            return "garbage"
        return ""

    proxy.fault = three_times
    same(there, index)
    assert len(lies) == 3
    same(Index.open(uri, cache=cache), index)  # nor is the lie still in the cache


def test_a_store_that_stays_down_ends_with_its_name_and_advice(uri, proxy):
    there = Index.open(uri)
    filled(there)
    proxy.fault = lambda request: "503"
    with pytest.raises(StoreError, match=r"s3://.*shard-000000.tar, bytes .* 4 requests failed"):
        read_window(there, 0, 0, 16_000)
    proxy.fault = lambda request: ""
    assert len(read_window(there, 0, 0, 16_000)) == 16_000


@pytest.mark.slow
def test_a_body_that_stops_coming_is_given_up_and_asked_for_again(uri, proxy, index):
    there = Index.open(uri)
    stalled = []

    def once(request):
        if "data/" in request and "bytes=" in request and not stalled:
            stalled.append(request)
            return "stall"
        return ""

    proxy.fault = once
    same(there, index)
    assert stalled


def test_what_is_not_there_or_has_changed_is_named_at_once(archive, store_server, proxy):
    own = upload(archive, store_server, "music-to-lose")
    shard = Index.open(f"{own}?{proxy.options}").shards[0]
    original = own / "data/shard-000000.tar"
    original.unlink()
    proxy.requests.clear()
    with pytest.raises(StoreError, match="is not given out"):
        RemoteFile(shard).range(0, 100)
    assert len(proxy.requests) == 1
    original.put(io.BytesIO(bytes(512)))
    with pytest.raises(StoreError, match="has changed"):
        RemoteFile(shard).range(0, 100)


def test_a_changed_shard_is_never_served_from_the_cache(uri, proxy, index, cache, archive):
    there = Index.open(uri, cache=cache)
    same(there, index)
    changed = Index.open(uri, cache=cache)
    changed.shards[0].sha256 = "0" * 64
    proxy.requests.clear()
    read_window(changed, int(np.argmin(index.column("shard"))), 0, 16_000)
    assert ranges(proxy)


def test_bytes_of_any_range_are_those_of_the_object(uri, archive, cache):
    whole = (archive / "data/shard-000000.tar").read_bytes()
    rng = np.random.default_rng(0)
    for shard in (Index.open(uri).shards[0], Index.open(uri, cache=cache).shards[0]):
        file = RemoteFile(shard)
        spans = [(0, 1), (0, 0), (len(whole) - 1, 50), (len(whole), 9), (262_128 - 3, 7)]
        spans += [(int(rng.integers(len(whole))), int(rng.integers(300_000))) for _ in range(12)]
        file.ahead(spans[::2])
        for offset, size in spans:
            assert bytes(file.range(offset, size)) == whole[offset : offset + size]
        assert bytes(file.range(0, len(whole) + 7)) == whole


def test_near_ranges_are_joined_and_none_is_lost():
    rng = np.random.default_rng(1)
    for _ in range(50):
        spans = sorted(
            {
                (int(a), int(n))
                for a, n in zip(
                    rng.integers(0, 40 << 20, 40), rng.integers(1, 1 << 20, 40), strict=True
                )
            }
        )
        parts = joined(spans)
        assert [span for part in parts for span in part] == spans
        for part in parts:
            end = max(a + n for a, n in part)
            assert len(part) == 1 or end - part[0][0] <= MAX_REQUEST_BYTES
        for left, right in pairwise(parts):
            apart = right[0][0] - max(a + n for a, n in left) > GAP_BYTES
            too_long = right[0][0] + right[0][1] - left[0][0] > MAX_REQUEST_BYTES
            assert apart or too_long
    assert joined([(0, 10), (10 + GAP_BYTES, 5), (16 + 2 * GAP_BYTES, 1)]) == [
        [(0, 10), (10 + GAP_BYTES, 5)],
        [(16 + 2 * GAP_BYTES, 1)],
    ]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_of_a_stream_are_those_of_the_local_copy(uri, proxy, index, cache, num_workers):
    there, options = Index.open(uri, cache=cache), {"batch_size": 8, "stop": 40}
    asked = Counter()

    def first(request):
        asked[request] += 1
        return "cut" if "bytes=" in request and asked[request] == 1 else ""

    proxy.fault = first
    with stream(plan_of(there), num_workers=num_workers, **options) as batches:
        got = [batch.clips.copy() for batch in batches]
        stats = batches.stats()
    with stream(plan_of(index), num_workers=0, **options) as batches:
        np.testing.assert_array_equal(got, [batch.clips.copy() for batch in batches])
    assert stats.bad == 0
    assert stats.traffic.failed >= len([r for r in asked if "data/" in r and "bytes=" in r])
    assert stats.traffic.wanted >= stats.bytes_read > 0
    assert stats.traffic.transferred > 0


def test_a_store_that_stays_down_ends_a_stream_with_that_error(uri, proxy):
    there = Index.open(uri)
    proxy.fault = lambda request: "503" if "bytes=" in request else ""
    with (
        stream(plan_of(there), batch_size=8, num_workers=1) as batches,
        pytest.raises(StoreError, match="4 requests failed"),
    ):
        next(batches)


def test_windows_of_wav_payloads_are_those_of_the_local_copy(tmp_path, store_server, proxy):
    rng = np.random.default_rng(3)
    (tmp_path / "in").mkdir()
    for number in range(3):
        noise = rng.integers(-9_999, 9_999, 12 * 16_000).astype(np.int16)
        soundfile.write(tmp_path / f"in/{number}.wav", noise, 16_000)
    local = tmp_path / "shards"
    build_shards(tmp_path / "in", local, settings=Settings(codec="wav"), num_workers=1)
    there = Index.open(f"{upload(local, store_server, 'waves')}?{proxy.options}")
    before = replace(TRAFFIC)
    same(there, Index.open(local))
    windows = 24 * 2 * 2.0 * 16_000 * 2
    assert TRAFFIC.since(before).wanted < 1.01 * windows


def test_stores_of_all_kinds_are_told_not_to_ask_again_by_themselves():
    for uri in ("gs://anonymous@music/shards", "s3://anonymous@music/shards?region=us-east-1"):
        there = place(uri)
        asked_once = _system(there)
        assert asked_once is _system(there / "data")
        assert asked_once.type_name == there._system.type_name
    _, (options,) = _system(place("gs://anonymous@music/shards")).__reduce__()
    assert options["retry_time_limit"].total_seconds() == GCS_S


READER = """
import hashlib, sys
from pathlib import Path
from shards.cache import Cache
from shards.index import Index
from shards.remote import RemoteFile
index = Index.open(sys.argv[1], cache=Cache(Path(sys.argv[2]), 1 << 30))
print("open", flush=True)
for shard in index.shards:
    file, digest = RemoteFile(shard), hashlib.sha256()
    for offset in range(0, shard.size, 100_000):
        digest.update(file.range(offset, 100_000))
    assert digest.hexdigest() == shard.sha256
"""


def test_processes_share_a_cache_even_if_one_is_killed(uri, proxy, cache):
    proxy.latency_s = 0.01
    command = [sys.executable, "-c", READER, uri, str(cache.folder)]
    readers = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    assert readers[0].stdout.readline() == b"open\n"
    while not ranges(proxy):
        time.sleep(0.01)
    readers[0].kill()
    for reader in readers:
        _, errors = reader.communicate(timeout=60)
        assert reader.returncode == (-signal.SIGKILL if reader is readers[0] else 0), errors
    repeated = [n for n in Counter(ranges(proxy)).values() if n > 1]
    assert len(repeated) <= 1  # what the killed one had asked for
