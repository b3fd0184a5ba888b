"""``engine.bind``: a module as a function, for Deferred code and for asyncio code on any loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Coroutine
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.threads import deferToThread

from dspyreload import Reply
from dspyreload.errors import EngineBusy, InvokeTimeout, LMFailed, UnknownModule, WrongThread
from dspyreload.talk.bound import Bound
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
    reactor,
    soon,
)

pytestmark = pytest.mark.usefixtures("smith")

speaker: contextvars.ContextVar[str] = contextvars.ContextVar("speaker", default="nobody")


def in_asyncio(main: Coroutine[Any, Any, Any]) -> Deferred[Any]:
    """Run a coroutine in a new asyncio loop, in a thread of its own."""
    return soon(deferToThread(asyncio.run, main))


class TestDeferredCode:
    @in_reactor
    async def test_a_call_is_awaited(self, engine: MakeEngine) -> None:
        """On the reactor thread a call gives a Deferred of the reply, of the live version."""
        game = engine(ScriptedLM(AYE).lm)
        npc = game.bind("npc.smith")
        call = npc(player_message="Hello")
        assert isinstance(call, Deferred)
        reply = await soon(call)
        assert isinstance(reply, Reply)
        assert {**reply} == AYE

    @in_reactor
    async def test_the_module_need_not_be_live_yet(self, engine: MakeEngine, save: Save) -> None:
        """It is looked up by each call: one that is saved later is found, and each version in its turn."""
        game = engine(ScriptedLM(AYE).lm)
        cook = game.bind("npc.cook")
        assert cook.module_id == "npc.cook"
        assert repr(cook) == "<Bound 'npc.cook'>"
        await failure_of(cook(**HELLO), UnknownModule)
        for generation in (2, 3):
            save("cook.json", module_text("npc.cook", instruction=f"You are cook {generation}."))
            await soon(game.reload_all())
            assert (await soon(cook(**HELLO))).generation == generation

    @in_reactor
    async def test_options_and_a_mapping_are_those_of_invoke(self, engine: MakeEngine) -> None:
        """``timeout``, ``lm`` and the others, and fields in a mapping."""
        other = ScriptedLM({**AYE, "emotion": "other"})
        lm = HeldLM()
        npc = engine(lm.lm).bind("npc.smith")
        assert (await fields_of(npc({"player_message": "Hello"}, lm=other.lm)))["emotion"] == "other"
        error = await failure_of(npc(timeout=0.05, **HELLO), InvokeTimeout)
        assert error.timeout == 0.05

    @in_reactor
    async def test_cancelling_cancels_the_call(self, engine: MakeEngine) -> None:
        """As the Deferred of ``invoke`` does."""
        lm = HeldLM()
        call = engine(lm.lm).bind("npc.smith")(**HELLO)
        held = await lm.next()
        call.cancel()
        await failure_of(call, CancelledError)
        assert await soon(held.ended) == "cancelled"

    @in_reactor
    async def test_a_plain_thread_is_refused(self, engine: MakeEngine) -> None:
        """Where neither the reactor nor asyncio runs, nobody could wait: it raises."""
        npc = engine(ScriptedLM(AYE).lm).bind("npc.smith")
        error = await failure_of(deferToThread(npc, **HELLO), WrongThread)
        assert "a thread that is neither the reactor's nor asyncio's" in str(error)


class TestAsyncioCode:
    @in_reactor
    async def test_a_task_of_another_threads_loop_awaits_a_call(self, engine: MakeEngine) -> None:
        """It is resumed on its own thread, with the reply."""
        npc = engine(ScriptedLM(AYE).lm).bind("npc.smith")

        async def main() -> tuple[Any, bool]:
            thread = threading.current_thread()
            future = npc(**HELLO)
            assert asyncio.isfuture(future)
            return {**(await future)}, thread is threading.current_thread()

        assert await in_asyncio(main()) == (AYE, True)

    @in_reactor
    async def test_several_loops_share_an_engine(self, engine: MakeEngine) -> None:
        """Tasks of three loops, two calls each, all at once: each gets its own answer."""
        lm = ScriptedLM(lambda prompt: {**AYE, "response": _asked(prompt)})
        npc = engine(lm.lm).bind("npc.smith")

        async def main(name: str) -> list[str]:
            replies = await asyncio.gather(*(npc(player_message=f"{name}{n}") for n in range(2)))
            return [reply["response"] for reply in replies]

        said = await soon(gatherResults([in_asyncio(main(name)) for name in "abc"]))
        assert said == [["a0", "a1"], ["b0", "b1"], ["c0", "c1"]]

    @in_reactor
    async def test_cancelling_the_future_cancels_the_call(self, engine: MakeEngine) -> None:
        """The LM is told, and the place is free."""
        lm = HeldLM()
        npc = engine(lm.lm, max_concurrency=1, max_queue=0).bind("npc.smith")
        begun: Deferred[Any] = Deferred()

        async def main() -> str:
            task = asyncio.create_task(call())
            loop = asyncio.get_running_loop()
            reactor.callFromThread(begun.callback, lambda: loop.call_soon_threadsafe(task.cancel))
            try:
                await task
            except asyncio.CancelledError:
                return "cancelled"
            return "answered"

        async def call() -> Any:
            return await npc(**HELLO)

        outcome = in_asyncio(main())
        held = await lm.next()
        (await soon(begun))()
        assert await soon(held.ended) == "cancelled"
        assert await outcome == "cancelled"
        second = npc(**HELLO)
        (await lm.next()).answer()
        assert await fields_of(second) == AYE

    @in_reactor
    async def test_one_that_is_cancelled_at_once_asks_no_lm(self, engine: MakeEngine) -> None:
        """A future that was cancelled before the reactor heard of it begins nothing."""
        lm = ScriptedLM(AYE)
        npc = engine(lm.lm).bind("npc.smith")

        async def main() -> None:
            cancelled = threading.Event()
            reactor.callFromThread(cancelled.wait, 10)  # the reactor hears of nothing meanwhile
            future = npc(player_message="cancelled")
            future.cancel()
            cancelled.set()
            await npc(player_message="answered")

        await in_asyncio(main())
        assert [("cancelled" in prompt.text) for prompt in lm.prompts] == [False]

    @pytest.mark.parametrize("kind", [LMFailed, InvokeTimeout])
    @in_reactor
    async def test_what_goes_wrong_is_raised_there(self, engine: MakeEngine, kind: type[Exception]) -> None:
        """A task may catch what Deferred code may."""
        options: Any = {"lm": ScriptedLM(OSError("no route")).lm} if kind is LMFailed else {"timeout": 0.05}
        npc = engine(HeldLM().lm).bind("npc.smith")

        async def main() -> str:
            with pytest.raises(kind) as caught:
                await npc(**options, **HELLO)
            return type(caught.value).__name__

        assert await in_asyncio(main()) == kind.__name__

    @in_reactor
    async def test_what_is_refused_at_once_is_raised_there_too(self, engine: MakeEngine) -> None:
        """A wrong option, an unknown module and a full engine are no hang."""
        lm = HeldLM()
        game = engine(lm.lm, max_concurrency=1, max_queue=0)
        npc, nobody = game.bind("npc.smith"), game.bind("nobody")
        running = npc(**HELLO)

        async def main() -> None:
            for bound, options, kind in (
                (npc, {"timeout": -1}, ValueError),
                (nobody, {}, UnknownModule),
                (npc, {}, EngineBusy),
            ):
                with pytest.raises(kind):
                    await asyncio.wait_for(bound(**options, **HELLO), 10)

        await in_asyncio(main())
        (await lm.next()).answer()
        await soon(running)

    @in_reactor
    async def test_the_tasks_context_is_seen(self, engine: MakeEngine) -> None:
        """The call sees the context variables of the task that made it."""
        seen: list[str] = []
        game = engine(ScriptedLM(AYE).lm)
        game.reply_filters.add(lambda reply: seen.append(speaker.get()))
        npc = game.bind("npc.smith")

        async def main() -> None:
            speaker.set("Ann")
            await npc(**HELLO)

        await in_asyncio(main())
        assert seen == ["Ann"]

    @in_reactor
    async def test_a_loop_that_ended_is_no_fault(self, engine: MakeEngine) -> None:
        """Where nobody waits any more, the answer is dropped, and the engine goes on."""
        lm = HeldLM()
        npc = engine(lm.lm).bind("npc.smith")
        kept: list[Any] = []

        def leave(bound: Bound) -> None:
            loop = asyncio.new_event_loop()

            async def main() -> None:
                kept.append(bound(**HELLO))

            loop.run_until_complete(main())
            loop.close()

        await soon(deferToThread(leave, npc))
        (await lm.next()).answer()
        second = npc(**HELLO)
        (await lm.next()).answer()
        assert await fields_of(second) == AYE
        assert not kept[0].done()


def _asked(prompt: Any) -> str:
    words: str = prompt.turns[-1][1]
    return words.split("[[ ## player_message ## ]]")[1].split(maxsplit=1)[0]
