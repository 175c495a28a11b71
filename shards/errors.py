"""What a command says in one line instead of a traceback, and the exit status it then has."""


class CommandError(Exception):
    """Ends a command with a message; commands catch it and nothing else."""

    status = 1


class InputError(CommandError, ValueError):
    """Something the caller gave cannot be used: what was wanted, what came, what to do."""

    status = 2


class NumericError(CommandError):
    """Training has left the numbers."""

    status = 5
