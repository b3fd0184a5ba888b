"""A language model in the process: a ``dspy.LM`` with engines of our own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import attrs

from dspyreload.testing.answers import Prompt, in_turn, pieces, tokens, written

__all__ = ["ScriptedLM"]


class ScriptedLM:
    """A language model that says what you wrote, and remembers what it was asked.

    :param answers: for each call in turn: the output fields by name, a whole text, an exception to raise, or a function
        of the :class:`Prompt` that gives one of these. The last one is repeated.
    :param delay: seconds that each answer takes; a streamed one waits before its first word.
    :ivar prompts: what it was sent.
    :ivar lm: the ``dspy.LM``, made when first asked for.
    """

    def __init__(self, *answers: Any, delay: float = 0.0) -> None:
        self.answers, self.delay = list(answers), delay
        self.prompts: list[Prompt] = []
        self._lm: Any = None

    @property
    def lm(self) -> Any:
        """The ``dspy.LM``; importing DSPy takes more than a second."""
        if self._lm is None:
            import dspy

            self._lm = dspy.LM("scripted/lm", engine=_Sync(self), async_engine=_Async(self), cache=False, num_retries=0)
        return self._lm

    def answer(self, request: Any) -> Any:
        """Answer a ``dspy.lm15.Request`` with a ``dspy.lm15.Response``."""
        from dspy.lm15 import Message, Response, Usage

        system = request.system if isinstance(request.system, str) else "".join(p.text for p in request.system or ())
        prompt = Prompt(system, tuple((message.role, message.text or "") for message in request.messages))
        self.prompts.append(prompt)
        answer = in_turn(self.answers, len(self.prompts) - 1, prompt)
        if isinstance(answer, BaseException):
            raise answer
        text = written(answer, prompt, request.config.response_format)
        usage = Usage(input_tokens=tokens(prompt.text), output_tokens=tokens(text))
        return Response(id=None, model="scripted", message=Message.assistant(text), finish_reason="stop", usage=usage)

    def stream(self, request: Any) -> Iterator[Any]:
        """Answer a ``dspy.lm15.Request`` with the events of a stream: the same answer, word by word."""
        from dspy.lm15 import StreamDeltaEvent, StreamEndEvent, StreamStartEvent, TextDelta

        response = self.answer(request)
        yield StreamStartEvent(model=response.model)
        for piece in pieces(response.text or ""):
            yield StreamDeltaEvent(TextDelta(piece))
        yield StreamEndEvent(finish_reason=response.finish_reason, usage=response.usage)


@attrs.frozen
class _Sync:
    script: ScriptedLM

    def complete(self, request: Any) -> Any:
        time.sleep(self.script.delay)
        return self.script.answer(request)

    def stream(self, request: Any) -> Iterator[Any]:
        time.sleep(self.script.delay)
        yield from self.script.stream(request)


@attrs.frozen
class _Async:
    script: ScriptedLM

    async def complete(self, request: Any) -> Any:
        await self._wait()
        return self.script.answer(request)

    async def stream(self, request: Any) -> AsyncIterator[Any]:
        await self._wait()
        for event in self.script.stream(request):
            yield event

    async def _wait(self) -> None:
        if self.script.delay:
            await asyncio.sleep(self.script.delay)
