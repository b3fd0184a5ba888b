"""RFC 8259 to the letter, by the standard library: what our reader is held against, slow and sure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

__all__ = ["NotJSON", "alike", "modest", "strict", "values_in"]

_BOM = b"\xef\xbb\xbf"
_LONG_NUMBER = re.compile(r"[-+.\deE]{200}")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_DEEP = 150


class NotJSON(Exception):
    """A text that is none, or one with what our formats do not take: a key twice, a number that is none."""


def strict(data: bytes) -> Any:
    """Decode a text.

    :raises NotJSON: where it is none.
    :raises RecursionError: where this Python can't say.
    """
    try:
        text = data.removeprefix(_BOM).decode("utf-8")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_constant, parse_float=_finite)
    except RecursionError:
        raise
    except ValueError as error:
        raise NotJSON(str(error)) from None
    for item in values_in(value):
        if isinstance(item, str) and any("\ud800" <= character <= "\udfff" for character in item):
            raise NotJSON("half of a pair")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotJSON("a key twice")
    return found


def _constant(name: str) -> NoReturn:
    raise NotJSON(name)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotJSON("a number out of range")
    return number


def values_in(value: Any) -> Iterator[Any]:
    """List a value, what is in it, and the keys of its objects, however deep."""
    left = [value]
    while left:
        item = left.pop()
        yield item
        if isinstance(item, dict):
            left += item.keys()
            left += item.values()
        elif isinstance(item, (list, tuple)):
            left += item


def alike(one: Any, other: Any) -> bool:
    """Say whether two decoded values are the same, in kind too: 1 is neither 1.0 nor true."""
    left = [(one, other)]
    while left:
        a, b = left.pop()
        if type(a) is not type(b):
            return False
        if isinstance(a, dict):
            if list(a) != list(b):
                return False
            left += [(a[key], b[key]) for key in a]
        elif isinstance(a, list):
            if len(a) != len(b):
                return False
            left += zip(a, b, strict=True)
        elif a != b:
            return False
    return True


def modest(data: bytes) -> bool:
    """Say whether a JSON text is far from every limit that a reader may have: no long number, nothing deep."""
    text = _STRING.sub("", data.decode("utf-8", "replace"))
    deepest = depth = 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        deepest = max(deepest, depth)
    return deepest < _DEEP and not _LONG_NUMBER.search(text)
