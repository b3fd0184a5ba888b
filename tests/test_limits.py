"""What calls may ask for, and what they cost: limits, ``Reply.usage`` and the service's counters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from dspyreload import DSPyEngine, HotReloadService, Limits, Reply, Tool
from dspyreload.errors import LimitExceeded, LMFailed, MissingInput, ReplyRefused
from dspyreload.live.stats import CallStats
from dspyreload.testing import ReactorClock, ScriptedLM
from tests.conftest import Save, module_text

AYE = {"response": "Aye.", "emotion": "calm"}
BROKEN = OSError("no route to host")
TOOLS: Any = {
    "signature": {
        "inputs": [{"name": "player_message"}, {"name": "context"}, {"name": "available_tools", "field_type": "json"}],
        "outputs": [{"name": "tool_call", "field_type": "json"}, {"name": "response"}],
    },
    "demos": None,
    "tool_enabled": True,
}
ASKS = {"tool_call": '{"name": "look", "args": {}}', "response": ""}
SAYS = {"tool_call": "null", "response": "A river."}


class Game:
    """Engines of a modules directory on a clock, with ``npc.smith`` and ``npc.cook``."""

    def __init__(self, modules: Path, save: Save) -> None:
        self.clock, self._modules = ReactorClock(), modules
        save("smith.json", module_text())
        save("cook.json", module_text("npc.cook"))
        self._made: list[DSPyEngine] = []

    def engine(self, *answers: Any, **options: Any) -> DSPyEngine:
        """Make an engine whose language model says this."""
        lm = ScriptedLM(*answers or (AYE,)).lm
        self._made.append(DSPyEngine(self._modules, lm, reactor=self.clock, **options))
        return self._made[-1]

    def result(self, deferred: Deferred[Any]) -> Any:
        """Wait for a Deferred; returns what it fires with, or raises what it fails with."""
        outcome: list[Any] = []
        deferred.addBoth(outcome.append)
        while not outcome:
            self.clock.wait()
        if hasattr(outcome[0], "raiseException"):
            outcome[0].raiseException()
        return outcome[0]

    def say(self, engine: DSPyEngine, who: str = "npc.smith", words: str = "Hello", **options: Any) -> Reply:
        """Speak to somebody, and wait for the reply."""
        reply = self.result(engine.invoke(who, player_message=words, **options))
        assert isinstance(reply, Reply)
        return reply

    def refused(self, engine: DSPyEngine, *arguments: str, **options: Any) -> LimitExceeded:
        """Speak to somebody, and go past a limit."""
        with pytest.raises(LimitExceeded) as caught:
            self.say(engine, *arguments, **options)
        return caught.value

    def close(self) -> None:
        """Close the engines."""
        for engine in self._made:
            self.result(engine.close())


@pytest.fixture
def game(modules: Path, save: Save) -> Iterator[Game]:
    """A game; its engines are closed at the end."""
    game = Game(modules, save)
    yield game
    game.close()


class TestLimits:
    def test_a_key_has_so_many_calls_a_minute(self, game: Game) -> None:
        """Others, and calls without a key, are not held up; a minute later it may speak again."""
        engine = game.engine(limits=Limits(calls_per_minute=2))
        game.say(engine, key="player:1")
        game.clock.advance(20)
        game.say(engine, "npc.cook", key="player:1")
        error = game.refused(engine, key="player:1")
        assert (error.limit, error.key, error.module_id) == ("calls_per_minute", "player:1", "npc.smith")
        assert error.retry_after == 40
        assert str(error) == ("npc.smith: player:1 has made 2 calls in a minute, as many as are allowed; again in 40 s")
        game.say(engine, key="player:2")
        for _ in range(3):
            game.say(engine)
        game.clock.advance(40)
        game.say(engine, key="player:1")
        game.refused(engine, key="player:1")

    def test_a_module_has_so_many_calls_a_minute(self, game: Game) -> None:
        """Whoever calls."""
        engine = game.engine(limits=Limits(module_calls_per_minute=2))
        for key in ("player:1", None):
            game.say(engine, key=key)
        assert game.refused(engine, key="player:2").limit == "module_calls_per_minute"
        game.say(engine, "npc.cook")
        game.clock.advance(60)
        game.say(engine)

    def test_an_input_has_so_many_characters(self, game: Game) -> None:
        """A longer one is never shown to the language model; waiting does not help."""
        engine = game.engine(limits=Limits(input_length=20))
        game.say(engine, words="x" * 20)
        error = game.refused(engine, words="x" * 21)
        assert (error.limit, error.retry_after) == ("input_length", None)

    @pytest.mark.parametrize(("name", "key"), [("tokens_per_hour", None), ("key_tokens_per_hour", "player:1")])
    def test_tokens_are_counted_when_they_are_spent(self, game: Game, name: str, key: str | None) -> None:
        """A call that begins below the limit is let through, whatever it costs; the next has to wait."""
        cost = game.say(game.engine()).usage.total_tokens
        engine = game.engine(limits=Limits(**{name: cost + 1}))
        for _ in range(2):
            game.say(engine, key=key)
        error = game.refused(engine, key=key)
        assert (error.limit, error.retry_after) == (name, 3600)
        game.clock.advance(3600)
        game.say(engine, key=key)

    def test_the_tokens_of_a_failed_call_count(self, game: Game) -> None:
        """An answer that can't be read was paid for."""
        engine = game.engine("Grmbl.", limits=Limits(key_tokens_per_hour=1))
        with pytest.raises(LMFailed):
            game.say(engine, key="player:1")
        assert game.refused(engine, key="player:1").limit == "key_tokens_per_hour"

    def test_the_tokens_of_a_cancelled_call_count(self, game: Game, save: Save) -> None:
        """What the language model said before was paid for: giving up on a call makes it no cheaper."""
        save("smith.json", module_text(**TOOLS))
        engine = game.engine(ASKS, {**SAYS, **AYE}, limits=Limits(key_tokens_per_hour=1))
        begun: list[Deferred[None]] = []

        def look() -> Deferred[None]:
            begun.append(Deferred())
            return begun[-1]

        engine.tools.register(Tool("look", "Looks.", {"type": "object", "properties": {}}, look))
        call = engine.invoke("npc.smith", player_message="Hello", key="player:1").addErrback(lambda failure: None)
        while not begun:
            game.clock.wait()
        call.cancel()
        game.say(engine, "npc.cook")  # the loop has heard of it when this is answered
        assert game.refused(engine, "npc.cook", key="player:1").limit == "key_tokens_per_hour"

    def test_what_is_refused_costs_nothing(self, game: Game) -> None:
        """A call that was not let through asks no language model, and counts for no limit."""
        engine = game.engine(limits=Limits(calls_per_minute=1, module_calls_per_minute=2))
        game.say(engine, key="player:1")
        for _ in range(5):
            assert game.refused(engine, key="player:1").limit == "calls_per_minute"
        game.say(engine, key="player:2")

    def test_a_fallback_answers_for_it(self, game: Game) -> None:
        """The player hears something, and no language model is asked."""
        engine = game.engine(limits=Limits(calls_per_minute=1), fallback="demos")
        game.say(engine, key="player:1")
        reply = game.say(engine, key="player:1")
        assert (reply["response"], reply.fallback, reply.lm) == ("Is it? Mind the sparks.", "demos", "demos")
        assert reply.reason == (
            "npc.smith: player:1 has made 1 call in a minute, as many as are allowed; again in 60 s"
        )
        assert reply.usage.requests == 0
        assert game.refused(engine, key="player:1", fallback=False).limit == "calls_per_minute"

    def test_engines_count_apart(self, game: Game) -> None:
        """What a key spent with one is nothing to the other."""
        one, other = (game.engine(limits=Limits(calls_per_minute=1)) for _ in range(2))
        game.say(one, key="player:1")
        game.say(other, key="player:1")
        game.refused(one, key="player:1")


class TestUsage:
    def test_a_reply_says_what_it_cost(self, game: Game) -> None:
        """Tokens as the language model counted them, one request, and the seconds from call to reply."""

        def slow(_prompt: Any) -> dict[str, str]:
            game.clock.rightNow += 2.5
            return AYE

        usage = game.say(game.engine(slow)).usage
        text = "[[ ## response ## ]]\nAye.\n\n[[ ## emotion ## ]]\ncalm\n\n[[ ## completed ## ]]"
        assert usage.output_tokens == len(text) // 4
        assert usage.input_tokens > 100
        assert usage.total_tokens == usage.input_tokens + usage.output_tokens
        assert (usage.requests, usage.latency) == (1, 2.5)

    def test_all_turns_of_a_tool_loop_count(self, game: Game, save: Save) -> None:
        """Two answers are two requests, and their tokens are added up."""
        save("smith.json", module_text(**TOOLS))
        engine = game.engine(ASKS, SAYS)
        engine.tools.register(Tool("look", "Looks.", {"type": "object", "properties": {}}, lambda: "a river"))
        twice = game.say(engine).usage
        once = game.say(engine).usage
        assert (twice.requests, once.requests) == (2, 1)
        assert twice.input_tokens > 1.8 * once.input_tokens

    def test_the_hosts_own_tracker_hears_of_it(self, game: Game) -> None:
        """A host that counts with ``dspy.track_usage`` goes on counting."""
        import dspy

        engine = game.engine()
        with dspy.track_usage() as tracker:
            reply = game.say(engine)
        (counted,) = tracker.get_total_tokens().values()
        assert counted["prompt_tokens"] == reply.usage.input_tokens


class TestStats:
    def test_calls_are_counted_by_module_and_version(self, game: Game, save: Save) -> None:
        """Each version of each module has its own sum."""
        engine = game.engine()
        calls = HotReloadService(engine).stats.calls
        assert calls == {}
        spent = [game.say(engine).usage for _ in range(2)]
        first = engine.snapshot["npc.smith"].version
        save("smith.json", module_text(instruction="You are a tired smith."))
        game.result(engine.reload_all())
        second = engine.snapshot["npc.smith"].version
        game.say(engine)
        game.say(engine, "npc.cook")
        assert {name: list(versions) for name, versions in calls.items()} == {
            "npc.smith": [first, second],
            "npc.cook": [engine.snapshot["npc.cook"].version],
        }
        assert calls["npc.smith"][first] == CallStats(
            calls=2,
            input_tokens=sum(usage.input_tokens for usage in spent),
            output_tokens=sum(usage.output_tokens for usage in spent),
        )
        assert calls["npc.smith"][second].calls == calls["npc.cook"][engine.snapshot["npc.cook"].version].calls == 1

    def test_latency_is_added_up_and_the_longest_is_kept(self, game: Game) -> None:
        """In seconds of the engine's clock."""
        seconds = iter((2.0, 5.0, 1.0))

        def slow(_prompt: Any) -> dict[str, str]:
            game.clock.rightNow += next(seconds)
            return AYE

        engine = game.engine(slow)
        assert [game.say(engine).usage.latency for _ in range(3)] == [2.0, 5.0, 1.0]
        (stats,) = HotReloadService(engine).stats.calls["npc.smith"].values()
        assert (stats.calls, stats.latency, stats.longest) == (3, 8.0, 5.0)

    @pytest.mark.parametrize("fallback", [None, "demos"])
    def test_failed_calls_are_counted(self, game: Game, fallback: Any) -> None:
        """Those that a fallback answered for, too: they failed, and a fallback was given."""
        engine = game.engine(BROKEN, AYE, limits=Limits(calls_per_minute=1), fallback=fallback)
        outcomes = [self.outcome(game, engine) for _ in range(3)]
        answered = fallback is not None
        assert outcomes == (["demos", "demos", "demos"] if answered else [LMFailed, LimitExceeded, LimitExceeded])
        (stats,) = HotReloadService(engine).stats.calls["npc.smith"].values()
        assert (stats.calls, stats.failures, stats.fallbacks) == (3, 3, 3 if answered else 0)

    def outcome(self, game: Game, engine: DSPyEngine) -> Any:
        try:
            return game.say(engine, key="player:1").fallback
        except (LMFailed, LimitExceeded) as error:
            return type(error)

    def test_a_refused_reply_is_a_failure_that_cost_something(self, game: Game) -> None:
        """The language model did its work; the game did not want it."""
        engine = game.engine()
        engine.reply_filters.add(lambda reply: 1 / 0)
        with pytest.raises(ReplyRefused):
            game.say(engine)
        (stats,) = HotReloadService(engine).stats.calls["npc.smith"].values()
        assert (stats.calls, stats.failures) == (1, 1)
        assert stats.output_tokens > 0

    def test_the_callers_mistakes_are_not(self, game: Game) -> None:
        """A call without its inputs says nothing of the module."""
        engine = game.engine()
        with pytest.raises(MissingInput):
            game.result(engine.invoke("npc.smith"))
        assert HotReloadService(engine).stats.calls == {}

    def test_only_the_last_twenty_versions_of_a_module_are_kept(self, game: Game, save: Save) -> None:
        """A server that reloads for months does not grow."""
        engine = game.engine()
        versions = []
        for number in range(23):
            save("smith.json", module_text(instruction=f"You are smith {number}."))
            game.result(engine.reload_all())
            versions.append(game.say(engine).version)
        assert list(HotReloadService(engine).stats.calls["npc.smith"]) == versions[-20:]
