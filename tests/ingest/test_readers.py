"""Other people's programs read the archive: webdataset, Hugging Face datasets, DuckDB."""

import io
import json
import tarfile

import duckdb
import numpy as np
import pytest
import soundfile

from ingest.labels.add import Options, add_labels
from shards.index import Index
from shards.reader import read_track

UNCLOSED = pytest.mark.filterwarnings(  # both packages leave closing tars to the collector
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@UNCLOSED
def test_webdataset_reads_every_sample(built):
    import webdataset

    last = len(built.manifest["shards"]) - 1
    urls = f"{built.out}/data/shard-{{000000..{last:06d}}}.tar"
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    index = Index.open(built.out)
    assert sorted(sample["__key__"] for sample in samples) == sorted(index.column("key"))
    for sample in samples:
        audio, _ = soundfile.read(io.BytesIO(sample["flac"]), dtype="int16")
        row = index.row_of_key[sample["__key__"]]
        np.testing.assert_array_equal(audio, read_track(index, row))
        assert json.loads(sample["json"])["source"] == index[row].source


@UNCLOSED
def test_hugging_face_datasets_reads_every_sample(built, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    import datasets

    files = [str(built.out / shard["name"]) for shard in built.manifest["shards"]]
    options = {"data_files": {"train": files}, "split": "train", "cache_dir": str(tmp_path)}
    found = datasets.load_dataset("webdataset", features=features(built), **options)
    assert len(found) == built.manifest["tracks"]
    assert all(row["flac"].startswith(b"fLaC") for row in found)
    assert all(row["json"]["key"] == row["__key__"] for row in found)


def features(built):
    """What the loader infers, with the payload as bytes: its Audio type wants torchcodec."""
    from datasets import Features, Value

    facts = json.loads(read_member(built, ".json"))
    types = {str: "string", int: "int64", float: "float64", bool: "bool"}
    return Features(
        {
            "__key__": Value("string"),
            "__url__": Value("string"),
            "flac": Value("binary"),
            "json": {name: Value(types[type(value)]) for name, value in facts.items()},
        }
    )


def read_member(built, suffix: str) -> bytes:
    """The first member of the first shard with this suffix."""
    with tarfile.open(built.out / built.manifest["shards"][0]["name"]) as tar:
        return tar.extractfile(next(m for m in tar if m.name.endswith(suffix))).read()


def test_duckdb_counts_index_labels_and_rejected(own, tmp_path):
    index = Index.open(own.out)
    table = tmp_path / "moods.csv"
    moods = ["calm", "wild"]
    lines = [f"{key},{moods[row % 2]}" for row, key in enumerate(index.column("key"))]
    table.write_text("\n".join(["key,mood", *lines]))
    list(add_labels(own.out, table, Options(column="mood")))
    count = "select count(*) from read_parquet(?)"
    for name, rows in (
        ("index.parquet", own.manifest["tracks"]),
        ("rejected.parquet", own.manifest["rejected"]),
        ("labels/mood.parquet", own.manifest["tracks"]),
    ):
        assert duckdb.execute(count, [str(own.out / name)]).fetchone() == (rows,)
