"""What decides an archive's bytes besides the audio; the same settings give the same bytes."""

from dataclasses import asdict, dataclass
from typing import Any

from shards.errors import InputError

MAX_CHANNELS = 32
MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 384_000
CODECS = ("flac", "wav", "copy")


@dataclass(frozen=True)
class Settings:
    """How tracks become payload.

    Args:
        sample_rate: Of the archive, in Hz.
        codec: Of the payload: flac; wav for the fastest reading; or copy, the sources' own bytes,
            most of which a sandboxed decoder decodes at each visit. FLAC that is packed here bears
            checksums, so damage never reads as other samples; of the others only `verify_archive`
            is sure to notice it.
        shard_mib: Payload that a shard is planned to hold, estimated from the sources' sizes.
        min_seconds: Shorter tracks are rejected.
        max_seconds: Longer tracks are rejected, by what they decode to, not by their header.
        licence: Of the audio, one text for all tracks; "" where it is not known.
        limit: Pack only so many tracks, a fair sample; 0 packs all.
    """

    sample_rate: int = 16_000
    codec: str = "flac"
    shard_mib: float = 256.0
    min_seconds: float = 0.1
    max_seconds: float = 21_600.0
    licence: str = ""
    limit: int = 0

    def __post_init__(self) -> None:
        if not MIN_RATE_HZ <= self.sample_rate <= MAX_RATE_HZ:
            raise InputError(
                f"--sample-rate: want {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz, got {self.sample_rate}."
            )
        if self.codec not in CODECS:
            raise InputError(f"--codec: want one of {CODECS}, got {self.codec!r}.")
        if not self.shard_mib > 0 or self.limit < 0:
            raise InputError("--shard-mib must be more than 0 and --limit 0 or more.")
        if not 0 <= self.min_seconds <= self.max_seconds <= 86_400:
            raise InputError(
                "Want 0 <= --min-seconds <= --max-seconds <= 86400, "
                f"got {self.min_seconds} and {self.max_seconds}."
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for the plan and the manifest."""
        return asdict(self)
