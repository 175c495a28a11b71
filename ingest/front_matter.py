"""The YAML at the top of a data card: with it Hugging Face's tools load the folder as it is."""

from __future__ import annotations

import json
from tarfile import BLOCKSIZE, TarInfo
from typing import Any

import pyarrow as pa

from ingest.inert import yaml
from shards.names import DATA
from shards.place import Place, read_range

KNOWN_LICENCES = frozenset(
    [
        *("cc0-1.0", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"),
        *("cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0"),
        *("cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "pddl"),
        *("odc-by", "odbl", "mit", "apache-2.0"),
    ]
)
"""Identifiers that Hugging Face knows; any other licence is `other` with its name."""

_TYPES = {str: "string", bool: "bool", int: "int64", float: "float64"}


def front_matter(
    manifest: dict[str, Any],
    licences: list[tuple[str, int]],
    labels: list[dict[str, str]],
    payloads: list[str],
    fields: list[tuple[str, str]],
) -> str:
    """YAML that Hugging Face reads; with `fields` the folder loads without looking into it."""
    tasks = ["feature-extraction"]
    if any(labels_of["kind"] in ("class", "tags", "key") for labels_of in labels):
        tasks.insert(0, "audio-classification")
    lines = [
        *_licence_lines([name for name, _ in licences]),
        *_list("task_categories", tasks),
        *_list("tags", ["audio", "music", "webdataset", "wholetone"]),
        *_list("size_categories", [_size_category(manifest["tracks"])]),
    ]
    if fields:
        lines += [
            "configs:",
            "- config_name: default",
            "  data_files:",
            "  - split: train",
            f"    path: {DATA}/*.tar",
            "dataset_info:",
            "  config_name: default",
            "  features:",
            *_feature("__key__", "string"),
            *_feature("__url__", "string"),
            *(line for payload in payloads for line in _feature(payload, "binary")),
            '  - name: "json"',
            "    struct:",
            *(f"  {line}" for field in fields for line in _feature(*field)),
        ]
    return "\n".join(lines) + "\n"


def _list(name: str, values: list[str]) -> list[str]:
    return [f"{name}:", *(f"- {value}" for value in values)]


def _feature(name: str, dtype: str) -> list[str]:
    return [f"  - name: {yaml(name)}", f"    dtype: {dtype}"]


def _licence_lines(licences: list[str]) -> list[str]:
    """Identifiers as Hugging Face knows them, `other` with the names, or `unknown`."""
    if not any(licences):
        return ["license: unknown"]
    if {name.lower() for name in licences} <= KNOWN_LICENCES:
        return _list("license", sorted({name.lower() for name in licences}))
    names = ", ".join(name or "not stated" for name in licences)
    return ["license: other", f"license_name: {yaml(names)}"]


def _size_category(tracks: int) -> str:
    """The range of a thousandfold or tenfold that holds a number of tracks."""
    edges = ["1K", "10K", "100K", "1M", "10M", "100M", "1B"]
    for power, edge in enumerate(edges):
        if tracks < 1_000 * 10**power:
            return f"{edges[power - 1]}<n<{edge}" if power else "n<1K"
    return "n>1B"


def sample_fields(out: Place, manifest: dict[str, Any], tracks: pa.Table) -> list[tuple[str, str]]:
    """Name and type of what the JSON behind the first payload says: it is alike for all tracks."""
    if manifest.get("foreign") or not tracks.num_rows:
        return []
    shard, offset, size = (tracks[name][0].as_py() for name in ("shard", "offset", "size"))
    path = out / manifest["shards"][shard]["name"]
    at = offset + -(-size // BLOCKSIZE) * BLOCKSIZE
    member = TarInfo.frombuf(read_range(path, at, BLOCKSIZE), "ascii", "strict")
    facts: dict[str, Any] = json.loads(read_range(path, at + BLOCKSIZE, member.size))
    return [(name, _TYPES[type(value)]) for name, value in sorted(facts.items())]
