"""The `ingest` command: what is typed becomes one call, errors become one line and an exit code.

0 done; 2 wrong usage or no permission; 3 done, with rejected files, or copies or damage were found;
4 no space or a failing disk; 75 another ingest is at work in the folder; 128 + n ended by signal n.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import signal
import sys

import tyro
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes

from ingest.commands import COMMANDS

DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENOENT}


def main(args: list[str] | None = None) -> int:
    """Run a command; its exit code."""
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("ingest").setLevel(logging.INFO)
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
    except (OSError, ValueError) as error:
        return _explain(error)


def _explain(error: Exception) -> int:
    """One line for what the user can mend, and the exit code; anything else is a bug."""
    from ingest.lock import Locked
    from shards.errors import InputError
    from shards.files import shown

    if isinstance(error, InputError):
        print(f"error: {error}", file=sys.stderr)
        return 75 if isinstance(error, Locked) else 2
    if isinstance(error, OSError) and error.errno in DISK | REFUSED:
        where = f" ({shown(error.filename)})" if error.filename else ""
        remedy = (
            "free some space" if error.errno in DISK else "check the folder and its permissions"
        )
        again = "run the same command again: it goes on where it stopped"
        print(f"error: {error.strerror}{where}. Please {remedy}, then {again}.", file=sys.stderr)
        return 4 if error.errno in DISK else 2
    raise error
