"""What is known of the output fields of an LM's answer while it streams.

An answer comes in pieces that break anywhere: inside a word, a header, an escape.

- What was given out is never taken back: the text of a field only grows, and always by appending.
- What may turn out to be no part of a field's text is held back until that is known: white space at its end, the
  beginning of a header or of a closing tag, half an escape.
- Of a complete answer in good form, the text is what the ``parse`` of DSPy's adapter makes of it for a ``str`` field.
- The first occurrence of a field counts.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, NamedTuple

__all__ = ["FieldStream", "PartialField", "Style", "is_empty", "partial_fields", "style_of"]

Style = Literal["chat", "json", "xml"]
"""The form of an answer: ``[[ ## name ## ]]`` headers, one JSON object, or a ``<name>`` tag for each field."""

_GRAIN = 512
"""By one part in this many an answer must have grown to be looked at again: all looks together then cost no more than
so many at the whole. Up to this length, each piece is looked at as it comes."""


class PartialField(NamedTuple):
    """What is known of one field.

    :ivar text: the beginning of its text, or all of it.
    :ivar complete: nothing will be added.
    """

    text: str
    complete: bool


class FieldStream:
    """Turns the pieces of an answer into pieces of its output fields.

    :param names: the fields to give out; others are passed over.
    :param hold: a field that is never given out itself, and that must be complete and empty, see :func:`is_empty`,
        before anything of the others is given out. What came before that is given out at once.
    :ivar said: what was given out so far of each field.
    """

    def __init__(self, style: Style, names: Collection[str], hold: str | None = None) -> None:
        self.said: dict[str, str] = {}
        self._style = style
        self._names = frozenset(names) - {hold}
        self._hold = hold
        self._open = hold is None
        self._answer = ""  # what was looked at
        self._unread: list[str] = []
        self._length = 0  # of both

    def feed(self, piece: str) -> list[tuple[str, str]]:
        """Take the next piece of the answer; returns (field, new text) pieces in the order of the answer.

        Of a long answer, small pieces may wait for the next.
        """
        self._unread.append(piece)
        self._length += len(piece)
        if self._length - len(self._answer) < self._length // _GRAIN:
            return []
        fields = self._look()
        if self._hold is not None and not self._open:
            held = fields.get(self._hold)
            self._open = held is not None and held.complete and is_empty(held.text)
        return self._give({name: field.text for name, field in fields.items()})

    def finish(self, values: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what is missing, now that the answer is whole and the parsed reply is known.

        The reply decides whether the held field is empty, and what each ``str`` field is. A field that the reply has
        not, or of which something else was given out than its beginning, is left as it is.
        """
        if self._hold is not None:
            self._open = is_empty(values.get(self._hold))
        texts = {name: field.text for name, field in self._look().items() if name in values}
        texts |= {name: value for name, value in values.items() if isinstance(value, str)}
        return self._give(texts)

    def _look(self) -> dict[str, PartialField]:
        self._answer += "".join(self._unread)
        self._unread.clear()
        names = self._names if self._hold is None else self._names | {self._hold}
        return partial_fields(self._answer, self._style, names)

    def _give(self, texts: Mapping[str, str]) -> list[tuple[str, str]]:
        pieces = []
        for name, text in texts.items() if self._open else ():
            said = self.said.get(name, "")
            if name in self._names and text != said and text.startswith(said):
                pieces.append((name, text[len(said) :]))
                self.said[name] = text
        return pieces


def partial_fields(text: str, style: Style, names: Collection[str]) -> dict[str, PartialField]:
    """Return what the beginning of an answer, or all of it, says of these fields, in the order of the answer."""
    return {name: field for name, field in _READERS[style](text).items() if name in names}


def is_empty(value: Any) -> bool:
    """Say whether a field's value, or its text in the answer, says that there is nothing."""
    if isinstance(value, str):
        return value.strip().strip("\"'").casefold() in {"", "null", "none", "{}", "[]"}
    return value is None or (isinstance(value, (dict, list, tuple)) and not value)


def style_of(adapter: Any) -> Style | None:
    """Return the form of the answers that an adapter of DSPy asks for; None if it is no form that is known here.

    :param adapter: as in ``dspy.settings.adapter``, where None stands for ``ChatAdapter``.
    """
    import dspy

    if isinstance(adapter, dspy.JSONAdapter):  # before ChatAdapter: it is one, and so is XMLAdapter
        return "json"
    if isinstance(adapter, dspy.XMLAdapter):
        return "xml"
    return "chat" if adapter is None or isinstance(adapter, dspy.ChatAdapter) else None


# Headers


def _beginnings(*parts: str) -> re.Pattern[str]:
    """Return the pattern of each beginning of some parts in a row."""
    return re.compile(functools.reduce(lambda rest, part: f"(?:{part}{rest})?", reversed(parts), ""))


_HEADER = re.compile(r"\[\[ ## (\w+) ## \]\]")
_HALF_HEADER = _beginnings(r"\[", r"\[", " ", "#", "#", " ", r"\w+", " ", "#", "#", " ", r"\]")


def _chat(text: str) -> dict[str, PartialField]:
    lines = text.splitlines()
    if lines and text.endswith(lines[-1]) and _HALF_HEADER.fullmatch(lines[-1].lstrip()):
        lines.pop()
    sections: list[tuple[str, list[str]]] = [("", [])]
    for line in lines:
        header = _HEADER.match(line.strip()) if "[[" in line else None
        if header is None:
            sections[-1][1].append(line)
        else:
            # As DSPy cuts it: after an indented header, the indent's worth of the header is left over.
            sections.append((header[1], [line[header.end() :].strip()]))
    found: dict[str, PartialField] = {}
    for number, (name, values) in enumerate(sections, 1):
        if name not in found:
            found[name] = PartialField("\n".join(values).strip(), number < len(sections))
    return found


# JSON

_OBJECT = re.compile(r'\{(?=\s*+")')
_HEX = "[0-9a-fA-F]"
_HIGH_SURROGATE = rf"\\u[dD][89abAB]{_HEX}{{2}}"
_CHARACTERS = (
    r'(?:[^"\\]++|\\["\\/bfnrt]'
    rf"|(?!{_HIGH_SURROGATE})\\u{_HEX}{{4}}"
    rf"|{_HIGH_SURROGATE}(?=[^\\]|\\[^u]|\\u{_HEX}{{4}}))*+"  # half of a character, once what follows is known
)
_STRING = re.compile(rf'"({_CHARACTERS})"?')
_KEY = re.compile(rf'\s*+("{_CHARACTERS}")\s*+:\s*+')
_VALUE_END = re.compile(r"\s*+([,}])")
_DECODER = json.JSONDecoder(strict=False)


def _json(text: str) -> dict[str, PartialField]:
    found: dict[str, PartialField] = {}
    start = _OBJECT.search(text)
    key = _KEY.match(text, start.end()) if start is not None else None
    while key is not None:
        value, at = _json_value(text, key.end())
        end = _VALUE_END.match(text, at)
        if end is not None:
            found.setdefault(_DECODER.decode(key[1]), PartialField(value, complete=True))
        elif text.startswith('"', key.end()):
            found.setdefault(_DECODER.decode(key[1]), PartialField(value, complete=False))
        key = _KEY.match(text, end.end()) if end is not None and end[1] == "," else None
    return found


def _json_value(text: str, at: int) -> tuple[str, int]:
    """Return the text of the value that starts here, and where it ends, or where no more is known."""
    string = _STRING.match(text, at)
    if string is not None:
        return _DECODER.decode(f'"{string[1]}"'), string.end()
    try:
        value, end = _DECODER.raw_decode(text, at)
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")), end
    except (ValueError, RecursionError):
        return "", len(text)


# XML

_OPENING = re.compile(r"<(\w[\w.-]*+)(?:\s[^<>]*?)?(/?)>")
_ENTITY = re.compile(r"&(amp|lt|gt|quot|apos|#[0-9]{1,6}|#x[0-9a-fA-F]{1,5});")
_PLAIN = re.compile(rf"(?:[^<&]++|{_ENTITY.pattern})*+")
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


def _xml(text: str) -> dict[str, PartialField]:
    found: dict[str, PartialField] = {}
    opening = _OPENING.search(text)
    while opening is not None:
        field, at = (PartialField("", complete=True), opening.end()) if opening[2] else _element(text, opening)
        found.setdefault(opening[1], field)
        opening = _OPENING.search(text, at)
    return found


def _element(text: str, opening: re.Match[str]) -> tuple[PartialField, int]:
    """Return what is inside of a tag that opens, and where it closes; what has tags of its own stays as it is."""
    plain = _PLAIN.match(text, opening.end())
    assert plain is not None  # it matches nothing, too
    head = _ENTITY.sub(_character, plain[0].replace("\r\n", "\n").replace("\r", "\n")).lstrip()
    closing = re.compile(rf"</{re.escape(opening[1])}\s*+>").search(text, plain.end())
    if closing is None:
        return PartialField(head.rstrip(), complete=False), len(text)
    return PartialField((head + text[plain.end() : closing.start()]).rstrip(), complete=True), closing.end()


def _character(entity: re.Match[str]) -> str:
    name = entity[1]
    if name.startswith("#"):
        return chr(int(name[2:], 16) if name[1] == "x" else int(name[1:]))
    return _ENTITIES[name]


_READERS: dict[Style, Callable[[str], dict[str, PartialField]]] = {"chat": _chat, "json": _json, "xml": _xml}
