"""One answer on the screen, while it is said."""

from __future__ import annotations

import json
import re
from typing import Any

from dspyreload.commands.failures import failure_words
from dspyreload.commands.screen import Screen
from dspyreload.lm.reply import Chunk, Reply

__all__ = ["Speech", "spoken_first", "told"]

_BESIDE = ("reasoning", "tool_call")  # outputs that nobody says
_KIND = re.compile(r"^[A-Za-z_.]*(Error|Exception): ")


class Speech:
    """Prints a reply as it comes: ``[3f9a demos] smith: Mind the sparks.``, then the other fields.

    :param version: SHA-256 of the version that speaks. ``lm``: the name of the language model that is asked.
    """

    def __init__(self, screen: Screen, module_id: str, version: str, lm: str) -> None:
        self._screen, self._who, self._version, self._lm = screen, module_id.rpartition(".")[2], version[:4], lm
        self._field = ""
        self._fallback: str | None = None
        self._heard: set[str] = set()

    def hear(self, chunk: Chunk) -> None:
        """Print a piece of it."""
        if self._fallback != chunk.fallback:  # the first piece, or what speaks in the language model's place
            self.broken()
            self._begin(chunk.fallback or self._lm)
            self._fallback, self._field, self._heard = chunk.fallback, chunk.field, {chunk.field}
        elif chunk.field != self._field:
            self._screen.raw("\n")
            self._screen.line((f"  {chunk.field}: ", "dim"), end="")
            self._field = chunk.field
            self._heard.add(chunk.field)
        self._screen.said(chunk.text)

    def _begin(self, lm: str) -> None:
        self._screen.line((f"[{self._version} {lm}] ", "cyan"), (f"{self._who}: ", "bold"), end="")

    def over(self, reply: Reply) -> None:
        """Print what was not heard yet, and why another spoke than was asked."""
        self.broken()
        if self._fallback != reply.fallback:  # what was heard before was no whole reply
            self._heard = set()
        fields = [(name, value) for name, value in spoken_first(reply) if name not in self._heard]
        if fields and not self._heard:
            self._begin(reply.lm)
            self._screen.line((_inset(_value(fields.pop(0)[1])), ""))
        for name, value in fields:
            self._screen.line((f"  {name}: ", "dim"), (_inset(_value(value)), ""))
        for call in reply.tool_calls:
            outcome = f"it failed: {_KIND.sub('', call.error)}" if call.error is not None else _value(call.result)
            self._screen.line((f"  (used {call.name}: {_inset(outcome)})", "dim"))
        if reply.fallback:
            self._screen.line((f"  ({_inset(_instead(reply))})", "yellow"))

    def broken(self) -> None:
        """End the line that was begun."""
        if self._fallback is not None:
            self._screen.raw("\n")


def spoken_first(reply: Reply) -> list[tuple[str, Any]]:
    """Return the outputs of a reply: what is said first, the thoughts and calls of tools last."""

    def place(item: tuple[str, Any]) -> tuple[bool, bool]:
        return item[0] in _BESIDE, not isinstance(item[1], str)

    fields = list(reply.items())
    first = min(fields, key=place, default=None)
    return sorted(fields, key=lambda item: (item is not first, item[0] in _BESIDE))


def told(reply: Reply) -> str:
    """Return all that a reply says, by whom."""
    lines = [f"[{reply.lm}]"]
    for number, (name, value) in enumerate(spoken_first(reply)):
        lines.append(_value(value) if number == 0 else f"{name}: {_value(value)}")
    if reply.fallback:
        lines.append(f"({_instead(reply)})")
    return "\n".join(lines)


def _instead(reply: Reply) -> str:
    return f"the language model could not: {failure_words('', reply.reason)}"


def _inset(text: str) -> str:
    """Indent the further lines of what was said: none can look like the prompt."""
    return text.replace("\n", "\n    ")


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):  # what a tool gives may be anything
        return str(value)
