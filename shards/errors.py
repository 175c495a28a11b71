"""What a command says instead of a traceback."""


class InputError(ValueError):
    """Something the caller gave cannot be used: what was wanted, what came, what to do."""
