"""The `ingest` command: what is typed becomes one call, errors become one line and an exit code.

0 done; 2 wrong usage or no permission; 3 done, with rejected files, or copies or damage were found;
4 no space, a failing disk or store; 75 another ingest is at work in the folder; 128 + n ended by
signal n.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from pathlib import Path

import tyro
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes

from ingest.commands import COMMANDS
from shards.errors import DISK, LACKING, REFUSED, CommandError


class _NoPandas(MetaPathFinder):
    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("The command does without pandas.", name=fullname)


@contextlib.contextmanager
def without_pandas() -> Iterator[None]:
    """Keep pandas out: pyarrow loads it at the first list it meets, a third of a second."""
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@without_pandas()
def main(args: list[str] | None = None) -> int:
    """Run a command; its exit code."""
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    for package in ("ingest", "shards"):
        logging.getLogger(package).setLevel(logging.INFO)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may know ASCII only
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        code: int = tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="ingest",
            description="Raw tracks in, tar shards and an index out.",
            args=args,
            config=(FlagCreatePairsOff, OmitArgPrefixes),
        )
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print("Interrupted: run the same command again to go on.", file=sys.stderr)
        return 128 + signal.SIGINT
    except (OSError, ValueError, CommandError) as error:
        return _explain(error)


def _explain(error: Exception) -> int:
    """One line for what the user can mend, and the exit code; anything else is a bug."""
    from ingest.lock import Locked
    from shards.files import shown

    if isinstance(error, CommandError):
        print(f"error: {shown(error)}", file=sys.stderr)
        return 75 if isinstance(error, Locked) else error.status
    if isinstance(error, OSError) and error.errno in DISK | REFUSED | LACKING:
        where = f" ({shown(error.filename)}{_space(error)})" if error.filename else ""
        remedy = "check the folder and its permissions"
        if error.errno in DISK:
            remedy = "free some space"
        elif error.errno in LACKING:
            remedy = "raise the limit (`ulimit -n 1024`, or more memory)"
        again = "run the same command again: it goes on where it stopped"
        print(f"error: {error.strerror}{where}. Please {remedy}, then {again}.", file=sys.stderr)
        return 4 if error.errno in DISK else 2
    raise error


def _space(error: OSError) -> str:
    """How much room there is where a disk gave up."""
    import shutil

    if error.errno not in DISK:
        return ""
    for folder in [Path(error.filename), *Path(error.filename).parents]:
        with contextlib.suppress(OSError):
            disk = shutil.disk_usage(folder)
            return f", {disk.free / 2**20:.1f} MiB free of {disk.total / 2**20:.1f} MiB"
    return ""
