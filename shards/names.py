"""Names of the files of an archive."""

MANIFEST = "manifest.json"
INDEX = "index.parquet"
REJECTED = "rejected.parquet"
FINGERPRINTS = "fingerprints.parquet"
DATA = "data"
SEEK = "seek"
LABELS = "labels"


def shard_name(number: int) -> str:
    """File name of a shard below `data/`: six digits, so that brace expansion works."""
    return f"shard-{number:06d}.tar"


def seek_name(number: int) -> str:
    """File name of a shard's seek table below `seek/`."""
    return f"shard-{number:06d}.npy"


def of_generation(name: str, generation: int) -> str:
    """`index.parquet` of the first build, `index-000001.parquet` of the one that added to it."""
    stem, _, suffix = name.partition(".")
    return f"{stem}-{generation:06d}.{suffix}" if generation else name
