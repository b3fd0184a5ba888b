"""One form for all module files: the same value, with its keys in order and as much on a line as fits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from dspyreload.model.decoding import FIELD_KEYS, SIDES
from dspyreload.model.dspy_state import is_dspy_state
from dspyreload.model.faults import FaultError, harmless
from dspyreload.model.jsontext import parse, text_of
from dspyreload.model.syntax import TOO_DEEP

__all__ = ["formatted"]

_WIDTH = 100
_ORDER = (
    "$schema", "module_id", "predictor_type", "signature_name", "signature", "include", "instruction_file",
    "instruction", "demos", "tool_enabled", "fallback", "metadata",
)  # fmt: skip
_METADATA = ("optimizer", "optimized_at", "metric_score", "version")
_HIDDEN = re.compile(r"[^\x00-\x7e]")


class _Number(str):
    """A number as it stands in the file: nothing is rounded."""

    __slots__ = ()


def formatted(data: bytes) -> str:
    """Return a module file's text in the one form. Formatting that again changes nothing.

    What DSPy saved keeps the order of its keys, which says which predictor comes first.

    :raises FaultError: where it is no JSON object.
    """
    if not isinstance(parse(data), dict):
        raise FaultError("a module is an object in { }")
    try:
        value = json.loads(text_of(data), parse_int=_Number, parse_float=_Number)
        out: list[str] = []
        _write(value if is_dspy_state(value) else _ordered(value), "", 0, out)
        return "".join((*out, "\n"))
    except RecursionError:
        raise FaultError(TOO_DEEP, mend="put fewer inside each other") from None


def _ordered(module: dict[str, Any]) -> dict[str, Any]:
    module = _by(module, _ORDER)
    signature = module.get("signature")
    if isinstance(signature, dict):
        module["signature"] = {
            key: [_by(field, FIELD_KEYS) for field in side] if isinstance(side, list) else side
            for key, side in _by(signature, SIDES).items()
        }
    if isinstance(module.get("demos"), list):
        module["demos"] = [_by(demo, SIDES) for demo in module["demos"]]
    if "metadata" in module:
        module["metadata"] = _by(module["metadata"], _METADATA)
    return module


def _by(value: Any, order: Iterable[str]) -> Any:
    """Return an object with the keys of ``order`` first; the others stay as they stand."""
    if not isinstance(value, dict):
        return value
    return {key: value[key] for key in (*(key for key in order if key in value), *value)}


def _write(value: Any, indent: str, used: int, out: list[str]) -> None:
    """Write a value.

    :param used: characters of the line that are written already. ``out``: what is written is added, piece by piece.
    """
    if not value or not isinstance(value, (dict, list)):
        out += _flat(value)
        return
    if indent and (flat := _within(value, _WIDTH - used)) is not None:
        out.append(flat)
        return
    inner = indent + "  "
    named = isinstance(value, dict)
    out.append("{" if named else "[")
    for index, item in enumerate(value):
        head = f"{inner}{_text(item)}: " if named else inner
        out.append(f",\n{head}" if index else f"\n{head}")
        _write(value[item] if named else item, inner, len(head) + 1, out)
    out.append(f"\n{indent}" + ("}" if named else "]"))


def _within(value: Any, room: int) -> str | None:
    """Return a value on one line, or None where that is longer; no more of it is looked at than that."""
    text = ""
    for piece in _flat(value):
        text += piece
        if len(text) > room:
            return None
    return text


def _flat(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for index, (key, item) in enumerate(value.items()):
            yield f"{', ' if index else '{'}{_text(key)}: "
            yield from _flat(item)
        yield "}" if value else "{}"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield ", " if index else "["
            yield from _flat(item)
        yield "]" if value else "[]"
    elif isinstance(value, _Number):
        yield str.__str__(value)
    else:
        yield _text(value) if isinstance(value, str) else json.dumps(value)


def _text(text: str) -> str:
    """Quote a text; what can't be seen in it is escaped, and everything else is not."""
    return _HIDDEN.sub(
        lambda found: found[0] if harmless(found[0]) else json.dumps(found[0])[1:-1],
        json.dumps(text, ensure_ascii=False),
    )
