"""Raw tracks in, tar shards and a Parquet index out; a raw file is decoded in a worker, once."""

from shards.lazy import exports

_WHERE = {
    "Settings": "ingest.settings",
    "add_labels": "ingest.labels.add",
    "build_shards": "ingest.build",
    "index_tars": "ingest.foreign",
    "repair_archive": "ingest.repair",
    "verify_archive": "ingest.verify",
}
__all__ = sorted(_WHERE)
__getattr__ = exports(__name__, _WHERE)
