"""JSON bytes to plain values, strictly; and the place of a value in its text.

msgspec decodes. What it lets pass and a writer must hear of (a key that stands twice) is checked here, and
its faults are put in words. Text is walked only after something was found wrong, so the good way stays fast.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from dspyreload.model.faults import Fault, FaultError, Path, quoted
from dspyreload.model.syntax import LEAST_MODULE, TOKEN, TOO_DEEP, explained

__all__ = ["MOST_DEEP", "Place", "Places", "line_column", "parse", "placed", "text_of", "walk"]

MOST_DEEP = 256
_DEEPEST = 30
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"?'
_BRACKETS = re.compile(rf"{_STRING}|([\[\]{{}}])", re.DOTALL)
_OTHERS = bytes(set(range(256)) - set(b"[{:\\"))  # all bytes but those that are counted
_COLON = re.compile(rb"\\u003[aA]")
_KEYS = re.compile(rf"({_STRING})([ \t\r\n]*:)?|([\[\]{{}}])", re.DOTALL)
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
    """Decode one JSON document (RFC 8259), with no key twice, no NaN, no number out of range, and nothing too deep.

    :param least: the least that such a file can be, for who is told that it is none.
    :raises FaultError: in a writer's words, with the offset in :func:`text_of`.
    """
    body = data.removeprefix(_BOM)
    signs = body.translate(None, _OTHERS)
    try:
        value = msgspec.json.decode(body)
        # A key that stood twice is gone from the value, and its colon with it (an escaped colon would hide that).
        escaped = b"\\" in signs and _COLON.search(body) is not None
        whole = not escaped and signs.count(b":") == msgspec.json.encode(value).count(b":")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _explain(data, error, least) from None
    if signs.count(b"[") + signs.count(b"{") > MOST_DEEP and _is_deep(value):
        raise FaultError(TOO_DEEP, offset=0, mend="put fewer inside each other")
    if not whole:
        _refuse_doubled_keys(text_of(data))
    return value


def _is_deep(value: Any) -> bool:
    """Say whether values stand too deep inside each other.

    How deep is decoded hangs on the stack that happens to be left: what was accepted in a pass could be too deep later.
    """
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(MOST_DEEP):
        if not level:
            return False
        level = [
            inner
            for holder in level
            for inner in (holder.values() if type(holder) is dict else holder)
            if type(inner) is dict or type(inner) is list
        ]
    return bool(level)


def _explain(data: bytes, error: Exception, least: str) -> FaultError:
    try:
        text = text_of(data)
    except FaultError as fault:
        return fault
    return explained(text, least, deep=isinstance(error, RecursionError))


def walk(text: str) -> Iterator[Place]:
    """Name the place of each value of a text that :func:`parse` accepted, in the order of the file.

    What stands deeper than any value of ours is left out: each place holds the way to it.
    """
    yield from _below(text, Place((), None, *_bounds(text, 0)))


def _below(text: str, place: Place) -> Iterator[Place]:
    yield place
    if place.end < 0 and len(place.path) < _DEEPEST:
        for part, key, start in _children(text, place.start):
            yield from _below(text, Place((*place.path, part), key, *_bounds(text, start)))


def _bounds(text: str, at: int) -> tuple[int, int]:
    """Return where the value that follows starts, and its end: -1 of a list or object."""
    token = TOKEN.match(text, at)
    if token is None:
        return at, at
    return token.start(token.lastindex or 0), -1 if token[2] else token.end()


def _children(text: str, start: int) -> Iterator[tuple[str | int, int | None, int]]:
    """List what stands in a list or an object: its name or index, where its name stands, and where it starts."""
    at, index, is_object = start + 1, 0, text[start] == "{"
    while (token := TOKEN.match(text, at)) is not None and token[2] not in ("}", "]"):
        part: str | int = index
        key: int | None = None
        if is_object:
            part, key = json.loads(token[1]), token.start(1)
            at = text.index(":", token.end()) + 1
        start, end = _bounds(text, at)
        yield part, key, start
        at = _end_of(text, start) if end < 0 else end
        comma = TOKEN.match(text, at)
        if comma is None or comma[2] != ",":
            return
        at, index = comma.end(), index + 1


def _end_of(text: str, start: int) -> int:
    """Return where a list or an object ends."""
    depth = 0
    for mark in _BRACKETS.finditer(text, start):
        bracket = mark[1]
        if bracket is not None:
            depth += 1 if bracket in "[{" else -1
            if depth == 0:
                return mark.end()
    return len(text)


def _refuse_doubled_keys(text: str) -> None:
    stack: list[set[str] | None] = []
    for found in _KEYS.finditer(text):
        string, colon, bracket = found.groups()
        if bracket is not None:
            if bracket in "[{":
                stack.append(None)
            else:
                stack.pop()
        elif colon is not None:
            key = json.loads(string)
            keys = stack[-1] = stack[-1] or set()
            if key in keys:
                raise FaultError(f"{quoted(key)} stands twice; delete one of them", offset=found.start(1))
            keys.add(key)


class Places:
    """Where values stand in a text. No more of it is looked at than leads to them, and that once.

    :param text: any text; in one that is no JSON few things have a place.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._found: dict[int, dict[str | int, tuple[int | None, int]]] = {}
        self._rest: dict[int, Iterator[tuple[str | int, int | None, int]]] = {}

    def offset(self, path: Path, *, key: bool = False) -> int | None:
        """Return the offset of the value at ``path`` (with ``key``: of its name), or of the nearest one around it."""
        start, end = _bounds(self._text, 0)
        if start == end:
            return None
        for depth, part in enumerate(path, 1):
            child = self._child(start, part) if self._text[start] in "[{" else None
            if child is None:
                break
            start = child[1]
            if key and depth == len(path) and child[0] is not None:
                return child[0]
        return start

    def _child(self, start: int, part: str | int) -> tuple[int | None, int] | None:
        found = self._found.setdefault(start, {})
        if part not in found:
            rest = self._rest.setdefault(start, _children(self._text, start))
            with contextlib.suppress(ValueError, TypeError):
                for name, key, at in rest:
                    found[name] = (key, at)
                    if name == part:
                        break
        return found.get(part)

    def fault(self, message: str, path: Path, *, key: bool = False, mend: str = "") -> Fault:
        """Return a fault as :func:`placed` does."""
        offset = self.offset(path, key=key)
        return Fault(message, mend=mend) if offset is None else Fault(message, *line_column(self._text, offset), mend)


def placed(text: str, message: str, path: Path, *, key: bool = False) -> Fault:
    """Return a fault at the place of a value (with ``key``: of its name), or of none where the text is no JSON."""
    return Places(text).fault(message, path, key=key)


def line_column(text: str, offset: int) -> tuple[int, int]:
    """Turn an offset into line and column, both from 1, in characters, as an editor counts them."""
    offset = min(offset, len(text))
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
