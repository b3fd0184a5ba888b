"""The LM ``demos``: it answers from the demonstrations, with no model and no network.

Demonstrations reach an LM as turns of the conversation. This one finds the earlier user turn that is nearest to the
last one, and says what followed it.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

__all__ = ["NAME", "make_demos_lm", "nearest"]

NAME = "demos"

_WORD = re.compile(r"\w+")
_WORD_AND_SPACE = re.compile(r"\S*\s+|\S+")
_HEADER = re.compile(r"\[\[ ## \w+ ## \]\]")
# What nobody says now: the tools that are offered, and what was said before.
_BESIDE = re.compile(r"\[\[ ## (?:available_tools|conversation_history) ## \]\].*?(?=\[\[ ## |\Z)", re.DOTALL)
_REMINDER = "\n\nRespond with"  # what DSPy's adapters append to the last turn, and to no demonstration


def nearest(question: str, turns: list[tuple[str, str]]) -> str | None:
    """Return the answer of the (question, answer) turn that shares most words with a question; ties: the first."""
    asked = _words(_said(question))
    best, best_score = None, -1.0
    for earlier, answer in turns:
        words = _words(_said(earlier))
        shared = sum((asked & words).values())
        score = 2 * shared / max(1, asked.total() + words.total())
        if score > best_score:
            best, best_score = answer, score
    return best


def _said(turn: str) -> str:
    """Return what was said in a turn, without what DSPy writes before the first field and after the last."""
    head, reminder, _rest = turn.rpartition(_REMINDER)
    text = head if reminder else turn
    header = _HEADER.search(text)
    return _BESIDE.sub("", text[header.start() :]) if header is not None else text


def _words(text: str) -> Counter[str]:
    return Counter(word.casefold() for word in _WORD.findall(_HEADER.sub(" ", text)))


def make_demos_lm() -> Any:
    """Return a ``dspy.LM`` whose answers are the demonstrations'."""
    import dspy

    return dspy.LM("demos/demos", engine=_Engine(), async_engine=_AsyncEngine(), cache=False, num_retries=0)


def _answer(request: Any) -> Any:
    from dspy.lm15 import InvalidRequestError, Message, Response, Usage

    messages = request.messages
    turns = [
        (asked.text or "", answered.text or "")
        for asked, answered in itertools.pairwise(messages)
        if asked.role == "user" and answered.role == "assistant"
    ]
    answer = nearest(messages[-1].text or "", turns)
    if answer is None:
        raise InvalidRequestError("the module has no demonstrations to answer from; give it some, or a real LM")
    return Response(
        id=None,
        model="demos",
        message=Message.assistant(answer),
        finish_reason="stop",
        usage=Usage(input_tokens=0, output_tokens=0),
    )


def _events(request: Any) -> Iterator[Any]:
    """Say the answer word by word."""
    from dspy.lm15 import StreamDeltaEvent, StreamEndEvent, StreamStartEvent, TextDelta

    response = _answer(request)
    yield StreamStartEvent(model="demos")
    for word in _WORD_AND_SPACE.findall(response.message.text or ""):
        yield StreamDeltaEvent(TextDelta(word))
    yield StreamEndEvent(finish_reason="stop", usage=response.usage)


class _Engine:
    def complete(self, request: Any) -> Any:
        return _answer(request)

    def stream(self, request: Any) -> Iterator[Any]:
        return _events(request)


class _AsyncEngine:
    async def complete(self, request: Any) -> Any:
        return _answer(request)

    async def stream(self, request: Any) -> AsyncIterator[Any]:
        for event in _events(request):
            yield event
