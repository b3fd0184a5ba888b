"""What goes into a module beside what is typed: :class:`Fields`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from dspyreload.model.faults import did_you_mean, quoted, shown
from dspyreload.model.module import FieldDefinition, OptimizedModule, SignatureDefinition

__all__ = ["HISTORY", "Fields", "typed_field", "value_of"]

HISTORY = "conversation_history"
_MESSAGE = "player_message"

_WANTED = {"int": "a whole number, such as 3", "float": "a number, such as 0.5", "bool": "true or false",
           "list": 'a list, such as ["a", "b"]', "json": "JSON"}  # fmt: skip


def typed_field(signature: SignatureDefinition) -> str | None:
    """Return the input that takes what is typed: ``player_message``, else the last text."""
    names = signature.input_names()
    if _MESSAGE in names:
        return _MESSAGE
    texts = [field.name for field in signature.inputs if field.field_type == "string" and field.name != HISTORY]
    return texts[-1] if texts else None


def value_of(field: FieldDefinition, text: str) -> Any:
    """Turn what was typed for a field into its value.

    :raises ValueError: where it is none, in words.
    """
    if field.field_type == "string":
        return text
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        if field.field_type == "json":
            return text  # a text is a value as well
        raise ValueError(f"{field.name} is {_WANTED[field.field_type]}") from None
    kinds: Mapping[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "list": (list,)}
    kind = kinds.get(field.field_type, (object,))
    if not isinstance(value, kind) or (isinstance(value, bool) and field.field_type in ("int", "float")):
        raise ValueError(f"{field.name} is {_WANTED[field.field_type]}")
    return value


def _says(field: FieldDefinition) -> bool:
    """Say whether a field is described; DSPy gives one without a description its own name."""
    return field.description not in ("", f"${{{field.name}}}")


def _refuse(constant: str) -> Any:
    raise ValueError(constant)  # NaN and the infinities are no JSON


@attrs.define
class Fields:
    """What was set with ``/set``, for all modules that have such a field."""

    values: dict[str, str] = attrs.field(factory=dict)

    def set(self, signature: SignatureDefinition, name: str, text: str) -> None:
        """Set a field, or let go of it where the text is empty.

        :raises ValueError: where there is no such input, or the text is no value of it.
        """
        known = {field.name: field for field in signature.inputs}
        if name not in known:
            named = ", ".join(known) or "none"
            raise ValueError(f"there is no input {quoted(name)}{did_you_mean(name, known)} (the inputs are {named})")
        if text:
            value_of(known[name], text)
            self.values[name] = text
        else:
            self.values.pop(name, None)

    def fill(
        self, signature: SignatureDefinition, module: OptimizedModule, history: str
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return the inputs beside what is typed, and the names of those that are still lacking.

        What was not set is taken from the first demonstration.
        """
        typed = typed_field(signature)
        shown_first = module.demos[0].inputs if module.demos else {}
        found: dict[str, Any] = {}
        lacking = []
        for field in signature.inputs:
            if field.name in self.values:
                try:
                    found[field.name] = value_of(field, self.values[field.name])
                except ValueError:  # another module has a field of this name and another type
                    lacking.append(field.name)
            elif field.name == HISTORY and field.field_type == "string":
                found[field.name] = history
            elif field.name in shown_first and field.name != typed:
                found[field.name] = shown_first[field.name]
            elif field.name != typed and not field.optional:
                lacking.append(field.name)
        return found, tuple(lacking)

    def told(self, signature: SignatureDefinition, module: OptimizedModule) -> list[tuple[str, str]]:
        """Return each input with what it will be, in words."""
        typed = typed_field(signature)
        filled, lacking = self.fill(signature, module, "")
        lines = []
        for field in signature.inputs:
            if field.name == typed and field.name not in self.values:
                words = "what you type"
            elif field.name in self.values:
                words = shown(self.values[field.name])
            elif field.name == HISTORY:
                words = "what was said so far (/forget begins anew)"
            elif field.name in lacking:
                words = f"not set: /set {field.name} ..."
            elif field.name in filled:
                words = f"{quoted(filled[field.name], 100)} (from the first demonstration)"
            else:
                words = "left out"
            lines.append((field.name, words + (f"    [{shown(field.description)}]" if _says(field) else "")))
        return lines
