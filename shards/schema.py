"""The on-disk format in one place: Parquet columns, version, codecs; for files see `names`."""

import pyarrow as pa

FORMAT = 1
"""Raised when an older reader would misunderstand a new archive; readers refuse what is newer."""

STRAIGHT = ("flac", "wav")
"""Codecs whose payload, at the archive's rate, is read where it lies, a window at a time.

Every other codec is the kind of an original file (mp3, ogg, aiff, m4a, …), which a decoder in a
sandbox turns into the track as a whole. An original FLAC or WAV that has another rate, or does not
lend itself to windows, is `raw-flac` or `raw-wav`.
"""

RAW = "raw-"

INDEX_SCHEMA = pa.schema(
    [
        ("key", pa.string()),  # first 32 hex digits of sha256(raw relative path); the file's order
        ("row", pa.int64()),  # 0 … N-1 in the order of the keys
        ("shard", pa.int32()),  # position in the manifest's list of shards
        ("offset", pa.int64()),  # of the payload's first byte in the tar
        ("size", pa.int64()),  # of the payload in bytes
        ("seek", pa.int64()),  # of the track's first entry in the shard's seek table, one a second
        ("codec", pa.string()),  # flac and wav are read where they lie; see STRAIGHT
        ("sample_rate", pa.int32()),
        ("channels", pa.int16()),
        ("frames", pa.int64()),  # samples a channel, measured by decoding, never the header's
        ("duration_s", pa.float64()),
        ("pcm_sha256", pa.string()),  # of the little-endian int16 samples
        ("source", pa.string()),  # path below AUDIO_DIR, as it may be shown
        ("source_sha256", pa.string()),
        ("title", pa.string()),
        ("artist", pa.string()),
        ("album", pa.string()),
        ("genre", pa.string()),
        ("duplicate_of", pa.string()),  # key of the first track with the same samples, else ""
        ("near_duplicate_of", pa.string()),  # key of the first track that sounds the same, else ""
        ("peak_db", pa.float32()),  # of full scale
        ("rms_db", pa.float32()),
        ("silence_ratio", pa.float32()),  # share of 100 ms blocks below -60 dB of full scale
        ("clipped_ratio", pa.float32()),  # share of the source's samples at or beyond full scale
        ("truncated", pa.bool_()),  # the source ends before its container says it does
        ("licence", pa.string()),
        ("generation", pa.int32()),  # 0 for the first build, then one more for each that added
    ]
)

FINGERPRINTS_SCHEMA = pa.schema([("key", pa.string()), ("fingerprint", pa.binary())])

REJECTED_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("path", pa.string()),
        ("stage", pa.string()),  # scan, decode, resample, limit
        ("code", pa.string()),  # a word to filter by: empty, not_audio, corrupt, too_short, …
        ("message", pa.string()),
    ]
)


def payload_name(key: str, codec: str) -> str:
    """Name of a payload in its tar."""
    return f"{key}.{suffix_of(codec)}"


def suffix_of(codec: str) -> str:
    """What the name of a payload ends in."""
    return codec.removeprefix(RAW)
