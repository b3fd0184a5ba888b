"""One form for all module files: the same value, with its keys in order and as much on a line as fits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

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
_SIGNATURE = ("inputs", "outputs")
_FIELD = ("name", "description", "field_type")
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
        return _written(value if is_dspy_state(value) else _ordered(value), "", 0, _WIDTH) + "\n"
    except RecursionError:
        raise FaultError(TOO_DEEP, mend="put fewer inside each other") from None


def _ordered(module: dict[str, Any]) -> dict[str, Any]:
    module = _by(module, _ORDER)
    signature = module.get("signature")
    if isinstance(signature, dict):
        module["signature"] = {
            key: [_by(field, _FIELD) for field in side] if isinstance(side, list) else side
            for key, side in _by(signature, _SIGNATURE).items()
        }
    if isinstance(module.get("demos"), list):
        module["demos"] = [_by(demo, _SIGNATURE) for demo in module["demos"]]
    if "metadata" in module:
        module["metadata"] = _by(module["metadata"], _METADATA)
    return module


def _by(value: Any, order: Iterable[str]) -> Any:
    """Return an object with the keys of ``order`` first; the others stay as they stand."""
    if not isinstance(value, dict):
        return value
    return {key: value[key] for key in (*(key for key in order if key in value), *value)}


def _written(value: Any, indent: str, used: int, width: int) -> str:
    """Write a value.

    :param used: characters of the line that are written already. ``width``: how many it may have.
    """
    flat = _flat(value)
    if not value or not isinstance(value, (dict, list)) or (indent and used + len(flat) <= width):
        return flat
    inner = indent + "  "
    rows = []
    if isinstance(value, Mapping):
        for key, item in value.items():
            head = f"{inner}{_text(key)}: "
            rows.append(head + _written(item, inner, len(head) + 1, width))
    else:
        rows = [inner + _written(item, inner, len(inner) + 1, width) for item in value]
    opening, closing = "{}" if isinstance(value, Mapping) else "[]"
    return f"{opening}\n" + ",\n".join(rows) + f"\n{indent}{closing}"


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)}: {_flat(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flat(item) for item in value) + "]"
    if isinstance(value, _Number):
        return str.__str__(value)
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(text: str) -> str:
    """Quote a text; what can't be seen in it is escaped, and everything else is not."""
    return _HIDDEN.sub(
        lambda found: found[0] if harmless(found[0]) else json.dumps(found[0])[1:-1],
        json.dumps(text, ensure_ascii=False),
    )
