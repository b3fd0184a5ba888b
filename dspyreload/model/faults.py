"""What is wrong with a file, in a writer's words, and where in it."""

from __future__ import annotations

import difflib
import itertools
import json
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import attrs

__all__ = [
    "MOST_FAULTS",
    "Fault",
    "FaultError",
    "Path",
    "Warned",
    "counted",
    "did_you_mean",
    "harmless",
    "joined",
    "listed",
    "most",
    "near_names",
    "nearest",
    "place_words",
    "quoted",
    "raise_first",
    "shown",
]

_MOST_NAMES = 200
_LETTERS = 3
_MOST_LISTED = 20
MOST_FAULTS = 1000

T = TypeVar("T")

Path = tuple[str | int, ...]
"""The way to a value in a JSON document: keys and indices from 0."""


@attrs.frozen
class Fault:
    """One thing that is wrong, and its place (both from 1) where there is one.

    :ivar message: in plain words; the mend too, where it follows from them.
    :ivar mend: what to do about it, where the message does not say.
    """

    message: str
    line: int | None = None
    column: int | None = None
    mend: str = ""


@attrs.frozen
class Warned:
    """Something odd at ``path`` that keeps nothing from being served."""

    message: str
    path: Path = ()
    mend: str = ""


class FaultError(Exception):
    """Raised inside the readers: ``message``, and either the ``path`` of the value or its ``offset`` in the text.

    ``mend`` is what to do about it, where the message does not say; ``others`` are further faults of the same file.
    """

    def __init__(
        self, message: str, path: Path = (), *, key: bool = False, offset: int | None = None, mend: str = ""
    ) -> None:
        super().__init__(message)
        self.message, self.path, self.key, self.offset, self.mend = message, path, key, offset, mend
        self.others: list[FaultError] = []


def most(found: Iterable[T]) -> Iterator[T]:
    """Return the first thousand faults or warnings of a file: to make and place a million would take minutes."""
    return itertools.islice(found, MOST_FAULTS)


def raise_first(faults: Iterable[FaultError]) -> None:
    """Raise the first of some faults, with :func:`most` of the others in it; do nothing where there are none."""
    if found := list(most(faults)):
        first, *first.others = found
        raise first


def shown(text: str, limit: int = 200) -> str:
    """Make a string from a file or a file name harmless for a terminal and a log line, and short.

    Control characters, lone surrogates and the characters that turn the direction of writing are escaped.
    """
    start = text[: limit + 1]  # of a long one the rest is cut anyway
    clean = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in start)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def harmless(character: str) -> bool:
    """Say whether a character is one of those that languages are written with: spaces and joiners are."""
    return character.isprintable() or character in "\u200c\u200d" or unicodedata.category(character) == "Zs"


def quoted(text: Any, limit: int = 60) -> str:
    """Quote a value as JSON would, harmless and short: ``"emotion"``."""
    if isinstance(text, (Mapping, list, tuple)):
        return "{…}" if isinstance(text, Mapping) else "[…]"  # of any size and depth
    start = text[: limit + 1] if isinstance(text, str) else text
    return shown(json.dumps(start, ensure_ascii=False, default=str), limit)


def listed(names: Collection[str]) -> str:
    """Quote some names, with commas between; of very many the first ones, and how many there are."""
    words = ", ".join(map(quoted, itertools.islice(names, _MOST_LISTED)))
    return words if len(names) <= _MOST_LISTED else f"{words}, … ({len(names):,} in all)"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the name that was perhaps meant, or None."""
    return next(iter(near_names(name, known, 1)), None)


def near_names(name: str, known: Iterable[str], most: int) -> list[str]:
    """Return the names that were perhaps meant, the nearest first.

    Of very many only those that begin or end like it are compared: each comparison costs some microseconds.
    """
    names = sorted(known)
    if len(names) > _MOST_NAMES:
        ends = (name[:1], name[-1:])
        alike = (n for n in names if abs(len(n) - len(name)) <= _LETTERS and (n[:1] == ends[0] or n[-1:] == ends[1]))
        names = list(itertools.islice(alike, _MOST_NAMES))
    return difflib.get_close_matches(name[:200], names, n=most)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a message: ``; did you mean "emotion"?``, or nothing where no known name is near."""
    near = nearest(name, known)
    return f"; did you mean {quoted(near)}?" if near is not None else ""


def joined(*parts: str) -> str:
    """Put parts of a message behind each other, with a semicolon where no question ends; empty ones are left out."""
    text = ""
    for part in filter(None, parts):
        text += (" " if text.endswith("?") else "; " if text else "") + part
    return text


def counted(count: int, noun: str) -> str:
    """Return ``1 module`` or ``2 modules``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


_ONE_OF = {"demos": "demo", "inputs": "input", "outputs": "output", "include": "include", "fallback": "fallback"}


def place_words(path: Path) -> str:
    """Name a place as a person would: ``("demos", 2, "inputs")`` is ``demo 3, "inputs"``."""
    words: list[str] = []
    for depth, part in enumerate(path):
        if isinstance(part, str):
            words.append(quoted(part))
            continue
        above = words.pop() if words else "item"
        noun = _ONE_OF.get(str(path[depth - 1])) if depth in (1, 2) else None
        words.append(f"{noun or above + ' item'} {part + 1}")
    return ", ".join(words)
