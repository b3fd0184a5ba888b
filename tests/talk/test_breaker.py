"""A language model that fails again and again: nobody waits for it, and it is tried again, by one call at a time."""

from __future__ import annotations

from typing import Any
from unittest.mock import ANY

import pytest
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.logger import capturedLogs, formatEvent

from dspyreload import HotReloadConfig, Tool
from dspyreload.errors import InvokeTimeout, LMFailed
from dspyreload.model.events import HealthChanged, LMHealthChanged
from dspyreload.testing import ChatServer, Die, Hang
from tests.conftest import Save, module_text
from tests.talk import real
from tests.talk.conftest import AYE, HELLO, MakeEngine, failure_of, in_reactor, soon, turn
from tests.talk.real import DOWN, Game, HeldServer, SetClock, serving, settings

pytestmark = pytest.mark.usefixtures("smith")

alone, held, server = real.alone, real.held, real.server


class TestGoingDown:
    @in_reactor
    async def test_after_three_failures_nobody_waits(self, engine: MakeEngine, server: ChatServer) -> None:
        """The fourth call and those after it are answered without a request, and say when the model is tried again."""
        server.answers = [DOWN]
        game = Game(engine, server)
        assert [await game.fallback() for _ in range(3)] == ["demos"] * 3
        assert len(server.requests) == 3
        replies = [await soon(game.ask()) for _ in range(10)]
        assert len(server.requests) == 3
        (reason,) = {reply.reason for reply in replies}
        assert "the LM real is down ([openai/anything] out of order); it is tried again in 1 s" in reason

    @in_reactor
    async def test_calls_without_a_fallback_ask_all_the_same(self, engine: MakeEngine, server: ChatServer) -> None:
        """They have nothing to lose; if one is answered, the model is up again."""
        game = Game(engine, server)
        server.answers = [DOWN]
        await game.break_down()
        error = await failure_of(game.ask(fallback=False), LMFailed)
        assert "out of order" in str(error)
        server.answers = [AYE]
        reply = await soon(game.ask(fallback=False))
        assert {**reply} == AYE
        assert game.state.healthy
        assert await game.fallback() == ""

    @in_reactor
    async def test_only_failures_in_a_row_count(self, engine: MakeEngine, server: ChatServer) -> None:
        """An answer in between begins the count anew."""
        server.answers = [DOWN, DOWN, AYE, DOWN, DOWN, AYE]
        game = Game(engine, server)
        assert [await game.fallback() for _ in range(6)] == ["demos", "demos", "", "demos", "demos", ""]
        assert (game.events, game.state.failures, game.state.healthy) == ([], 0, True)

    @in_reactor
    async def test_a_server_that_hangs_is_down_too(self, engine: MakeEngine, server: ChatServer) -> None:
        """Three calls whose time is over, and the fourth need not wait for its own."""
        server.answers = [Hang()]
        game = Game(engine, server)
        await soon(game.engine.warm())
        for _ in range(3):
            assert await game.fallback(timeout=0.5) == "demos"
        asked = len(server.requests)
        assert asked > 0
        assert "is down (npc.smith did not answer within 0.5 s)" in (await soon(game.ask())).reason
        assert len(server.requests) == asked

    @in_reactor
    async def test_a_server_that_is_not_there_is_down_too(self, engine: MakeEngine, server: ChatServer) -> None:
        """Refused connections are failures of the model."""
        game = Game(engine, server)
        await soon(server.go_down())
        for _ in range(3):
            assert await game.fallback() == "demos"
        assert "is down" in (await soon(game.ask())).reason

    @in_reactor
    async def test_other_models_go_on(self, engine: MakeEngine, server: ChatServer) -> None:
        """Each has its own breaker."""
        async with serving(AYE) as other:
            lms = {"real": settings(server), "other": settings(other)}
            game = engine("real", lms=lms, fallback="demos", reactor=SetClock())
            server.answers = [DOWN]
            for _ in range(4):
                await soon(game.invoke("npc.smith", **HELLO))
            assert (len(server.requests), (await soon(game.invoke("npc.smith", lm="other", **HELLO))).lm) == (
                3,
                "other",
            )
            await soon(game.close())

    @in_reactor
    async def test_nonsense_is_no_outage(self, engine: MakeEngine, server: ChatServer) -> None:
        """A model that answers is asked again, though its answers do not keep to the format."""
        server.answers = ["Grmbl."]
        game = Game(engine, server)
        for _ in range(5):
            assert await game.fallback() == "demos"
        assert (len(server.requests), game.events) == (10, [])

    @in_reactor
    async def test_a_slow_tool_is_no_outage(self, engine: MakeEngine, server: ChatServer, save: Save) -> None:
        """The time that a tool of the game's takes is not held against the model."""
        signature = {
            "inputs": [{"name": "player_message"}, *({"name": n, "field_type": "json"} for n in JSON_INPUTS)],
            "outputs": [{"name": "response"}, {"name": "tool_call", "field_type": "json"}],
        }
        save("smith.json", module_text(signature=signature, tool_enabled=True, demos=None))
        server.answers = [{"response": "", "tool_call": '{"name": "look", "args": {}}'}]
        game = Game(engine, server)
        game.engine.tools.register(Tool("look", "Looks around.", {"properties": {}}, lambda: Deferred()))
        await soon(game.engine.warm())
        await failure_of(game.ask(timeout=2.0), InvokeTimeout)
        assert len(server.requests) == 1
        assert game.engine.live.ledger.lms == {}


JSON_INPUTS = ("context", "available_tools")


class TestComingBack:
    @in_reactor
    async def test_one_call_tries_it_when_the_time_is_over(self, engine: MakeEngine, server: ChatServer) -> None:
        """Not a moment sooner; where that is answered, the model speaks again for everybody."""
        game = Game(engine, server)
        await game.break_down()
        game.clock.now += 0.99
        assert await game.fallback() == "demos"
        assert server.requests == []
        game.clock.now += 0.01
        assert [await game.fallback() for _ in range(3)] == [""] * 3
        assert len(server.requests) == 3

    @in_reactor
    async def test_the_back_off_doubles_up_to_a_minute(self, engine: MakeEngine, server: ChatServer) -> None:
        """Each try that fails doubles the time until the next; one that succeeds sets it back to a second."""
        game = Game(engine, server)
        server.answers = [DOWN]
        await game.break_down()
        for tries, seconds in enumerate([1, 2, 4, 8, 16, 32, 60, 60], 1):
            game.clock.now += seconds - 0.5
            await soon(game.ask())
            assert len(server.requests) == tries - 1, f"no try before {seconds} s are over"
            game.clock.now += 0.5
            await soon(game.ask())
            assert len(server.requests) == tries
        game.clock.now += 60
        server.answers = [AYE]
        assert await game.fallback() == ""
        await game.break_down()
        assert game.state.retry_at == game.clock.now + 1

    @pytest.mark.parametrize("answer", [Hang(), Die(1), "down"], ids=["hangs", "dies", "down"])
    @in_reactor
    async def test_a_try_may_fail_in_any_way(self, engine: MakeEngine, server: ChatServer, answer: Any) -> None:
        """One that hangs, that breaks off, or that reaches nobody makes the wait longer as a refusal does."""
        game = Game(engine, server)
        await game.break_down()
        if answer == "down":
            await soon(server.go_down())
        server.answers = [answer]
        game.clock.now += 1
        assert await game.fallback(timeout=1.0 if isinstance(answer, Hang) else None) == "demos"
        assert game.state.retry_at == game.clock.now + 2
        assert "it is tried again in 2 s" in (await soon(game.ask())).reason
        assert len(server.requests) == (answer != "down")

    @in_reactor
    async def test_a_burst_of_failures_is_one_outage(
        self, engine: MakeEngine, held: HeldServer, server: ChatServer
    ) -> None:
        """Twenty calls that were under way when the server broke down do not make the wait any longer."""
        held.says = DOWN
        game = Game(engine, held)
        calls = [game.ask() for _ in range(20)]
        for _ in calls:
            await held.next()
        held.answer()
        assert {reply.fallback for reply in await soon(gatherResults(calls))} == {"demos"}
        await real.until(lambda: game.events)  # told of in a later turn than the replies
        await turn()
        assert [event.retry_in for event in game.events] == [1.0]
        assert game.state.retry_at == game.clock.now + 1

    @in_reactor
    async def test_it_is_tried_by_one_call_at_a_time(self, engine: MakeEngine, held: HeldServer) -> None:
        """While one is out, the others are answered at once; also where one ends that had begun long before."""
        game = Game(engine, held)
        early, patient = game.ask(), game.ask(fallback=False)
        for _ in range(2):
            await held.next()
        await game.break_down()
        game.clock.now += 1
        trying = game.ask()
        await held.next()
        for call in (early, patient):
            call.cancel()
            await failure_of(call, CancelledError)
        others = [await soon(game.ask()) for _ in range(5)]
        assert {reply.fallback for reply in others} == {"demos"}
        assert len(held.requests) == 1
        held.answer()
        assert (await soon(trying)).fallback == ""

    @in_reactor
    async def test_a_failure_from_before_is_not_that_of_the_try(self, engine: MakeEngine, held: HeldServer) -> None:
        """While one tries, another that had begun before fails: that ends no try, and begins none."""
        game = Game(engine, held)
        held.says, early = DOWN, game.ask()
        await held.next()
        held.answer(0.5)
        held.says = AYE
        await game.break_down()
        game.clock.now += 1
        trying = game.ask()
        await held.next()
        held.answer(0.5)
        assert (await soon(early)).fallback == "demos"
        for seconds in (0, 100):
            game.clock.now += seconds
            assert await game.fallback(timeout=1) == "demos"
        assert len(held.requests) == 1
        held.answer()
        assert (await soon(trying)).fallback == ""

    @in_reactor
    async def test_a_try_that_is_cancelled_lets_the_next_one_try(self, engine: MakeEngine, held: HeldServer) -> None:
        """Who tried went away: the model is neither up nor down by that."""
        game = Game(engine, held)
        await soon(game.engine.warm())
        await game.break_down()
        game.clock.now += 1
        trying = game.ask()
        await held.next()
        trying.cancel()
        await failure_of(trying, CancelledError)
        await real.until(lambda: game.state.trying is None)  # the model's side hears of it a moment later
        again = game.ask()
        await held.next()
        assert (game.state.healthy, game.state.failures) == (False, 3)
        held.answer()
        assert (await soon(again)).fallback == ""


class TestTelling:
    @in_reactor
    async def test_subscribers_stats_and_the_log_say_it(self, engine: MakeEngine, server: ChatServer) -> None:
        """Once when it goes down and once when it is back, with the reason and the seconds; nothing in between."""
        game = Game(engine, server)
        handle = await soon(game.engine.enable_hot_reload(HotReloadConfig(debounce=0.01)))
        events: list[Any] = []
        service = handle.service
        service.subscribe(events.append)
        server.answers = [DOWN]
        with capturedLogs() as logs:
            await game.break_down()
            await soon(game.ask())
            game.clock.now += 1
            await soon(game.ask())
            state = service.stats.lms["real"]
            assert (state.healthy, state.failures) == (False, 4)
            assert state.reason == "[openai/anything] out of order"
            game.clock.now += 2
            server.answers = [AYE]
            assert await game.fallback() == ""
            await real.until(lambda: len(events) > 3)
        assert events == [
            LMHealthChanged(
                generation=1, lm="real", healthy=False, reason="[openai/anything] out of order", retry_in=1.0
            ),
            HealthChanged(generation=1, status="degraded", since=ANY, reasons=(ANY,)),
            LMHealthChanged(generation=1, lm="real", healthy=True),
            HealthChanged(generation=1, status="ok", since=ANY),
        ]
        state = service.stats.lms["real"]
        assert (state.healthy, state.failures, state.reason) == (True, 0, "")
        lines = [line for line in map(formatEvent, logs) if line is not None and "the LM real" in line]
        assert lines == [
            "the LM real fails: [openai/anything] out of order; fallbacks answer, and it is tried again now and then;"
            " health is degraded",
            "the LM real answers again; health is ok",
        ]
        assert [event["log_level"].name for event in logs if "the LM" in str(formatEvent(event))] == ["warn", "info"]
        await soon(handle.stop())

    @in_reactor
    async def test_it_can_be_waited_for(self, engine: MakeEngine, server: ChatServer) -> None:
        """``next_event`` fires with it, for a game that tells its players."""
        game = Game(engine, server)
        handle = await soon(game.engine.enable_hot_reload(HotReloadConfig(debounce=0.01)))
        waiting = handle.service.next_event(LMHealthChanged)
        await game.break_down()
        event = await soon(waiting)
        assert (event.lm, event.healthy) == ("real", False)
        await soon(handle.stop())
