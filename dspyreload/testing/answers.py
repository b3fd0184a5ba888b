"""What a language model is sent, and how an answer is written: values and text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import attrs

__all__ = ["Prompt", "in_turn", "pieces", "tokens", "written"]

_PIECE = re.compile(r"\S{1,8}\s*|\s+")
_ASKS_FOR = "\n\nRespond with "  # how the last paragraph of the prompts of DSPy's adapters begins


@attrs.frozen
class Prompt:
    """What a language model was sent: the system text, and each further turn as (role, text)."""

    system: str
    turns: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """All of it."""
        return "\n\n".join([self.system, *(text for _role, text in self.turns)])


def in_turn(answers: list[Any], number: int, prompt: Prompt) -> Any:
    """Return the answer to call ``number``, which is 0 for the first; the last answer is repeated.

    :raises LookupError: where there are none.
    """
    if not answers:
        raise LookupError("no answer was given to say")
    answer = answers[min(number, len(answers) - 1)]
    return answer(prompt) if callable(answer) else answer


def written(answer: Any, prompt: Prompt, response_format: Mapping[str, Any] | None) -> str:
    """Write output fields as DSPy's adapter asks a model to: with headers, or as JSON. A whole text stays as it is.

    :param response_format: that of the request, in OpenAI's form or in lm15's.
    """
    if isinstance(answer, str):
        return answer
    if not isinstance(answer, Mapping):
        raise TypeError(f"{answer!r} is no answer: it is neither a text nor a mapping of output fields")
    if _wants_json(prompt, response_format):
        return json.dumps(dict(answer), ensure_ascii=False, default=str)
    parts = [f"[[ ## {name} ## ]]\n{value}" for name, value in answer.items()]
    return "\n\n".join([*parts, "[[ ## completed ## ]]"])


def _wants_json(prompt: Prompt, response_format: Mapping[str, Any] | None) -> bool:
    """Say whether the answer is to be a JSON object.

    DSPy sends a response format only to models that it knows to take one; the others are asked in words alone.
    """
    if response_format is not None and response_format.get("type") in ("json_object", "json_schema"):
        return True
    last = prompt.turns[-1][1] if prompt.turns else ""
    return last[last.rfind(_ASKS_FOR) :].startswith(_ASKS_FOR + "a JSON object")


def pieces(text: str) -> list[str]:
    """Cut a text as a model streams it, into words or parts of words of at most eight letters; joined they are it."""
    return _PIECE.findall(text)


def tokens(text: str) -> int:
    """Return about how many tokens a text has."""
    return len(text) // 4
