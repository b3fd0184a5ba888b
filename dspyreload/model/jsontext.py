"""JSON bytes to plain values, strictly; and the place of a value in its text.

msgspec decodes. What it lets pass and a writer must hear of (a key that stands twice) is checked here, and
its faults are put in words. Text is walked only after something was found wrong, so the good way stays fast.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from dspyreload.model.faults import Fault, FaultError, Path, quoted
from dspyreload.model.syntax import LEAST_MODULE, TOKEN, TOO_DEEP, explained

__all__ = ["Place", "Places", "line_column", "locate", "parse", "placed", "text_of", "walk"]

_DEEPEST = 1000
_BOM = b"\xef\xbb\xbf"


class Place(NamedTuple):
    """Where a value stands in a text: offsets of its key (or None), its start, and its end (-1: a list or object)."""

    path: Path
    key: int | None
    start: int
    end: int


def text_of(data: bytes) -> str:
    """Return the text of a file; a BOM is dropped.

    :raises FaultError: for UTF-16 and for what is not UTF-8, at the first bad byte.
    """
    if data.startswith((b"PK\x03\x04", b"{\\rtf", b"\xd0\xcf\x11\xe0")):
        raise FaultError("this is the file of a word processor, not plain text; save it as plain text", offset=0)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or (b"\x00" in data[:4] and len(data) > 1):
        raise FaultError("the file is UTF-16 or binary; save it as UTF-8", offset=0)
    try:
        return data.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        good = len(data.removeprefix(_BOM)[: error.start].decode())
        raise FaultError("a character that is not UTF-8; save the file as UTF-8", offset=good) from None


def parse(data: bytes, least: str = LEAST_MODULE) -> Any:
    """Decode one JSON document (RFC 8259), with no key twice, no NaN, no number out of range.

    :param least: the least that such a file can be, for who is told that it is none.
    :raises FaultError: in a writer's words, with the offset in :func:`text_of`.
    """
    body = data.removeprefix(_BOM)
    try:
        value = msgspec.json.decode(body)
        # A key that stood twice is gone from the value, and its colon with it (an escaped colon would hide that).
        whole = body.count(b":") == msgspec.json.encode(value).count(b":") and b"\\u003" not in body
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _explain(data, error, least) from None
    if not whole:
        _refuse_doubled_keys(text_of(data))
    return value


def _explain(data: bytes, error: Exception, least: str) -> FaultError:
    try:
        text = text_of(data)
    except FaultError as fault:
        return fault
    return explained(text, least, deep=isinstance(error, RecursionError))


def walk(text: str) -> Iterator[Place]:
    """Name the place of each value of a text that :func:`parse` accepted, in the order of the file.

    :raises FaultError: where values stand deeper than any module's: each place holds the way to it.
    """
    stack: list[tuple[bool, Path]] = []  # (is it an object, its path)
    path: Path = ()
    key: int | None = None
    awaiting_key = False
    for token in TOKEN.finditer(text):
        string, mark, _bare = token.groups()
        if mark == ":":
            continue
        if mark in ("}", "]"):
            _is_object, path = stack.pop()
            awaiting_key = False
        elif mark == ",":
            is_object, parent = stack[-1]
            awaiting_key = is_object
            if not is_object:
                path = (*parent, int(path[-1]) + 1)
        elif awaiting_key:
            path = (*stack[-1][1], json.loads(string))
            key, awaiting_key = token.start(1), False
        else:
            start = token.start(token.lastindex or 0)
            yield Place(path, key, start, -1 if mark else token.end())
            key = None
            if mark:
                if len(stack) >= _DEEPEST:
                    raise FaultError(TOO_DEEP, offset=start, mend="put fewer inside each other")
                stack.append((mark == "{", path))
                awaiting_key = mark == "{"
                if mark == "[":
                    path = (*path, 0)


def _refuse_doubled_keys(text: str) -> None:
    seen: set[Path] = set()
    for place in walk(text):
        if place.path in seen:
            raise FaultError(f"{quoted(place.path[-1])} stands twice; delete one of them", offset=place.key)
        seen.add(place.path)


def locate(text: str, path: Path, *, key: bool = False) -> int | None:
    """Return the offset of the value at ``path`` (with ``key``: of its name), or of the nearest value around it."""
    best: int | None = None
    depth = -1
    for place in walk(text):
        shared = place.path == path[: len(place.path)]
        if shared and len(place.path) > depth:
            depth = len(place.path)
            best = place.key if key and place.key is not None and place.path == path else place.start
        if place.path == path:
            break
    return best


class Places:
    """Where values stand in a text, for who asks of many: the text is walked once.

    :param text: any text; in one that is no JSON nothing has a place.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._places: dict[Path, Place] = {}
        with contextlib.suppress(ValueError, IndexError, TypeError, FaultError):
            self._places = {place.path: place for place in walk(text)}

    def fault(self, message: str, path: Path, *, key: bool = False, mend: str = "") -> Fault:
        """Return a fault as :func:`placed` does."""
        for depth in range(len(path), -1, -1):
            if (place := self._places.get(path[:depth])) is not None:
                at_key = key and depth == len(path) and place.key is not None
                offset = place.key if at_key and place.key is not None else place.start
                return Fault(message, *line_column(self._text, offset), mend)
        return Fault(message, mend=mend)


def placed(text: str, message: str, path: Path, *, key: bool = False) -> Fault:
    """Return a fault at the place of a value (with ``key``: of its name), or of none where the text is no JSON."""
    try:
        offset = locate(text, path, key=key)
    except (ValueError, IndexError, FaultError):
        offset = None
    return Fault(message) if offset is None else Fault(message, *line_column(text, offset))


def line_column(text: str, offset: int) -> tuple[int, int]:
    """Turn an offset into line and column, both from 1, in characters, as an editor counts them."""
    offset = min(offset, len(text))
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
