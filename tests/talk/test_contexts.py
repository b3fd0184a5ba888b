"""Whose context variables a call sees: those of who made it, in its program and in its tools."""

from __future__ import annotations

import contextvars
import threading
from typing import Any

import attrs
import dspy
import pytest
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from dspyreload import Tool
from dspyreload.errors import EngineClosed
from dspyreload.testing import ScriptedLM
from tests.conftest import Save, module_text
from tests.talk.conftest import AYE, HELLO, MakeEngine, failure_of, in_reactor, reactor, serve, soon

pytestmark = pytest.mark.usefixtures("smith")

speaker: contextvars.ContextVar[str] = contextvars.ContextVar("speaker", default="nobody")
PARAMETERS = {"type": "object", "properties": {"where": {"type": "string"}}, "required": ["where"]}
SIGNATURE = {
    "inputs": [{"name": "player_message"}, {"name": "context"}, {"name": "available_tools", "field_type": "json"}],
    "outputs": [{"name": "tool_call", "field_type": "json"}, {"name": "response"}],
}
ASKS = {"tool_call": '{"name": "look", "args": {"where": "north"}}', "response": ""}
SAYS = {"tool_call": "null", "response": "A river."}
REACT = (
    {"next_thought": "Where?", "next_tool_name": "look", "next_tool_args": '{"where": "north"}'},
    {"next_thought": "Enough.", "next_tool_name": "finish", "next_tool_args": "{}"},
    {"reasoning": "I looked.", "response": "A river."},
)


@attrs.frozen
class Seen:
    """What somebody sees of the context that it runs in."""

    speaker: str
    workers: int
    thread: str

    @classmethod
    def here(cls) -> Seen:
        """Look around."""
        return cls(speaker.get(), dspy.settings.async_max_workers, threading.current_thread().name)


class Seeing(dspy.Module):  # type: ignore[misc]
    """A program that tells what it sees."""

    def __init__(self, seen: list[Seen]) -> None:
        super().__init__()
        self.answer = dspy.Predict("player_message -> response, emotion")
        self.seen = seen


class SyncSeeing(Seeing):
    def forward(self, player_message: str) -> Any:
        self.seen.append(Seen.here())
        return self.answer(player_message=player_message)


class AsyncSeeing(Seeing):
    async def aforward(self, player_message: str) -> Any:
        self.seen.append(Seen.here())
        return await self.answer.acall(player_message=player_message)


class Looking(dspy.Module):  # type: ignore[misc]
    """A program whose only way is ``forward``, with a ReAct inside."""

    def __init__(self, look: Any) -> None:
        super().__init__()
        self.react = dspy.ReAct("player_message -> response", tools=[look])

    def forward(self, player_message: str) -> Any:
        return self.react(player_message=player_message)


@pytest.mark.parametrize(("kind", "thread"), [(SyncSeeing, "dspyreload-program"), (AsyncSeeing, "dspyreload-lm")])
@in_reactor
async def test_a_program_sees_what_its_caller_set(engine: MakeEngine, kind: type[Seeing], thread: str) -> None:
    """Context variables and ``dspy.context``, as they were when ``invoke`` was called, each call its own."""
    seen: list[Seen] = []
    game = engine(ScriptedLM(AYE).lm)
    serve(game, "slow", kind(seen))
    calls = []
    for number, name in enumerate(("Ann", "Ben"), 3):
        token = speaker.set(name)
        with dspy.context(async_max_workers=number):
            calls.append(game.invoke("slow", **HELLO))
        speaker.reset(token)
    await soon(gatherResults(calls))
    assert sorted(seen, key=str) == [Seen("Ann", 3, thread), Seen("Ben", 4, thread)]
    assert Seen.here().speaker == "nobody"


@in_reactor
async def test_a_call_that_waited_sees_what_its_caller_set(engine: MakeEngine) -> None:
    """The context is of the moment of the call, not of the moment in which it gets its place."""
    seen: list[Seen] = []
    game = engine(ScriptedLM(AYE).lm, max_concurrency=1)
    serve(game, "slow", AsyncSeeing(seen))
    calls = [contextvars.copy_context().run(_named, name, game) for name in ("Ann", "Ben", "Cid")]
    await soon(gatherResults(calls))
    assert [one.speaker for one in seen] == ["Ann", "Ben", "Cid"]


def _named(name: str, game: Any) -> Deferred[Any]:
    speaker.set(name)
    call: Deferred[Any] = game.invoke("slow", **HELLO)
    return call


@pytest.mark.parametrize("kind", ["plain", "async", "deferred"])
@in_reactor
async def test_a_tool_sees_what_the_caller_set(engine: MakeEngine, save: Save, kind: str) -> None:
    """On the reactor thread, and where it is ``async def`` after it waited, too."""
    seen: list[Seen] = []

    def plain(where: str) -> str:
        seen.append(Seen.here())
        return where

    async def coroutine(where: str) -> str:
        await deferLater(reactor, 0, lambda: None)
        return plain(where)

    def deferred(where: str) -> Deferred[str]:
        return deferLater(reactor, 0, plain, where)

    save("smith.json", module_text(signature=SIGNATURE, demos=None, tool_enabled=True))
    game = engine(ScriptedLM(ASKS, SAYS).lm)
    tool: Any = {"plain": plain, "async": coroutine, "deferred": deferred}[kind]
    game.tools.register(Tool("look", "Looks around.", PARAMETERS, tool))
    token = speaker.set("Ann")
    with dspy.context(async_max_workers=3):
        call = game.invoke("npc.smith", **HELLO)
    speaker.reset(token)
    reply = await soon(call)
    assert reply["response"] == "A river."
    assert [done.result for done in reply.tool_calls] == ["north"]
    (one,) = seen
    assert one.thread == threading.current_thread().name
    if kind != "deferred":  # what a Deferred calls later has no context of its own
        assert (one.speaker, one.workers) == ("Ann", 3)


@pytest.mark.parametrize("registered", [False, True])
@pytest.mark.parametrize("kind", ["async", "sync"])
@in_reactor
async def test_a_tool_of_react_sees_what_the_caller_set(engine: MakeEngine, kind: str, registered: bool) -> None:
    """The program's own tool and the game's run on the reactor thread, whether or not the program is async."""
    seen: list[Seen] = []

    def look(where: str) -> str:
        """Looks around."""
        seen.append(Seen.here())
        return "a river"

    def listen(where: str) -> str:
        """Listens."""
        return "nothing"

    lm = ScriptedLM(*REACT)
    game = engine(lm.lm)
    own = listen if registered else look
    serve(game, "guide", dspy.ReAct("player_message -> response", tools=[own]) if kind == "async" else Looking(own))
    if registered:
        game.tools.register(Tool("look", "Looks around.", PARAMETERS, look))
    token = speaker.set("Ann")
    with dspy.context(async_max_workers=3):
        call = game.invoke("guide", **HELLO)
    speaker.reset(token)
    reply = await soon(call)
    assert reply["trajectory"]["observation_0"] == "a river"
    assert seen == [Seen("Ann", 3, threading.current_thread().name)]


@in_reactor
async def test_a_reply_filter_sees_what_the_caller_set(engine: MakeEngine) -> None:
    """A filter may look up for whom the reply is."""
    seen: list[Seen] = []
    game = engine(ScriptedLM(AYE).lm)
    game.reply_filters.add(lambda reply: seen.append(Seen.here()))
    token = speaker.set("Ann")
    call = game.invoke("npc.smith", **HELLO)
    speaker.reset(token)
    await soon(call)
    assert [(one.speaker, one.thread) for one in seen] == [("Ann", threading.current_thread().name)]


class TestAToolThatHangs:
    @pytest.mark.parametrize("kind", ["async", "sync"])
    @in_reactor
    async def test_cancelling_the_call_cancels_the_tool(self, engine: MakeEngine, kind: str) -> None:
        """Its Deferred is cancelled, and no thread waits for it any more."""
        begun: Deferred[None] = Deferred()
        ended: Deferred[str] = Deferred()

        def look(where: str) -> Deferred[str]:
            """Looks around."""
            begun.callback(None)
            return Deferred(lambda _deferred: ended.callback("cancelled"))

        game = engine(ScriptedLM(*REACT).lm, timeout=None)
        serve(
            game, "guide", dspy.ReAct("player_message -> response", tools=[look]) if kind == "async" else Looking(look)
        )
        call = game.invoke("guide", **HELLO)
        await soon(begun)
        call.cancel()
        await failure_of(call, CancelledError)
        assert await soon(ended) == "cancelled"
        await gone("dspyreload-program")

    @in_reactor
    async def test_closing_ends_the_thread_that_waits_for_it(self, engine: MakeEngine) -> None:
        """A program that is not async and waits for a tool leaves no thread behind when the engine closes."""
        begun: Deferred[None] = Deferred()

        def look(where: str) -> Deferred[str]:
            """Looks around."""
            begun.callback(None)
            return Deferred()

        game = engine(ScriptedLM(*REACT).lm, timeout=None)
        serve(game, "guide", Looking(look))
        call = game.invoke("guide", **HELLO)
        await soon(begun)
        closing = game.close()
        await failure_of(call, EngineClosed)
        await soon(closing, 4)
        await gone("dspyreload-program")


async def gone(name: str) -> None:
    """Wait until no thread has this name."""
    for thread in threading.enumerate():
        if thread.name == name:
            await soon(deferToThread(thread.join, 5))
            assert not thread.is_alive(), f"{name} does not end"
