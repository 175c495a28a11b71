"""STREAMERS: every stream that is measured, one entry each; what it needs and who limits it."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Streamer:
    """A stream: its module, what it is told, and the bare loop that is its limit."""

    module: str
    limit: str = "bare"
    payload: str = "flac"
    backend: str = ""
    crops: int = 1
    needs: str = ""
    install: str = ""


BARE = Streamer("bare")
OURS = Streamer("ours", backend="inline")
LITDATA = Streamer(
    "litdata_chunks", needs="litdata", install="litdata lightning-utilities tifffile obstore boto3"
)
STREAMERS = {
    "bare": BARE,
    "bare wav": replace(BARE, payload="wav", limit="bare wav"),
    "inline": OURS,
    "inline wav": replace(OURS, payload="wav", limit="bare wav"),
    "inline 2 crops": replace(OURS, crops=2),
    "inline 4 crops": replace(OURS, crops=4),
    "ray": replace(OURS, backend="ray"),
    "ray wav": replace(OURS, backend="ray", payload="wav", limit="bare wav"),
    "mosaicml": Streamer(
        "mosaic_mds",
        needs="streaming",
        install="mosaicml-streaming transformers tokenizers regex zstd Brotli python-snappy "
        "cramjam xxhash boto3 botocore s3transfer jmespath google-cloud-storage catalogue "
        "torchvision==0.26.*",
    ),
    "webdataset": Streamer("webdataset_tars", needs="webdataset", install="webdataset"),
    "webdataset whole": Streamer(
        "webdataset_tars", backend="whole", needs="webdataset", install="webdataset"
    ),
    "litdata": LITDATA,
    "litdata window": replace(LITDATA, backend="window", limit="bare wav"),
    "lhotse": Streamer(
        "lhotse_shar",
        needs="lhotse.shar",
        install="lhotse audioread cytoolz toolz intervaltree sortedcontainers tabulate",
    ),
    "datasets": Streamer("hf_datasets", needs="datasets", install="datasets"),
}
PACKED = ("mosaic_mds", "litdata_chunks", "lhotse_shar", "hf_datasets")
"""Modules with a `pack` of their own."""
