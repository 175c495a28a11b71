"""Words of strangers in a page: a title cannot become a link, a tag, a table cell or a YAML key."""

from __future__ import annotations

import re

from shards.files import shown

_MEANS_MORE = re.compile(r"[^\w \-.,/+=%;()'\x80-\U0010ffff]|(?<![^\W_])_|_(?![^\W_])")
"""What Markdown or HTML may read as more than a character; between letters _ is a character."""

_LINKED = re.compile(r"www\.", re.IGNORECASE)
"""What GitHub's Markdown makes a link without any brackets."""


def markdown(text: object) -> str:
    """Text that any renderer shows as it is, inside a table as well; line breaks are escaped."""
    inert = _MEANS_MORE.sub(lambda match: f"&#{ord(match[0])};", shown(text))
    return _LINKED.sub(lambda match: f"{match[0][:-1]}&#46;", inert)


def yaml(text: str) -> str:
    """A double-quoted YAML scalar of the same text, in printable ASCII without `#` and `<`."""
    return '"' + "".join(map(_yaml_char, text)) + '"'


def _yaml_char(char: str) -> str:
    if char.isascii() and char.isprintable() and char not in '"\\#<':
        return char
    return f"\\U{ord(char):08x}" if ord(char) > 0xFFFF else f"\\u{ord(char):04x}"
