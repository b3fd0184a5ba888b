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

__all__ = ["Place", "Places", "line_column", "locate", "parse", "placed", "text_of", "walk"]

_BOM = b"\xef\xbb\xbf"
_CONFLICT = re.compile(r"^(<{7}|={7}|>{7}|\|{7})(?= |\r?$)", re.MULTILINE)
_TOKEN = re.compile(r'[ \t\r\n]*(?:("[^"\\]*(?:\\.[^"\\]*)*")|([{}\[\],:])|([^\s{}\[\],:"]+))', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)

_LEAST = 'the least that a module can be is {"instruction": "..."}'
_WORDS = {
    "Expecting ',' delimiter": "a comma is missing here",
    "Expecting ':' delimiter": "a colon is missing between a name and its value",
    "Expecting property name enclosed in double quotes": "a name in double quotes is expected here",
    "Expecting value": "a value is expected here",
    "Unterminated string starting at": "this text has no closing quote",
    "Invalid control character at": r"a tab or control character inside a text; a tab is written \t",
    "Invalid \\escape": r"a backslash inside a text; write it as \\",
    "Invalid \\escape: ": r"a backslash inside a text; write it as \\",
    "Invalid \\uXXXX escape": r"\u must be followed by four hexadecimal digits",
    "Extra data": "the file goes on after its end; is there one } too many?",
}


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
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or (b"\x00" in data[:4] and len(data) > 1):
        raise FaultError("the file is UTF-16 or binary; save it as UTF-8", offset=0)
    try:
        return data.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        good = len(data.removeprefix(_BOM)[: error.start].decode())
        raise FaultError("a character that is not UTF-8; save the file as UTF-8", offset=good) from None


def parse(data: bytes) -> Any:
    """Decode one JSON document (RFC 8259), with no key twice, no NaN, no number out of range.

    :raises FaultError: in a writer's words, with the offset in :func:`text_of`.
    """
    body = data.removeprefix(_BOM)
    try:
        value = msgspec.json.decode(body)
        # A key that stood twice is gone from the value, and its colon with it (an escaped colon would hide that).
        whole = body.count(b":") == msgspec.json.encode(value).count(b":") and b"\\u003" not in body
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _explain(data, error) from None
    if not whole:
        _refuse_doubled_keys(text_of(data))
    return value


def _explain(data: bytes, error: Exception) -> FaultError:
    try:
        text = text_of(data)
    except FaultError as fault:
        return fault
    if not text.strip():
        return FaultError("the file is empty", offset=0, mend=_LEAST)
    if conflict := _CONFLICT.search(text):
        return FaultError(
            "a git conflict marker; two people changed this file, choose one side and delete the markers",
            offset=conflict.start(),
        )
    if isinstance(error, RecursionError):
        return FaultError(
            "lists or objects stand too deep inside each other", offset=0, mend="put fewer inside each other"
        )
    try:
        json.loads(text)
    except json.JSONDecodeError as fault:
        return _syntax(text, fault)
    except (RecursionError, ValueError):
        pass  # ValueError: a number of too many digits
    return _odd_token(text) or FaultError("this is not JSON", offset=0, mend=_LEAST)


def _syntax(text: str, fault: json.JSONDecodeError) -> FaultError:
    before = text[: fault.pos].rstrip()
    rest = text[fault.pos :]
    if fault.msg.startswith("Illegal trailing comma"):  # Python 3.13 and newer place it at the comma
        before, rest = before + ",", rest[1:].lstrip()
    if rest.startswith(("}", "]")) and before.endswith(","):
        return FaultError(f"a comma too many before the closing {rest[0]}", offset=len(before) - 1, mend="delete it")
    if fault.msg.startswith(("Expecting property", "Expecting value")) and text.startswith(",", fault.pos):
        return FaultError("a comma too many", offset=fault.pos, mend="delete it")
    if not text[fault.pos :].strip():
        return FaultError("the file ends too early; is it half written, or a } or ] missing?", offset=len(before))
    if fault.msg.startswith("Expecting") and text.startswith(("//", "/*", "#"), fault.pos):
        return FaultError("a comment; JSON has none", offset=fault.pos, mend='delete it, or put it into "metadata"')
    if fault.msg.startswith("Expecting") and text.startswith("'", fault.pos):
        return FaultError("single quotes; JSON wants double quotes", offset=fault.pos)
    if fault.msg.startswith("Invalid control") and text[fault.pos] in "\r\n":
        return FaultError(
            r"the text has no closing quote on this line; a line break inside a text is written \n", offset=fault.pos
        )
    here = text[fault.pos]
    if fault.msg.startswith("Expecting ','") and (here.isalpha() or here in "_'.!?-"):
        message = r"a quotation mark too many, or one missing before this; inside a text it is written \""
        return FaultError(message, offset=fault.pos)
    if fault.msg.startswith("Expecting") and here in "\u201c\u201d\u201e\u00ab\u00bb":
        return FaultError('curly quotation marks; JSON wants straight ones: "', offset=fault.pos)
    if not before:
        return FaultError("this is not JSON", offset=fault.pos, mend=_LEAST)
    if fault.msg.startswith("Expecting value") and here in "}]" and before.endswith(":"):
        return FaultError(
            "a value is missing after the colon", offset=len(before) - 1, mend="write one, or delete the name"
        )
    if fault.msg.startswith("Expecting value") and here.isalpha():
        return FaultError(
            "a value is expected here: a text in double quotes, a number, true, false or null", offset=fault.pos
        )
    offset = len(before) if fault.msg.startswith("Expecting ','") else fault.pos
    mend = "" if fault.msg in _WORDS else _LEAST
    return FaultError(_WORDS.get(fault.msg, "this is not JSON"), offset=offset, mend=mend)


def _odd_token(text: str) -> FaultError | None:
    """Find what Python's json accepts and RFC 8259, or msgspec, does not."""
    for token in _TOKEN.finditer(text):
        string, _mark, bare = token.groups()
        if string and (lone := _half_pair(string)) is not None:
            return FaultError(
                r"half of a \u pair: a character that does not exist; write the character itself",
                offset=token.start(1) + lone,
            )
        if bare in ("NaN", "Infinity", "-Infinity"):
            return FaultError(f"{bare} is not JSON; write a number or null", offset=token.start(3))
        if bare and bare[-1].isdigit() and (len(bare) > 300 or abs(float(bare)) == float("inf")):
            return FaultError("a number that is too large", offset=token.start(3), mend="write a smaller one")
    return None


def _half_pair(string: str) -> int | None:
    """Return the offset of the first half of a surrogate pair that has no other half."""
    open_at: int | None = None
    end = 0
    for escape in _ESCAPE.finditer(string):
        code = int(escape[1], 16) if escape[1] else 0
        if open_at is not None:
            if 0xDC00 <= code <= 0xDFFF and escape.start() == end:
                open_at = None
                continue
            return open_at
        if 0xDC00 <= code <= 0xDFFF:
            return escape.start()
        if 0xD800 <= code <= 0xDBFF:
            open_at, end = escape.start(), escape.end()
    return open_at


def walk(text: str) -> Iterator[Place]:
    """Name the place of each value of a text that :func:`parse` accepted, in the order of the file."""
    stack: list[tuple[bool, Path]] = []  # (is it an object, its path)
    path: Path = ()
    key: int | None = None
    awaiting_key = False
    for token in _TOKEN.finditer(text):
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
        with contextlib.suppress(ValueError, IndexError, TypeError):
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
    except (ValueError, IndexError):
        offset = None
    return Fault(message) if offset is None else Fault(message, *line_column(text, offset))


def line_column(text: str, offset: int) -> tuple[int, int]:
    """Turn an offset into line and column, both from 1, in characters, as an editor counts them."""
    offset = min(offset, len(text))
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
