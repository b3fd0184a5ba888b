"""What the tests of calls share: engines in a running reactor, and language models that wait to be let go."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import attrs
import dspy
import pytest
import pytest_twisted
from dspy.lm15 import Message, Response, Usage
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.task import deferLater

from dspyreload import DSPyEngine, Reply
from dspyreload.talk.leases import Lease
from dspyreload.testing import Prompt, ReactorClock, ScriptedLM
from tests.conftest import Save, module_text

__all__ = [
    "AYE",
    "HELLO",
    "Game",
    "Held",
    "HeldLM",
    "MakeEngine",
    "failure_of",
    "fields_of",
    "in_reactor",
    "ours",
    "process",
    "reactor",
    "serve",
    "soon",
    "turn",
]

reactor: Any = installed
T = TypeVar("T")
Test = TypeVar("Test", bound=Callable[..., Any])
MakeEngine = Callable[..., DSPyEngine]

ROOT = Path(__file__).resolve().parents[2]
AYE = {"response": "Aye.", "emotion": "calm"}
HELLO: Any = {"player_message": "Hello"}


def in_reactor(test: Test) -> Test:
    """Run a coroutine function as a test in the reactor."""
    return cast(Test, pytest_twisted.ensureDeferred(test))


def soon(deferred: Deferred[T], seconds: float = 20.0) -> Deferred[T]:
    """Give up waiting: a test that would hang fails."""
    return deferred.addTimeout(seconds, reactor)


async def failure_of(deferred: Deferred[Any], kind: type[Exception]) -> Any:
    """Wait for a Deferred to fail with this kind of error; returns the error."""
    with pytest.raises(kind) as caught:
        await soon(deferred)
    return caught.value


async def fields_of(call: Deferred[Reply]) -> dict[str, Any]:
    """Wait for a reply; returns its output fields."""
    reply = await soon(call)
    return {**reply}


async def turn(times: int = 2) -> None:
    """Let the reactor turn."""
    for _ in range(times):
        await soon(deferLater(reactor, 0, lambda: None))


def ours() -> list[str]:
    """Name the threads of ours that are alive."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("dspyreload-")]


def serve(game: DSPyEngine, name: str, program: Any) -> None:
    """Save a program's state as a module of the engine's directory, and register it: it is live then."""
    program.save(str(Path(game.directory, f"{name}.json")))
    game.programs.register(name, program)
    game.passes.look_here()
    assert name in game.snapshot


def process(script: str, *arguments: str) -> list[str]:
    """Run a script in a process of its own, which must end by itself and well; returns the lines that it prints."""
    command = [sys.executable, "-c", script, *arguments]
    try:
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"the process does not end; it said:\n{error.stdout!r}\n{error.stderr!r}") from None
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout.splitlines()


@attrs.define
class Held:
    """One call that an LM has not answered yet."""

    words: str
    ended: Deferred[str] = attrs.field(factory=Deferred)
    _loop: asyncio.AbstractEventLoop = attrs.field(factory=asyncio.get_running_loop)
    _go: asyncio.Event = attrs.field(factory=asyncio.Event)

    def answer(self) -> None:
        """Let the LM answer. Reactor thread."""
        self._loop.call_soon_threadsafe(self._go.set)

    async def wait(self) -> None:
        """Wait for ``answer``. The loop's thread."""
        try:
            await self._go.wait()
        except asyncio.CancelledError:
            reactor.callFromThread(self.ended.callback, "cancelled")
            raise
        reactor.callFromThread(self.ended.callback, "answered")


class HeldLM:
    """An LM whose calls wait until the test lets them go.

    :ivar calls: a queue of :class:`Held`, in the order in which they came; ``words`` is the last turn of the prompt.
    :ivar most: how many were under way at once.
    """

    def __init__(self) -> None:
        self.most, self._now = 0, 0
        self.calls: DeferredQueue[Held] = DeferredQueue()
        self.lm = dspy.LM("held/lm", engine=_Never(), async_engine=self, cache=False, num_retries=0)

    async def complete(self, request: Any) -> Any:
        """Wait, then answer."""
        held = Held(request.messages[-1].text)
        self._now += 1
        self.most = max(self.most, self._now)
        reactor.callFromThread(self.calls.put, held)
        try:
            await held.wait()
        finally:
            self._now -= 1
        text = "".join(f"[[ ## {name} ## ]]\n{value}\n\n" for name, value in AYE.items())
        usage = Usage(input_tokens=1, output_tokens=1)
        return Response(id=None, model="held", message=Message.assistant(text), finish_reason="stop", usage=usage)

    async def next(self) -> Held:
        """Wait for the next call to reach the LM."""
        return await soon(self.calls.get())


class _Never:
    def complete(self, request: Any) -> Any:
        raise AssertionError("calls are asynchronous")


@pytest_twisted.async_yield_fixture()
async def engine(modules: Path) -> AsyncIterator[MakeEngine]:
    """Make engines of the modules directory; they are closed when the test is over, and no thread of theirs is left."""
    made: list[DSPyEngine] = []

    def make(lm: Any = None, **options: Any) -> DSPyEngine:
        made.append(DSPyEngine(modules, lm, **options))
        return made[-1]

    yield make
    for one in made:
        await soon(one.close())
    assert "dspyreload-lm" not in ours()


@pytest.fixture
def smith(save: Save) -> Path:
    """The file of the module ``npc.smith``."""
    return save("smith.json", module_text())


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a thread of a test waits for; it is open at the end, and the thread gone."""
    before = set(threading.enumerate())
    gate = threading.Event()
    yield gate
    gate.set()
    for thread in set(threading.enumerate()) - before:
        if thread.name == "dspyreload-program":
            thread.join(10)
            assert not thread.is_alive()


class Game:
    """An engine with ``npc.smith`` on a clock.

    :ivar lm: what speaks; ``runners``: the programs that asked it, in turn.
    :ivar before_answer: called on the LM thread.
    """

    def __init__(self, modules: Path, save: Save) -> None:
        self.clock, self._save = ReactorClock(), save
        self.runners: list[weakref.ref[Any]] = []
        self.before_answer: Callable[[], object] = lambda: None
        self.save("one")
        self.lm = ScriptedLM(self._answer)
        self.engine = DSPyEngine(modules, self.lm.lm, reactor=self.clock)

    def _answer(self, prompt: Prompt) -> dict[str, str]:
        self.runners.append(weakref.ref(dspy.settings.caller_modules[0]))
        self.before_answer()
        return AYE

    def save(self, instruction: str) -> None:
        """Save the module with another instruction."""
        self._save("smith.json", module_text(instruction=instruction))

    def change(self, instruction: str) -> None:
        """Save another version, and serve it."""
        self.save(instruction)
        self.result(self.engine.reload_all())

    def result(self, deferred: Deferred[Any]) -> Any:
        """Wait for a Deferred; returns what it fires with."""
        outcome: list[Any] = []
        deferred.addBoth(outcome.append)
        while not outcome:
            self.clock.wait()
        if hasattr(outcome[0], "raiseException"):
            outcome[0].raiseException()
        return outcome[0]

    def say(self, who: DSPyEngine | Lease) -> tuple[int, str]:
        """Speak to the smith; returns the generation, and the instruction that the LM read."""
        reply: Reply = self.result(who.invoke("npc.smith", **HELLO))
        return reply.generation, self.lm.prompts[-1].system.rsplit(maxsplit=1)[-1]


@pytest.fixture
def game(modules: Path, save: Save) -> Iterator[Game]:
    """A game; its engine is closed at the end."""
    game = Game(modules, save)
    yield game
    game.result(game.engine.close())
