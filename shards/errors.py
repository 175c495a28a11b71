"""What a command says in one line instead of a traceback, and the exit status it then has."""

import errno


class CommandError(Exception):
    """Ends a command with a message; commands catch it and nothing else."""

    status = 1


class InputError(CommandError, ValueError):
    """Something the caller gave cannot be used: what was wanted, what came, what to do."""

    status = 2


class StoreError(CommandError):
    """An object store failed or did not answer, however often it was asked: no file is to blame."""

    status = 4


class NumericError(CommandError):
    """Training has left the numbers."""

    status = 5


class DamagedTrack(ValueError):
    """A payload that does not decode to the samples its index row promises."""


DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})
"""The disk is full, fails, or takes no file so large."""

REFUSED = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENOENT}
)
"""A path is wrong or closed."""

LACKING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""The process or the machine is short of something: no file is to blame."""
