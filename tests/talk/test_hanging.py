"""A call that hangs: what it holds up, and what it does not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import dspy
import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs, formatEvent

from dspyreload import HotReloadConfig
from dspyreload.errors import EngineClosed, InvokeTimeout
from dspyreload.model.events import ModuleChanged
from dspyreload.testing import ScriptedLM
from tests.conftest import Save, module_text
from tests.talk.conftest import (
    AYE,
    HELLO,
    HeldLM,
    MakeEngine,
    failure_of,
    fields_of,
    in_reactor,
    ours,
    process,
    reactor,
    serve,
    soon,
)

pytestmark = pytest.mark.usefixtures("smith")

HANGS = """
import asyncio, sys, threading
import dspy
from twisted.internet import reactor
from dspyreload import DSPyEngine

directory, kind = sys.argv[1:]

class Hangs(dspy.Module):
    def __init__(self):
        super().__init__()
        self.answer = dspy.Predict("player_message -> response")

def hang():
    reactor.callFromThread(reactor.callLater, 0, reactor.stop)
    threading.Event().wait()

async def forever():
    reactor.callFromThread(reactor.callLater, 0, reactor.stop)
    await asyncio.Event().wait()

class Sync(Hangs):
    def forward(self, player_message):
        hang()

class Async(Hangs):
    async def aforward(self, player_message):
        await forever()

class InAThread(Hangs):
    async def aforward(self, player_message):
        await asyncio.to_thread(hang)

program = {"sync": Sync, "async": Async, "thread": InAThread}[kind]()
program.save(directory + "/hangs.json")
game = DSPyEngine(directory, "demos", load=False, timeout=None)
game.programs.register("hangs", program)
game.passes.look_here()
outcome = game.invoke("hangs", player_message="Hello")
outcome.addErrback(lambda failure: print(failure.type.__name__, flush=True))
reactor.run()
"""


class Program(dspy.Module):  # type: ignore[misc]
    """A program that may wait for the test.

    :param begun: called on the reactor thread with the thread that runs it.
    """

    def __init__(self, gate: threading.Event, begun: Callable[[threading.Thread], None]) -> None:
        super().__init__()
        self.answer = dspy.Predict("player_message -> response, emotion")
        self._gate, self._begun = gate, begun


class SyncProgram(Program):
    def forward(self, player_message: str) -> Any:
        reactor.callFromThread(self._begun, threading.current_thread())
        assert self._gate.wait(20)
        return self.answer(player_message=player_message)


class AsyncProgram(Program):
    async def aforward(self, player_message: str) -> Any:
        reactor.callFromThread(self._begun, threading.current_thread())
        await asyncio.Event().wait()


KINDS: Any = pytest.mark.parametrize("kind", [SyncProgram, AsyncProgram])


@KINDS
@in_reactor
async def test_reloads_and_other_calls_go_on(
    engine: MakeEngine, save: Save, gate: threading.Event, kind: type[Program]
) -> None:
    """Beside a call that hangs, a saved file goes live and other modules answer."""
    begun: Deferred[threading.Thread] = Deferred()
    game = engine(ScriptedLM(AYE).lm)
    serve(game, "slow", kind(gate, begun.callback))
    hanging = game.invoke("slow", **HELLO)
    await soon(begun)
    save("smith.json", module_text(instruction="You are a tired smith."))
    (event,) = await soon(game.reload_all())
    assert isinstance(event, ModuleChanged)
    reply = await soon(game.invoke("npc.smith", **HELLO))
    assert reply.version == event.version
    hanging.cancel()
    await failure_of(hanging, CancelledError)


@KINDS
@in_reactor
async def test_stopping_and_closing_go_on(engine: MakeEngine, gate: threading.Event, kind: type[Program]) -> None:
    """The service stops and the engine closes at once; the call fails, and nothing is said to be late."""
    begun: Deferred[threading.Thread] = Deferred()
    game = engine(ScriptedLM(AYE).lm)
    serve(game, "slow", kind(gate, begun.callback))
    handle = await soon(game.enable_hot_reload(HotReloadConfig(debounce=0.01)))
    hanging = game.invoke("slow", **HELLO)
    await soon(begun)
    with capturedLogs() as logs:
        await soon(handle.stop(), 4)
        assert not hanging.called
        closing = game.close()
        await failure_of(hanging, EngineClosed)
        await soon(closing, 4)
    assert not [line for line in map(formatEvent, logs) if line is not None and "did not end" in line]
    assert "dspyreload-lm" not in ours()


@in_reactor
async def test_a_program_that_is_not_async_runs_in_a_daemon_of_ours(engine: MakeEngine, gate: threading.Event) -> None:
    """Neither the reactor's thread nor the LM loop's runs it, and its thread keeps no process alive."""
    gate.set()
    threads: list[threading.Thread] = []
    game = engine(ScriptedLM(AYE).lm)
    serve(game, "slow", SyncProgram(gate, threads.append))
    reply = await soon(game.invoke("slow", **HELLO))
    assert reply["response"] == "Aye."
    (thread,) = threads
    assert (thread.name, thread.daemon) == ("dspyreload-program", True)
    assert thread is not threading.current_thread()


@in_reactor
async def test_a_program_that_is_async_runs_in_the_lm_loop(engine: MakeEngine, gate: threading.Event) -> None:
    """It needs no thread of its own."""
    begun: Deferred[threading.Thread] = Deferred()
    game = engine(ScriptedLM(AYE).lm)
    serve(game, "slow", AsyncProgram(gate, begun.callback))
    await soon(game.warm())
    call = game.invoke("slow", timeout=1.0, **HELLO)
    assert (await soon(begun)).name == "dspyreload-lm"
    await failure_of(call, InvokeTimeout)


@in_reactor
async def test_a_thread_that_hangs_holds_its_place_in_the_pool(engine: MakeEngine, gate: threading.Event) -> None:
    """However many give up on it, no more threads hang than calls may run; async modules answer meanwhile."""
    begun: list[threading.Thread] = []
    game = engine(ScriptedLM(AYE).lm, max_concurrency=2)
    serve(game, "slow", SyncProgram(gate, begun.append))
    for _ in range(4):
        await failure_of(game.invoke("slow", timeout=0.05, **HELLO), InvokeTimeout)
    assert [thread.is_alive() for thread in begun] == [True, True]
    assert await fields_of(game.invoke("npc.smith", **HELLO)) == AYE
    gate.set()
    assert (await soon(game.invoke("slow", **HELLO)))["response"] == "Aye."


@in_reactor
async def test_an_lm_that_hangs_holds_up_nothing(engine: MakeEngine) -> None:
    """An LM that never answers is let go of when the engine closes, and told so."""
    lm = HeldLM()
    game = engine(lm.lm, timeout=None)
    call = game.invoke("npc.smith", **HELLO)
    held = await lm.next()
    await soon(game.reload_all())
    closing = game.close()
    await failure_of(call, EngineClosed)
    assert await soon(held.ended) == "cancelled"
    await soon(closing, 4)


@in_reactor
async def test_closing_ends_calls_that_have_hardly_begun(engine: MakeEngine) -> None:
    """Of thousands of calls that were made a moment before ``close``, each fails with ``EngineClosed``."""
    lm = HeldLM()
    game = engine(lm.lm, timeout=None)
    await soon(game.warm())
    calls = [game.invoke("npc.smith", **HELLO) for _ in range(3000)]
    outcomes: list[Any] = []
    for call in calls:
        call.addBoth(outcomes.append)
    await soon(game.close(), 10)
    assert len(outcomes) == len(calls)
    assert {getattr(outcome, "type", None) for outcome in outcomes} == {EngineClosed}


@pytest.mark.parametrize("kind", ["sync", "async", "thread"])
def test_the_process_can_end(save: Save, kind: str) -> None:
    """When the reactor stops under a call that hangs, who waits is told, and the process ends well.

    Whether the program is not async, or is, or is and waits for a thread of its loop's.
    """
    assert process(HANGS, str(save("smith.json", module_text()).parent), kind) == ["EngineClosed"]
