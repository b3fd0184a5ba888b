"""Under Twisted's asyncio reactor: tasks and Deferred code side by side, each in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Save, module_text
from tests.talk.conftest import process

pytestmark = pytest.mark.usefixtures("smith")

ASYNCIO = """
import asyncio, sys
from twisted.internet import asyncioreactor
loop = asyncio.new_event_loop()
asyncioreactor.install(loop)
from twisted.internet import defer, reactor, task
import dspy
from dspyreload import DSPyEngine, Tool
from dspyreload.errors import LMFailed
from dspyreload.testing import ScriptedLM
import gc, threading
from twisted.logger import globalLogPublisher

def tell(event):
    if "log_failure" in event:
        print("logged", event["log_failure"])

globalLogPublisher.addObserver(tell)
asks = {"tool_call": '{"name": "look", "args": {"where": "north"}}', "response": ""}
says = {"tool_call": "null", "response": "A river."}
game = DSPyEngine(sys.argv[1], reactor=reactor)
npc = game.bind("npc.smith")
main = threading.current_thread()
looked = []

async def look(where):
    await task.deferLater(reactor, 0, lambda: None)
    looked.append(threading.current_thread() is main)
    return "a river"

parameters = {"type": "object", "properties": {"where": {"type": "string"}}}
game.tools.register(Tool("look", "Looks.", parameters, look))

def lm():
    return ScriptedLM(asks, says).lm

async def in_a_task():
    print("task", (await npc(player_message="Hello", lm=lm()))["response"])
    calls = [npc(player_message="Hello", lm=lm()) for _ in range(2)]
    print("gathered", *(reply["response"] for reply in await asyncio.gather(*calls)))
    done = npc(player_message="Hello", lm=lm())
    await asyncio.wait_for(done, 10)
    print("done", (await done)["response"])
    try:
        await npc(player_message="Hello", lm=ScriptedLM(OSError("no route")).lm)
    except LMFailed:
        print("failed")
    try:
        await asyncio.wait_for(npc(player_message="Hello", lm=slow.lm), 0.05)
    except asyncio.TimeoutError:
        print("given up")
    waiting = asyncio.ensure_future(wait_for_ever())
    while len(slow.started) < 2:
        await asyncio.sleep(0.01)
    waiting.cancel()
    try:
        await waiting
    except asyncio.CancelledError:
        print("cancelled")
    while slow.ended < 2:
        await asyncio.sleep(0.01)
    print("the model is told", slow.ended)

async def wait_for_ever():
    await npc(player_message="Hello", lm=slow.lm)

class Never:
    def complete(self, request):
        raise AssertionError

class Slow:
    def __init__(self):
        self.started, self.ended = [], 0
        self.lm = dspy.LM("slow/lm", engine=Never(), async_engine=self, cache=False, num_retries=0)

    async def complete(self, request):
        self.started.append(request)
        try:
            await asyncio.Event().wait()
        finally:
            self.ended += 1

slow = Slow()

async def in_deferred_code():
    call = npc(player_message="Hello", lm=lm())
    assert isinstance(call, defer.Deferred), call
    print("deferred", (await call)["response"])
    print("invoke", (await game.invoke("npc.smith", player_message="Hello", lm=lm()))["response"])
    heard = [item async for item in game.stream("npc.smith", player_message="Hello", lm=lm())]
    print("stream", "".join(heard[:-1]), heard[-1]["response"])
    print("looked", all(looked), len(looked))

async def everything(_reactor):
    await defer.Deferred.fromFuture(asyncio.ensure_future(in_a_task(), loop=loop))
    await in_deferred_code()
    await game.close()
    gc.collect()

task.react(everything)
"""


def test_under_the_asyncio_reactor_both_work(save: Save) -> None:
    """A call is awaited in a task and in Deferred code; it is gathered, fails, and ends with the task that waits.

    Tools, streams and ``close`` work as ever.
    """
    signature = {
        "inputs": [{"name": "player_message"}, {"name": "context"}, {"name": "available_tools", "field_type": "json"}],
        "outputs": [{"name": "tool_call", "field_type": "json"}, {"name": "response"}],
    }
    file = save("smith.json", module_text(signature=signature, demos=None, tool_enabled=True))
    assert process(ASYNCIO, str(file.parent)) == [
        "task A river.",
        "gathered A river. A river.",
        "done A river.",
        "failed",
        "given up",
        "cancelled",
        "the model is told 2",
        "deferred A river.",
        "invoke A river.",
        "stream A river. A river.",
        "looked True 7",
    ]


WITHIN = """
import asyncio, sys
from twisted.internet import asyncioreactor
loop = asyncio.new_event_loop()
asyncioreactor.install(loop)
from twisted.internet import defer, reactor, task
from dspyreload import DSPyEngine

game = DSPyEngine(sys.argv[1], "demos", reactor=reactor)
npc = game.bind("npc.smith")
door = defer.Deferred()

async def deferred_code(before=None):
    await before
    return (await npc(player_message="Hello"))["response"]

async def in_a_task(resumed):
    print(await defer.ensureDeferred(deferred_code(defer.succeed(None))).asFuture(loop))
    door.callback(None)
    print(await resumed.asFuture(loop))

async def everything(_reactor):
    resumed = defer.ensureDeferred(deferred_code(door))
    await defer.Deferred.fromFuture(asyncio.ensure_future(in_a_task(resumed), loop=loop))

task.react(everything)
"""


def test_deferred_code_within_a_task_awaits_too(modules: Path) -> None:
    """A coroutine that Twisted runs may begin in an asyncio task, or go on in one that fired its Deferred."""
    assert process(WITHIN, str(modules)) == ["Is it? Mind the sparks."] * 2
