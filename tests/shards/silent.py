"""Archives without audio: an index, a manifest and empty shards of the right size."""

import pyarrow as pa

from shards.columns import ColumnFile
from shards.files import write_parquet
from shards.index import Index, with_fingerprint
from shards.names import INDEX, MANIFEST, SEEK, seek_name, shard_name
from shards.schema import INDEX_SCHEMA
from shards.sealed import write_sealed

RATE = 16_000
DEFAULTS = {"string": "", "float": 0.0, "double": 0.0, "bool": False}


def silent_archive(folder, tracks, *, shards=5, rate=RATE, name=0, **columns):
    """An index of `tracks` tracks of 60 s and more in `shards` shards; columns by name."""
    rows = {
        "key": [f"{name:08x}{i:024x}" for i in range(tracks)],
        "row": list(range(tracks)),
        "shard": [i * shards // tracks for i in range(tracks)],
        "offset": [512 * i for i in range(tracks)],
        "size": [400] * tracks,
        "seek": [60 * i for i in range(tracks)],
        "codec": ["flac"] * tracks,
        "sample_rate": [rate] * tracks,
        "frames": [60 * rate + i for i in range(tracks)],
        "duration_s": [(60 * rate + i) / rate for i in range(tracks)],
        "pcm_sha256": [f"{i:064x}" for i in range(tracks)],
        **columns,
    }
    for field in INDEX_SCHEMA:
        rows.setdefault(field.name, [DEFAULTS.get(str(field.type), 0)] * tracks)
    table = pa.table(rows).select(INDEX_SCHEMA.names).cast(INDEX_SCHEMA)
    return publish(folder, table, shards, rate)


def publish(folder, table, shards, rate=RATE):
    (folder / "data").mkdir(parents=True)
    for number in range(shards):
        (folder / "data" / shard_name(number)).touch()
    table = with_fingerprint(table)
    write_parquet(folder / INDEX, table)
    file = ColumnFile(folder / INDEX)
    manifest = {
        "format": 1,
        "sample_rate": rate,
        "tracks": table.num_rows,
        "shards": [{"name": f"data/{shard_name(n)}", "bytes": 0} for n in range(shards)],
        "files": {f"{SEEK}/{seek_name(n)}": {} for n in range(shards)},
        "generations": [{"index": INDEX, "index_footer_sha256": file.footer_sha256}],
        "fingerprint": table.schema.metadata[b"fingerprint"].decode(),
    }
    write_sealed(folder / MANIFEST, manifest)
    return Index.open(folder)
