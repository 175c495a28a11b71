"""An archive in an object store is judged like its copy here, and a cache spares the store."""

import json

import numpy as np
import pytest

from evaluate import cli
from evaluate.evaluation import evaluate
from shards.cache import node_cache
from shards.index import Index
from shards.reader import read_track
from tests.shards.conftest import proxy as proxy
from tests.shards.conftest import store_server as store_server
from tests.shards.faulty import upload
from train.checkpoint import export_encoder
from train.encoders import build_encoder


@pytest.fixture
def run(tmp_path):
    settings = {"clip_s": 1.0, "width": 8, "layers": [1, 1, 1, 1], "num_heads": 2, "dim": 12}
    export_encoder(build_encoder("resnet", settings, seed=1), tmp_path, card="")
    return tmp_path


def ranges(proxy):
    return [request for request in proxy.requests if "data/" in request and "bytes=" in request]


def test_an_archive_in_a_store_is_judged_as_its_copy_here_is(
    archive, targets, music, run, store_server, proxy, tmp_path, capsys
):
    index = archive([music(300 * (1 + i % 4), 1.2, seed=i) for i in range(48)])
    splits = [("train", "train", "valid", "test")[i // 4 % 4] for i in range(48)]
    targets(index, "hz", "number", [300.0 * (1 + i % 4) for i in range(48)], splits=splits)
    uri = f"{upload(index.path, store_server, 'judged')}?{proxy.options}"
    words = [uri, "--encoder", str(run), "--cache", str(tmp_path / "cache"), "--num-workers", "0"]

    here = evaluate(index.path, run, out=tmp_path / "here").to_json()
    assert cli.main([*words, "--out", str(tmp_path / "there")]) == 0, capsys.readouterr().err
    there = json.loads((tmp_path / "there/results.json").read_text())
    assert [label["name"] for label in there["labels"]] == ["hz"]
    assert there["labels"] == json.loads(json.dumps(here["labels"]))
    assert there["archive"]["fingerprint"] == index.fingerprint
    assert ranges(proxy)

    proxy.requests.clear()
    cached = Index.open(uri, cache=node_cache(str(tmp_path / "cache"), 1.0))
    for row in range(len(cached)):
        np.testing.assert_array_equal(read_track(cached, row), read_track(index, row))
    assert ranges(proxy) == []


def test_a_cache_without_room_is_refused(archive, music, run, tmp_path, capsys):
    index = archive([music(300, 1.2)])
    words = [str(index.path), "--encoder", str(run), "--cache", str(tmp_path / "cache")]
    assert cli.main([*words, "--cache-gib", "0"]) == 2
    assert "--cache-gib" in capsys.readouterr().err
