"""Text from outside, for terminals, tables and pages."""


def shown(text: object) -> str:
    """Text that cannot move the cursor or hide: control and surrogate characters are escaped."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in str(text)
    )
