"""Tars for tests, and what became of them."""

import io
import tarfile
from pathlib import Path

import numpy as np
import soundfile

from ingest.foreign import index_tars
from shards.files import sha256_file

FORMS = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}
RATE_HZ = 16_000


def audio(
    number: int, *, kind="FLAC", subtype="PCM_16", rate_hz=RATE_HZ, channels=1, seconds=1.0
) -> bytes:
    """A file of noise that is a little different for each number."""
    rng = np.random.default_rng(number)
    samples = rng.normal(0, 0.2, (int(seconds * rate_hz), channels))
    file = io.BytesIO()
    if subtype == "PCM_16":  # soundfile scales float differently for each container
        samples = np.clip(np.rint(samples * 32_768), -32_768, 32_767).astype(np.int16)
    soundfile.write(file, samples, rate_hz, format=kind, subtype=subtype)
    return file.getvalue()


def write_tar(path: Path, members: dict[str, bytes], form: str = "pax") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=FORMS[form]) as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def sound_of(data: bytes) -> np.ndarray:
    """int16 [n] by soundfile alone, for mono of 16 bits."""
    return soundfile.read(io.BytesIO(data), dtype="int16")[0]


def tree(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256_file(path) for path in files}


def index(tars, out, **options):
    return index_tars(tars, out, num_workers=1, **options)


def codes(built) -> dict[str, str]:
    return {row["path"]: row["code"] for row in built.rejected}
