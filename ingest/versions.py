"""The versions that an archive remembers."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from ingest.sniff import is_installed

PACKAGES = ("numpy", "pyarrow", "soundfile", "soxr", "tinytag", "webdataset")


def created_by() -> dict[str, str]:
    """Versions that an archive's bytes can depend on."""
    import soundfile

    versions = {name: version(name) for name in (*PACKAGES, *(["av"] if is_installed() else []))}
    return {
        **versions,
        "libsndfile": soundfile.__libsndfile_version__,
        "python": platform.python_version(),
    }


def our_version() -> str:
    """Of wholetone."""
    try:
        return version("wholetone")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "unknown"
