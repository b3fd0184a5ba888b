"""The fakes that dspyreload's own tests use, for yours: a clock, an observer of files, and a language model.

>>> reactor = ReactorClock()
>>> engine = DSPyEngine("modules", lm=ScriptedLM({"response": "Aye."}).lm, reactor=reactor)
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from twisted.internet.task import Clock
from zope.interface import implementer

from dspyreload.reactor import IReactor

__all__ = ["FakeObserver", "Prompt", "ScriptedLM", "ReactorClock"]


@implementer(IReactor)
class ReactorClock(Clock):
    """A ``task.Clock`` that also has ``callFromThread``: what threads asked for runs when you say so."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:
        """Keep a call until :meth:`advance` or :meth:`wait`. Any thread."""
        self._calls.put(lambda: callable(*args, **kwargs))

    def advance(self, amount: float) -> None:
        """Run what threads asked for, then let ``amount`` seconds pass."""
        self.run_calls()
        super().advance(amount)
        self.run_calls()

    def run_calls(self) -> int:
        """Run what threads have asked for so far; returns how many calls that were."""
        count = 0
        while True:
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                return count
            call()
            count += 1

    def wait(self, timeout: float = 10.0) -> None:
        """Wait for a thread to ask for something, and run that.

        :param timeout: real seconds.
        :raises TimeoutError: where none does.
        """
        try:
            call = self._calls.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"no thread called within {timeout:g} s") from None
        call()
        self.run_calls()


class FakeObserver:
    """Stands in for watchdog's observer: it tells the handler what your test says.

    Pass ``make_observer=lambda polling: observer`` to a service.

    :param fails: raised by ``start``, as a kernel without watches would.
    """

    def __init__(self, fails: Exception | None = None) -> None:
        self.fails = fails
        self.root = ""
        self.running = False
        self.stops = 0
        self.emitters: set[Any] = set()
        self.name = "fake-observer"
        self._handler: Any = None

    def schedule(self, handler: Any, path: str, **_options: Any) -> None:
        """Remember who is told."""
        self._handler, self.root = handler, path

    def start(self) -> None:
        """Begin."""
        if self.fails is not None:
            raise self.fails
        self.running = True

    def stop(self) -> None:
        """End."""
        self.running, self.stops = False, self.stops + 1

    def join(self, timeout: float | None = None) -> None:
        """Return at once: there is no thread."""

    def is_alive(self) -> bool:
        """Say whether it was started and not stopped."""
        return self.running

    def tell(self, path: str, kind: str = "modified", *, dest: str = "", directory: bool = False) -> None:
        """Deliver one event: ``kind`` is watchdog's event type, paths are relative to the root."""
        event = _Event(kind, f"{self.root}/{path}", f"{self.root}/{dest}" if dest else "", directory)
        self._handler.dispatch(event)


@attrs.frozen
class _Event:
    event_type: str
    src_path: str
    dest_path: str
    is_directory: bool


@attrs.frozen
class Prompt:
    """What a language model was sent: the system text, and each further turn as (role, text)."""

    system: str
    turns: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """All of it."""
        return "\n\n".join([self.system, *(text for _role, text in self.turns)])


class ScriptedLM:
    """A language model that says what you wrote, and remembers what it was asked.

    :param answers: for each call in turn: the output fields by name, a whole text, an exception to raise, or a function
        of the :class:`Prompt` that gives one of these. The last one is repeated.
    :param delay: seconds that each answer takes.
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
        answer = self.answers[min(len(self.prompts), len(self.answers)) - 1]
        if callable(answer):
            answer = answer(prompt)
        if isinstance(answer, BaseException):
            raise answer
        text = answer if isinstance(answer, str) else _written(answer)
        usage = Usage(input_tokens=len(prompt.text) // 4, output_tokens=len(text) // 4)
        return Response(id=None, model="scripted", message=Message.assistant(text), finish_reason="stop", usage=usage)


def _written(fields: Mapping[str, Any]) -> str:
    """Write output fields as DSPy's chat adapter asks a model to."""
    parts = [f"[[ ## {name} ## ]]\n{value}" for name, value in fields.items()]
    return "\n\n".join([*parts, "[[ ## completed ## ]]"])


@attrs.frozen
class _Sync:
    script: ScriptedLM

    def complete(self, request: Any) -> Any:
        return self.script.answer(request)


@attrs.frozen
class _Async:
    script: ScriptedLM

    async def complete(self, request: Any) -> Any:
        if self.script.delay:
            await asyncio.sleep(self.script.delay)
        return self.script.answer(request)
