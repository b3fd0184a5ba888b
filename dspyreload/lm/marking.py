"""What players write is data: DSPy's own markers in it are made harmless, so that no input ends or opens a field.

- As little as possible is changed, and a text without markers is not: an LM reads it as it was written.
- What is harmless stays as it is; doing it twice does no more.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection
from typing import Any

__all__ = ["harmless"]

_Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]

_HEADER = re.compile(r"\[\[(\s*+##\s*+\w++\s*+##\s*+)\]\]")
_CUSTOM_TYPE = re.compile(r"<<(?=CUSTOM-TYPE-(?:START|END)-IDENTIFIER>>)")  # DSPy makes images and files of these
_EVERYWHERE: tuple[_Rule, ...] = ((_HEADER, r"[ [\1] ]"), (_CUSTOM_TYPE, "< <"))

_BREAKS = r"\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
_SINGLE = str.maketrans("«»", "\u2039\u203a")  # the single ones


def _single(quotes: re.Match[str]) -> str:
    return quotes[0].translate(_SINGLE)


# DSPy writes an item of a list as «text», or between ««« and »»» where it has quotes or lines of its own. Of an item
# that is no text it writes what Python shows, between « and », whatever is inside.
_IN_ITEM: _Rule = (re.compile("«{3,}|»{3,}"), _single)
_DEEPER: _Rule = (re.compile("[«»]"), _single)


def harmless(value: Any, adapter: Any, names: Collection[str]) -> Any:
    """Return the value of an input field, without DSPy's markers in any text inside of it.

    Texts are looked for in lists, tuples, dicts (keys, too) and the messages of a ``dspy.History``; anything else
    passes as it is. The very same object is returned where nothing had to be changed.

    :param adapter: the adapter that will write the prompt; None for DSPy's own choice, ``ChatAdapter``.
    :param names: all fields of the signature.
    """
    import dspy

    rules = _EVERYWHERE
    if isinstance(adapter, dspy.XMLAdapter):
        rules = _tag_rules(tuple(names))
    elif isinstance(adapter, dspy.TwoStepAdapter):
        rules = _line_rules(tuple(names))
    if isinstance(value, dspy.History):
        messages = _sequence(value.messages, lambda message: _mapping(message, rules, _field))
        return value if messages is value.messages else value.model_copy(update={"messages": messages})
    return _field(value, rules)


@functools.lru_cache(maxsize=256)
def _tag_rules(names: tuple[str, ...]) -> tuple[_Rule, ...]:
    if not names:
        return _EVERYWHERE
    tag = re.compile(rf"<(?=\s*+/?\s*+(?:{_one_of(names)})(?:[\s/>]|\Z))", re.IGNORECASE)
    return (*_EVERYWHERE, (tag, "&lt;"))


@functools.lru_cache(maxsize=256)
def _line_rules(names: tuple[str, ...]) -> tuple[_Rule, ...]:
    if not names:
        return _EVERYWHERE
    line = re.compile(rf"(?<=[{_BREAKS}])([^\S{_BREAKS}]*+)(?=(?:{_one_of(names)})\s*+:)", re.IGNORECASE)
    return (*_EVERYWHERE, (line, r"\1> "))


def _one_of(names: tuple[str, ...]) -> str:
    return "|".join(map(re.escape, names))


def _field(value: Any, rules: tuple[_Rule, ...]) -> Any:
    if isinstance(value, list):
        return _sequence(value, lambda item: _inside(item, (*rules, _IN_ITEM if isinstance(item, str) else _DEEPER)))
    return _inside(value, rules)


def _inside(value: Any, rules: tuple[_Rule, ...]) -> Any:
    if isinstance(value, str):
        changed = value
        for pattern, replacement in rules:
            changed = pattern.sub(replacement, changed)
        return value if changed == value else changed
    if isinstance(value, (list, tuple)):
        return _sequence(value, lambda item: _inside(item, rules))
    if isinstance(value, dict):
        return _mapping(value, rules, _inside)
    return value


def _sequence(items: list[Any] | tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    changed = [change(item) for item in items]
    if all(new is old for new, old in zip(changed, items, strict=True)):
        return items
    return changed if isinstance(items, list) else tuple(changed)


def _mapping(
    mapping: dict[Any, Any], rules: tuple[_Rule, ...], change: Callable[[Any, tuple[_Rule, ...]], Any]
) -> dict[Any, Any]:
    changed = [(_inside(key, rules), change(value, rules)) for key, value in mapping.items()]
    if all(new[0] is key and new[1] is value for new, (key, value) in zip(changed, mapping.items(), strict=True)):
        return mapping
    return dict(changed)
