"""What is wrong with a text that is no JSON, in a writer's words.

Python's own decoder says where it stopped; that is often behind the place where the mistake was made, and its words are
for programmers.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from dspyreload.model.faults import FaultError, quoted

__all__ = ["LEAST_MODULE", "TOKEN", "TOO_DEEP", "explained"]

LEAST_MODULE = 'the least that a module can be is {"instruction": "..."}'
TOO_DEEP = "lists or objects stand too deep inside each other"
TOKEN = re.compile(r'[ \t\r\n]*(?:("[^"\\]*(?:\\.[^"\\]*)*"?)|([{}\[\],:])|([^\s{}\[\],:"]+))', re.DOTALL)
"""A string, a mark, or anything else up to the next. A string without an end is one too: to look for the end anew from
each of its quotes would take for ever."""

_CONFLICT = re.compile(r"^(<{7}|={7}|>{7}|\|{7})(?= |\r?$)", re.MULTILINE)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_LONGEST_NUMBER = 300
_ODD = re.compile(
    r'("[^"\\]*(?:\\.[^"\\]*)*"?)|(NaN|-?Infinity)'
    rf"|(?<![\d.eE+-])(-?\d[\d.]*[eE][+-]?\d+|-?\d[\d.]{{{_LONGEST_NUMBER},}})",
    re.DOTALL,
)
"""A string, a number that is none, and a number that is perhaps too large."""
_CURLY = "\u201c\u201d\u201e\u00ab\u00bb\u2018\u2019\u201a"
_CLOSING = {"{": "}", "[": "]"}

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


def explained(text: str, least: str, *, deep: bool) -> FaultError:
    """Return the fault of a text that was refused.

    :param least: the least that such a file can be. ``deep``: it was refused for its depth.
    """
    if not text.strip():
        return FaultError("the file is empty", offset=0, mend=least)
    if conflict := _CONFLICT.search(text):
        return FaultError(
            "a git conflict marker; two people changed this file, choose one side and delete the markers",
            offset=conflict.start(),
        )
    if deep:
        return FaultError(TOO_DEEP, offset=0, mend="put fewer inside each other")
    try:
        json.loads(text)
    except json.JSONDecodeError as fault:
        return _syntax(text, fault, least)
    except (RecursionError, ValueError):
        pass  # ValueError: a number of too many digits
    return _odd_token(text) or FaultError("this is not JSON", offset=0, mend=least)


def _syntax(text: str, fault: json.JSONDecodeError, least: str) -> FaultError:
    at, wants = fault.pos, fault.msg
    before, rest = text[:at].rstrip(), text[at:]
    if wants.startswith("Illegal trailing comma"):  # Python 3.13 and newer place it at the comma
        before, rest = before + ",", rest[1:].lstrip()
    if rest.startswith(("}", "]")) and before.endswith(","):
        return FaultError(f"a comma too many before the closing {rest[0]}", offset=len(before) - 1, mend="delete it")
    if wants.startswith("Invalid control") and rest[0] in "\r\n":
        return _unclosed(text, at)
    if not rest.strip():
        return FaultError("the file ends too early; is it half written, or a } or ] missing?", offset=len(before))
    if not before:
        mend = least if rest[0] in "{[" else f'{least}; prose belongs into a .md file, which "instruction_file" names'
        return _foreign(rest, at, wants) or FaultError("this is not JSON", offset=at, mend=mend)
    if wants.startswith(("Expecting property", "Expecting value")) and rest.startswith(","):
        return FaultError("a comma too many", offset=at, mend="delete it")
    if (fault_of_it := _foreign(rest, at, wants) or _bracket(text, at, wants)) is not None:
        return fault_of_it
    if wants.startswith("Expecting value") and rest[0] in "}]" and before.endswith(":"):
        mend = "write one, or delete the name"
        return FaultError("a value is missing after the colon", offset=len(before) - 1, mend=mend)
    if wants.startswith("Expecting value") and rest[0].isalpha():
        return FaultError("a value is expected here: a text in double quotes, a number, true, false or null", offset=at)
    offset = len(before) if wants.startswith("Expecting ','") else at
    return FaultError(_WORDS.get(wants, "this is not JSON"), offset=offset, mend="" if wants in _WORDS else least)


def _unclosed(text: str, at: int) -> FaultError:
    """Say of a text that goes on to the end of its line what its writer meant to close it with."""
    line = text[text.rfind('"', 0, at) + 1 : at]
    curly = [offset for offset, character in enumerate(line) if character in _CURLY]
    if curly:
        return FaultError(
            "a curly quotation mark, where the text ends perhaps; JSON wants straight ones",
            offset=at - len(line) + curly[-1],
        )
    return FaultError(
        r"the text has no closing quote on this line; a line break inside a text is written \n", offset=at
    )


def _foreign(rest: str, at: int, wants: str) -> FaultError | None:
    """Name what belongs to another language or to prose."""
    if not wants.startswith("Expecting"):
        return None
    if rest.startswith(("//", "/*", "#")):
        return FaultError("a comment; JSON has none", offset=at, mend='delete it, or put it into "metadata"')
    if rest.startswith("'"):
        return FaultError("single quotes; JSON wants double quotes", offset=at)
    if rest[0] in _CURLY:
        return FaultError("curly quotation marks; JSON wants straight ones", offset=at)
    if rest[0] == ";":
        return FaultError("a semicolon; JSON wants a comma", offset=at)
    if wants.startswith("Expecting ','") and (rest[0].isalpha() or rest[0] in "_'.!?-"):
        message = r"a quotation mark too many, or one missing before this; inside a text it is written \""
        return FaultError(message, offset=at)
    return None


class _Open(NamedTuple):
    """A bracket that is open: which, its offset, and the name whose value it is."""

    mark: str
    offset: int
    name: str


def _bracket(text: str, at: int, wants: str) -> FaultError | None:
    """Say which bracket is missing, or too many, where that is what stopped the decoder."""
    opened, last = _open_at(text, at)
    if not opened:
        return None
    inner, here = opened[-1], text[at]
    name, line = _short(inner.name), text.count("\n", 0, inner.offset) + 1
    closes = f"the {_CLOSING[inner.mark]} " + (f"of {name} (line {line})" if name else f"to line {line}")
    if wants.startswith("Expecting ',") and here in "}]":
        return FaultError(f"a {here} too many, or {closes} is missing before it", offset=at)
    if (
        wants.startswith("Expecting ',")
        and here == ":"
        and inner.mark == "["
        and not text[inner.offset + 1 : last].strip()
    ):
        return FaultError("names stand in { }, not in [ ]", offset=inner.offset, mend="write { } in their place")
    if wants.startswith("Expecting ',") and here == ":" and inner.mark == "[":
        return FaultError(f"{closes} is missing before this", offset=last)
    if wants.startswith("Expecting property") and here in "{[":
        hint = ', or is "demos" to be a list, in [ ]' if inner.name == '"demos"' else ""
        return FaultError(f"a name in double quotes is expected here; is {closes} missing before it{hint}?", offset=at)
    return None


def _open_at(text: str, at: int) -> tuple[list[_Open], int]:
    """Return the brackets that are open at an offset, and where the last string before it begins."""
    opened: list[_Open] = []
    name = held = ""
    last = 0
    for token in TOKEN.finditer(text, 0, at):
        string, mark, _bare = token.groups()
        if string:
            held, last = string, token.start(1)
        elif mark == ":":
            name = held
        elif mark and mark in "{[":
            opened.append(_Open(mark, token.start(2), name))
            name = ""
        elif mark and mark in "}]" and opened:
            opened.pop()
        elif mark == ",":
            name = ""
    return opened, last


def _short(name: str) -> str:
    return quoted(name[1:-1]) if name else ""


def _odd_token(text: str) -> FaultError | None:
    """Find what Python's json accepts and RFC 8259, or msgspec, does not."""
    for token in _ODD.finditer(text):
        string, word, number = token.groups()
        if string and "\\u" in string and (lone := _half_pair(string)) is not None:
            return FaultError(
                r"half of a \u pair: a character that does not exist; write the character itself",
                offset=token.start(1) + lone,
            )
        if word:
            return FaultError(f"{word} is not JSON; write a number or null", offset=token.start(2))
        if number and (len(number) > _LONGEST_NUMBER or abs(float(number)) == float("inf")):
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
