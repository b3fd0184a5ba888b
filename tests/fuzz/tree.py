"""JSON as a tree that may be wrong: a key twice, a token that is none."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["Pairs", "Raw", "parse_tree", "written"]


class Pairs(list[tuple[str, Any]]):
    """An object whose keys may stand twice."""


class Raw(str):
    """A token that is written as it is."""

    __slots__ = ()


def parse_tree(data: bytes) -> Any:
    """Read a text leniently.

    :raises ValueError: where that is not possible.
    """
    try:
        return json.loads(data.decode("utf-8", "surrogatepass"), object_pairs_hook=Pairs)
    except RecursionError:
        raise ValueError("too deep") from None


def written(value: Any) -> str:
    """Write a tree, or plain values, as text.

    :raises ValueError: where it is too deep.
    """
    try:
        return _written(value)
    except RecursionError:
        raise ValueError("too deep") from None


def _written(value: Any) -> str:
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        value = Pairs(value.items())
    if isinstance(value, Pairs):
        return "{" + ", ".join(f"{_written(key)}: {_written(item)}" for key, item in value) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_written, value)) + "]"
    if isinstance(value, int) and not isinstance(value, bool):
        return hex(value) if abs(value) > 10**4000 else str(value)
    return json.dumps(value, ensure_ascii=isinstance(value, str) and "~" in value)
