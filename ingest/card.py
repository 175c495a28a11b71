"""README.md of an archive: what it holds, for people and for Hugging Face.

Our part stands between two comments, one in the YAML at the top and one at the end. It alone is
written anew, by every build and with every label set; what stands outside is the user's. A card
that lacks a comment has been taken over and is left alone. The manifest does not vouch for the
card, which is a function of the archive: the same archive gives the same bytes.
"""

from __future__ import annotations

import logging
from importlib import resources
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.front_matter import front_matter, sample_fields
from ingest.inert import markdown
from ingest.payload import COPY
from ingest.slow import called, num_slow
from shards.errors import InputError
from shards.files import publish, read_parquet, shown
from shards.labels import SPLITS, label_names
from shards.names import LABELS
from shards.place import Place, Remote
from shards.schema import suffix_of
from shards.sealed import read_sealed

log = logging.getLogger(__name__)

CARD = "README.md"
BEGIN = b"# wholetone: begin"
END = b"<!-- wholetone: end -->"
NOTE = "; from here to wholetone's other comment all is written anew, the rest of the page is yours"

CLASSES, SUFFIXES = 30, 12
"""Names that are shown of a label set, and endings of sources' names."""

_COLUMNS = (
    *("shard", "offset", "size", "codec", "duration_s", "source", "licence"),
    *("duplicate_of", "near_duplicate_of", "truncated"),
)


def write_card(out: Place, manifest: dict[str, Any]) -> None:
    """Bring the card up to date; a card that is, or that the user took over, is not touched."""
    path = out / CARD
    before = _read(path)
    if before is None:
        log.info("%s has no comments of wholetone and is left as it is.", shown(path))
        return
    head, tail = before
    after = head + _our_part(out, manifest) + tail
    if not path.exists() or path.read_bytes() != after:
        publish(path, after)


def _read(path: Place) -> tuple[bytes, bytes] | None:
    """What stands before and behind our part, None if the card is not ours."""
    is_link = not isinstance(path, Remote) and path.is_symlink()
    if not path.exists() and not is_link:
        return b"---\n", b"\n"
    if is_link or not path.is_file():
        return None
    page = path.read_bytes()
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.find(END) < page.find(BEGIN):
        return None
    return page[: page.find(BEGIN)], page[page.find(END) + len(END) :]


def _our_part(out: Place, manifest: dict[str, Any]) -> bytes:
    tracks = read_parquet(out / manifest["generations"][-1]["index"], columns=list(_COLUMNS))
    licences = _counts(tracks["licence"])
    labels = [_label_set(out, name) for name in label_names(out)]
    fields = sample_fields(out, manifest, tracks)
    payloads = sorted({suffix_of(codec) for codec in tracks["codec"].unique().to_pylist()})
    head = front_matter(manifest, licences, labels, payloads, fields)
    facts = _facts(out, manifest, tracks)
    page = _template().render(
        **facts,
        licences=[(name or "not stated", f"{count:,}") for name, count in licences],
        labels=labels,
        payloads=payloads if fields else [],
    )
    return BEGIN + f"{NOTE}\n{head}---\n{page}".encode() + END


def _facts(out: Place, manifest: dict[str, Any], tracks: pa.Table) -> dict[str, Any]:
    """What the page says of the archive, in words and numbers ready to print."""
    files = manifest["generations"][-1]
    rejected = _counts(read_parquet(out / files["rejected"], columns=["code"])["code"])
    return {
        "foreign": bool(manifest.get("foreign")),
        "wholetone": manifest["wholetone"],
        "tracks": f"{manifest['tracks']:,}",
        "hours": f"{manifest['duration_s'] / 3600:,.2f}",
        "lengths": _lengths(tracks["duration_s"]),
        "sample_rate": manifest["sample_rate"],
        "codec": called(manifest["codec"]),
        "copied": manifest["codec"] == COPY,
        "sandboxed": f"{num_slow(manifest):,}" if num_slow(manifest) else "",
        "shards": f"{len(manifest['shards']):,}",
        "last_shard": f"{len(manifest['shards']) - 1:06d}",
        "bytes": f"{sum(shard['bytes'] for shard in manifest['shards']):,}",
        "sources": _sources(tracks["source"]),
        "duplicates": f"{_marked(tracks['duplicate_of']):,}",
        "near_duplicates": f"{_marked(tracks['near_duplicate_of']):,}",
        "truncated": f"{pc.sum(tracks['truncated']).as_py() or 0:,}",
        "generations": len(manifest["generations"]),
        "fingerprint": manifest["fingerprint"],
        "files": files,
        "rejected": [(code, f"{count:,}") for code, count in rejected],
        "others": f"{manifest['others']:,}" if manifest["others"] else "",
        "versions": sorted(manifest["created_by"].items()),
    }


def _counts(column: pa.ChunkedArray) -> list[tuple[str, int]]:
    """Values with how often each occurs, the most frequent first."""
    found = [(item["values"], item["counts"]) for item in pc.value_counts(column).to_pylist()]
    return sorted(found, key=lambda item: (-item[1], item[0]))


def _marked(column: pa.ChunkedArray) -> int:
    """Values that are not empty."""
    return int(pc.sum(pc.not_equal(column, "")).as_py() or 0)


def _lengths(seconds: pa.ChunkedArray) -> str:
    """Shortest, median and longest track in seconds, "" without tracks."""
    if not len(seconds):
        return ""
    values = seconds.to_numpy()
    return ", ".join(f"{f(values):,.1f} s" for f in (np.min, np.median, np.max))


def _sources(names: pa.ChunkedArray) -> str:
    """Endings of the sources' names with how often each occurs."""
    endings = pc.extract_regex(pc.utf8_lower(names), r"(?P<ending>\.[^./]{1,12})$")
    found = _counts(pc.fill_null(pc.struct_field(endings, "ending"), "without an ending"))
    shown_ones = [f"{count:,} {name.removeprefix('.')}" for name, count in found[:SUFFIXES]]
    more = sum(count for _, count in found[SUFFIXES:])
    return ", ".join(shown_ones + ([f"{more:,} others"] if more else []))


def _label_set(out: Place, name: str) -> dict[str, str]:
    """One row of the table of labels."""
    try:
        info = read_sealed(out / LABELS / f"{name}.json")
        counts, split, classes = info["counts"], info["split"], info["classes"]
        row = {part: f"{counts[part]:,}" for part in SPLITS}
        note = f" ({split['note']})" if split["note"] else ""
        how = "as given" if split["given"] else f"by {split['by']}{note}, seed {split['seed']}"
        more = f" and {len(classes) - CLASSES:,} more" if len(classes) > CLASSES else ""
        names = ", ".join(classes[:CLASSES]) + more
        kind = {
            "kind": info["kind"],
            "classes": f"{len(classes):,}" if classes else "",
            "holds": info.get("holds", ""),
        }
        return {"name": name, **kind, **row, "split": how, "names": names}
    except (InputError, KeyError, TypeError):
        blank = dict.fromkeys(("kind", "classes", "holds", *SPLITS, "names"), "")
        return {"name": name, **blank, "split": "damaged: run ingest labels again"}


def _template() -> Any:
    """The page; whatever is put into it passes through `markdown`, so nothing can be forgotten."""
    from jinja2 import Environment, StrictUndefined

    page = resources.files("ingest").joinpath("card.md").read_text("utf-8")
    rules: dict[str, Any] = {"undefined": StrictUndefined, "finalize": markdown}
    return Environment(**rules, keep_trailing_newline=True).from_string(page)
