"""What a decoder process may answer; one that a file took over can send anything.

Whoever asks adds the form of the result that it asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

REJECTED: dict[str, type] = {"stage": str, "code": str, "message": str}
FAILED: dict[str, type] = {"where": str, "errno": int, "message": str}
READY: dict[str, type] = {"ready": str}
BEAT: dict[str, type] = {"beat": bool}
FORMATS = "formats"
NEEDS = {"needs": FORMATS}
"""To be started again with this word: what a file needs cannot be loaded once it is locked."""


class Nonsense(ValueError):
    """A line that is no answer."""


def parse(line: bytes, *, is_result: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """An answer that has the form of one; anything else is `Nonsense`."""
    try:
        answer = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Nonsense(str(error)) from None
    if not isinstance(answer, dict) or not (_is_common(answer) or is_result(answer)):
        raise Nonsense("has not the form of an answer")
    return answer


def has_form(value: Any, form: dict[str, type]) -> bool:
    """Whether a value has exactly these names with exactly these types."""
    return isinstance(value, dict) and {k: type(v) for k, v in value.items()} == form


def _is_common(answer: dict[str, Any]) -> bool:
    """Whether it is one of those that every decoder may give."""
    if has_form(answer, READY) or has_form(answer, BEAT) or answer == NEEDS:
        return True
    if answer.keys() == {"rejected"}:
        return has_form(answer["rejected"], REJECTED)
    return answer.keys() == {"failed"} and has_form(answer["failed"], FAILED)


def _refuse(constant: str) -> None:
    raise Nonsense(f"{constant} is no number")
