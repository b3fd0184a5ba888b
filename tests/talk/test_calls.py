"""How many calls run, who waits, and for how long."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, gatherResults

from dspyreload.errors import EngineBusy, EngineClosed, InvokeTimeout
from dspyreload.testing import ScriptedLM
from tests.conftest import Save, module_text
from tests.talk.conftest import AYE, HELLO, HeldLM, MakeEngine, failure_of, fields_of, in_reactor, process, soon, turn

FIRST_CALLS = """
import sys
from dspyreload import DSPyEngine
from dspyreload.testing import ReactorClock

clock, order = ReactorClock(), []
game = DSPyEngine(sys.argv[1], "demos", reactor=clock, max_concurrency=1)
assert "dspy" not in sys.modules
for number in range(30):
    call = game.invoke("npc.smith", player_message="Hello")
    call.addCallback(lambda reply, number=number: order.append(str(number)))
while len(order) < 30:
    clock.wait(20)
print(*order)
"""

pytestmark = pytest.mark.usefixtures("smith")


class TestPlaces:
    @in_reactor
    async def test_no_more_calls_run_at_once_than_there_are_places(self, engine: MakeEngine) -> None:
        """Of nine calls at three places, three are with the LM at a time, and all are answered."""
        lm = HeldLM()
        game = engine(lm.lm, max_concurrency=3)
        calls = [game.invoke("npc.smith", **HELLO) for _ in range(9)]
        for _ in range(3):
            for held in [await lm.next() for _ in range(3)]:
                held.answer()
        assert [{**reply} for reply in await soon(gatherResults(calls))] == [AYE] * 9
        assert lm.most == 3

    @in_reactor
    async def test_who_came_first_is_served_first(self, engine: MakeEngine) -> None:
        """Calls that wait get their places in the order in which they were made."""
        lm = HeldLM()
        game = engine(lm.lm, max_concurrency=1)
        await soon(game.warm())
        calls = [game.invoke("npc.smith", player_message=f"number {number}") for number in range(20)]
        for number in range(20):
            held = await lm.next()
            assert f"number {number}\n" in held.words
            held.answer()
        await soon(gatherResults(calls))

    def test_the_order_holds_while_dspy_is_being_imported(self, modules: Path) -> None:
        """The calls of a server's first second, before DSPy is there, are answered in their order, too."""
        assert process(FIRST_CALLS, str(modules)) == [" ".join(map(str, range(30)))]

    @in_reactor
    async def test_a_full_engine_says_so_at_once(self, engine: MakeEngine) -> None:
        """With all places and the queue taken, a call has failed when ``invoke`` returns, and nothing was begun."""
        lm = HeldLM()
        game = engine(lm.lm, max_concurrency=1, max_queue=2)
        calls = [game.invoke("npc.smith", **HELLO) for _ in range(3)]
        refused = game.invoke("npc.smith", **HELLO)
        assert refused.called
        error = await failure_of(refused, EngineBusy)
        assert (error.running, error.waiting) == (1, 2)
        for _ in calls:
            (await lm.next()).answer()
        await soon(gatherResults(calls))
        assert not lm.calls.pending

    @in_reactor
    async def test_who_ended_makes_room(self, engine: MakeEngine) -> None:
        """A call that was answered, and one that failed, leave their places to others."""
        lm = ScriptedLM(AYE, OSError("no route"), AYE)
        game = engine(lm.lm, max_concurrency=1, max_queue=0)
        await soon(game.invoke("npc.smith", **HELLO))
        await failure_of(game.invoke("npc.smith", **HELLO), Exception)
        assert await fields_of(game.invoke("npc.smith", **HELLO)) == AYE

    @in_reactor
    async def test_no_queue_at_all(self, engine: MakeEngine) -> None:
        """With ``max_queue=0`` a call runs at once or not."""
        lm = HeldLM()
        game = engine(lm.lm, max_concurrency=2, max_queue=0)
        calls = [game.invoke("npc.smith", **HELLO) for _ in range(2)]
        await failure_of(game.invoke("npc.smith", **HELLO), EngineBusy)
        for _ in calls:
            (await lm.next()).answer()
        await soon(gatherResults(calls))

    @pytest.mark.parametrize("fallback", ["demos", None])
    @in_reactor
    async def test_a_full_engine_has_the_fallback_answer(self, engine: MakeEngine, save: Save, fallback: Any) -> None:
        """A module's own lines speak for a call that found no place, and the reply says why; False forbids that."""
        save("smith.json", module_text(fallback=[{"response": "Later!"}]))
        lm = HeldLM()
        game = engine(lm.lm, max_concurrency=1, max_queue=0)
        running = game.invoke("npc.smith", **HELLO)
        reply = await soon(game.invoke("npc.smith", fallback=fallback, **HELLO))
        assert (reply["response"], reply.fallback) == ("Later!", "lines")
        assert reply.reason == "1 calls run and 0 wait, as many as are allowed"
        await failure_of(game.invoke("npc.smith", fallback=False, **HELLO), EngineBusy)
        (await lm.next()).answer()
        await soon(running)

    @in_reactor
    async def test_cancelling_one_that_waits_frees_its_place(self, engine: MakeEngine) -> None:
        """Another may wait in its stead, and the LM never hears of the one that was cancelled."""
        lm = HeldLM()
        game = engine(lm.lm, max_concurrency=1, max_queue=1)
        first, waiting = (game.invoke("npc.smith", player_message=words) for words in ("one", "two"))
        held = await lm.next()
        waiting.cancel()
        await failure_of(waiting, CancelledError)
        third = game.invoke("npc.smith", player_message="three")
        held.answer()
        await soon(first)
        held = await lm.next()
        assert "three" in held.words
        held.answer()
        await soon(third)

    @in_reactor
    async def test_cancelling_one_that_runs_frees_its_place(self, engine: MakeEngine) -> None:
        """The next one that waits runs, and there is room for one more."""
        lm = HeldLM()
        game = engine(lm.lm, max_concurrency=1, max_queue=1)
        running, waiting = (game.invoke("npc.smith", player_message=words) for words in ("one", "two"))
        held = await lm.next()
        running.cancel()
        await failure_of(running, CancelledError)
        assert await soon(held.ended) == "cancelled"
        last = game.invoke("npc.smith", player_message="three")
        for words, call in (("two", waiting), ("three", last)):
            held = await lm.next()
            assert words in held.words
            held.answer()
            await soon(call)

    @pytest.mark.parametrize("options", [{"max_concurrency": 0}, {"max_concurrency": -1}, {"max_queue": -1}])
    def test_numbers_that_no_call_could_pass_are_refused(self, engine: MakeEngine, options: dict[str, int]) -> None:
        """An engine that could answer nobody is not made."""
        (name,) = options
        with pytest.raises(ValueError, match=name):
            engine(ScriptedLM(AYE).lm, **options)


class TestTimeouts:
    @in_reactor
    async def test_waiting_counts(self, engine: MakeEngine) -> None:
        """A call that gets no place within its time fails, its place in the queue is free, and no LM was asked."""
        lm = HeldLM()
        game = engine(lm.lm, max_concurrency=1, max_queue=1)
        first = game.invoke("npc.smith", **HELLO)
        held = await lm.next()
        error = await failure_of(game.invoke("npc.smith", timeout=0.05, **HELLO), InvokeTimeout)
        assert (error.module_id, error.timeout) == ("npc.smith", 0.05)
        third = game.invoke("npc.smith", **HELLO)
        held.answer()
        (await lm.next()).answer()
        assert [{**reply} for reply in await soon(gatherResults([first, third]))] == [AYE] * 2
        assert not lm.calls.pending

    @in_reactor
    async def test_it_is_a_timeout_error_too(self, engine: MakeEngine) -> None:
        """Who knows nothing of ours may catch ``TimeoutError``."""
        await failure_of(engine(HeldLM().lm).invoke("npc.smith", timeout=0.05, **HELLO), TimeoutError)

    @in_reactor
    async def test_the_engines_counts_where_a_call_names_none(self, engine: MakeEngine) -> None:
        """``DSPyEngine(timeout=)`` ends a call that hangs; a call's own comes first."""
        lm = HeldLM()
        game = engine(lm.lm, timeout=0.05)
        patient = game.invoke("npc.smith", timeout=15, **HELLO)
        error = await failure_of(game.invoke("npc.smith", **HELLO), InvokeTimeout)
        assert error.timeout == 0.05
        assert not patient.called
        (await lm.next()).answer()
        assert await fields_of(patient) == AYE

    @in_reactor
    async def test_a_minute_is_the_default(self, engine: MakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        """A call of an engine that says nothing of time has 60 s."""
        asked: list[float | None] = []
        timeout = asyncio.timeout

        def asking(seconds: float | None) -> asyncio.Timeout:
            asked.append(seconds)
            return timeout(seconds)

        monkeypatch.setattr(asyncio, "timeout", asking)
        await soon(engine(ScriptedLM(AYE).lm).invoke("npc.smith", **HELLO))
        await soon(engine(ScriptedLM(AYE).lm, timeout=None).invoke("npc.smith", **HELLO))
        assert asked == [60.0, None]

    @pytest.mark.parametrize("timeout", [0, -1, "5", True, math.nan])
    @in_reactor
    async def test_what_is_no_time_is_refused(self, engine: MakeEngine, timeout: Any) -> None:
        """``invoke``, ``stream``, a lease and a bound module raise at once."""
        game = engine(ScriptedLM(AYE).lm)
        with game.lease() as lease:
            for call in (game.invoke, game.stream, lease.invoke, lease.stream):
                with pytest.raises(ValueError, match="timeout must be a number of seconds above 0"):
                    call("npc.smith", timeout=timeout, **HELLO)
        with pytest.raises(ValueError, match="timeout must be"):
            game.bind("npc.smith")(timeout=timeout, **HELLO)

    @pytest.mark.parametrize("timeout", [0, -1, "5", True, math.nan])
    def test_an_engines_time_is_refused_when_it_is_made(self, engine: MakeEngine, timeout: Any) -> None:
        """A wrong default is told at the start, and not by each call."""
        with pytest.raises(ValueError, match="timeout must be"):
            engine(ScriptedLM(AYE).lm, timeout=timeout)


class TestOptions:
    @pytest.mark.parametrize("fallback", ["lines", "", True, 0, {"response": "No."}])
    def test_an_unknown_fallback_is_refused(self, engine: MakeEngine, fallback: Any) -> None:
        """For the engine and for a call it is ``"demos"``, None or False; else both raise."""
        with pytest.raises(ValueError, match='fallback must be "demos", None or False'):
            engine(ScriptedLM(AYE).lm, fallback=fallback)
        game = engine(ScriptedLM(AYE).lm)
        for call in (game.invoke, game.stream, game.lease().invoke):
            with pytest.raises(ValueError, match="fallback must be"):
                call("npc.smith", fallback=fallback, **HELLO)

    @in_reactor
    async def test_the_calls_fallback_comes_before_the_engines(self, engine: MakeEngine) -> None:
        """A call may forbid what the engine allows, and ask for what the engine has not."""
        down = OSError("no route")
        modest, eager = engine(ScriptedLM(down).lm), engine(ScriptedLM(down).lm, fallback="demos")
        assert (await soon(eager.invoke("npc.smith", **HELLO))).fallback == "demos"
        assert (await soon(modest.invoke("npc.smith", fallback="demos", **HELLO))).fallback == "demos"
        for call in (eager.invoke("npc.smith", fallback=False, **HELLO), modest.invoke("npc.smith", **HELLO)):
            await failure_of(call, Exception)

    @in_reactor
    async def test_a_closed_engine_begins_nothing(self, engine: MakeEngine) -> None:
        """After ``close``, each way to call fails with ``EngineClosed``, and no thread starts."""
        game = engine(ScriptedLM(AYE).lm)
        bound = game.bind("npc.smith")
        await soon(game.close())
        for call in (game.invoke("npc.smith", **HELLO), game.stream("npc.smith", **HELLO), bound(**HELLO)):
            await failure_of(call, EngineClosed)
        await failure_of(game.preview("npc.smith", **HELLO), EngineClosed)
        await turn()
