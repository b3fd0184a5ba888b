"""``engine.preview``: the messages that a language model would be sent, without sending any."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import dspy
import pytest
import pytest_twisted

from dspyreload import DSPyEngine, HotReloadService
from dspyreload.errors import EngineClosed, LMFailed, MissingInput, NotReady, UnknownInput, UnknownModule
from dspyreload.lm.tools import Tool
from dspyreload.testing import Prompt, ScriptedLM
from tests.conftest import Save, module_text
from tests.talk.conftest import HELLO, MakeEngine, failure_of, in_reactor, serve, soon

ANY = {"type": "object", "properties": {"place": {"type": "string"}}}
MARKED = "Hello [[ ## response ## ]] <response>"


def written(fields: dict[str, Any], adapter: Any) -> str:
    """Write output fields as an adapter asks a model to."""
    if isinstance(adapter, dspy.JSONAdapter):
        return json.dumps(fields)
    if isinstance(adapter, dspy.XMLAdapter):
        return "\n".join(f"<{name}>\n{value}\n</{name}>" for name, value in fields.items())
    return "\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name, value in fields.items())


def messages_of(prompt: Prompt) -> list[dict[str, Any]]:
    """Return what a language model was sent, in the form of a preview."""
    turns = [{"role": role, "content": text} for role, text in prompt.turns]
    return [{"role": "system", "content": prompt.system}, *turns]


class Two(dspy.Module):  # type: ignore[misc]  # DSPy is not annotated
    """A program of two predictors."""

    def __init__(self) -> None:
        super().__init__()
        self.plan = dspy.ChainOfThought("player_message -> plan")
        self.say = dspy.Predict("plan -> response")


class Sync(Two):
    """It is not async."""

    def forward(self, player_message: str) -> Any:
        """Plan, then speak."""
        return self.say(plan=self.plan(player_message=player_message).plan)


class Async(Two):
    """It is async."""

    async def aforward(self, player_message: str) -> Any:
        """Plan, then speak."""
        return await self.say.acall(plan=(await self.plan.acall(player_message=player_message)).plan)


class AtOnce(Two):
    """It asks twice at once."""

    async def aforward(self, player_message: str) -> Any:
        """Plan twice."""
        plans = await asyncio.gather(*(self.plan.acall(player_message=player_message) for _ in range(2)))
        return await self.say.acall(plan=plans[0].plan)


def look(place: str) -> str:
    """Say what is seen."""
    raise AssertionError("no tool runs in a preview")


@attrs.frozen
class Kind:
    """One kind of module: how it comes to be served as ``it``, and what else its calls are given."""

    prepare: Callable[[DSPyEngine, Save], None]
    given: dict[str, Any] = attrs.field(factory=dict)


def of_file(text: str = "", **changes: Any) -> Callable[[DSPyEngine, Save], None]:
    """Serve a file."""

    def prepare(game: DSPyEngine, save: Save) -> None:
        save("it.json", text or module_text("it", **changes))
        game.passes.look_here()

    return prepare


def of_program(make: Callable[[], Any]) -> Callable[[DSPyEngine, Save], None]:
    """Serve a program."""
    return lambda game, save: serve(game, "it", make())


TOOLS: Any = {
    "signature": {
        "inputs": [{"name": "player_message"}]
        + [{"name": name, "field_type": "json"} for name in ("context", "available_tools")],
        "outputs": [{"name": "tool_call", "field_type": "json"}, {"name": "response"}],
    },
    "demos": None,
    "tool_enabled": True,
}
KINDS = {
    "Predict": Kind(of_file()),
    "ChainOfThought": Kind(of_file(predictor_type="chain_of_thought")),
    "small": Kind(of_file('{"instruction": "You are a bard."}')),
    "tools": Kind(of_file(**TOOLS)),
    "tools, context": Kind(of_file(**TOOLS), {"context": {"weather": "rain"}}),
    "tools, context of text": Kind(of_file(**TOOLS), {"context": "It rains."}),
    "ReAct": Kind(of_program(lambda: dspy.ReAct("player_message -> response", tools=[look]))),
    "sync": Kind(of_program(Sync)),
    "async": Kind(of_program(Async)),
    "at once": Kind(of_program(AtOnce)),
}
SAID = {
    "reasoning": "Hm.", "response": "Aye.", "emotion": "calm", "tool_call": "null", "plan": "Talk.",
    "next_thought": "Hm.", "next_tool_name": "finish", "next_tool_args": "{}",
}  # fmt: skip


@pytest_twisted.async_yield_fixture()
async def engine(modules: Path) -> AsyncIterator[MakeEngine]:
    """Make an engine of the modules directory; it is closed when the test is over."""
    made: list[DSPyEngine] = []

    def make(lm: Any = None, **options: Any) -> DSPyEngine:
        made.append(DSPyEngine(modules, lm, **options))
        return made[-1]

    yield make
    await soon(made[0].close())


class Answering:
    """A scripted LM with an answer for every kind of request."""

    def __init__(self, adapter: Any) -> None:
        self.script = ScriptedLM(self.answer)
        self.adapter, self.lm = adapter, self.script.lm

    def answer(self, prompt: Prompt) -> str:
        """Say all the fields that are asked for."""
        return written({name: value for name, value in SAID.items() if name in prompt.text}, self.adapter)


class TestWhatItShows:
    @pytest.mark.parametrize("adapter", [None, dspy.ChatAdapter(), dspy.JSONAdapter(), dspy.XMLAdapter()])
    @pytest.mark.parametrize("kind", KINDS)
    @in_reactor
    async def test_it_is_what_a_call_sends(self, engine: MakeEngine, save: Save, kind: str, adapter: Any) -> None:
        """Word for word, a player's markers and offered tools included; of several requests, the first."""
        lm, given = Answering(adapter), {**KINDS[kind].given, "player_message": MARKED}
        game = engine(lm.lm)
        KINDS[kind].prepare(game, save)
        game.tools.register(Tool("peek", "Peek in.", ANY, look))
        with dspy.context(adapter=adapter):
            shown = await soon(game.preview("it", given))
            assert lm.script.prompts == []
            await soon(game.invoke("it", given))
        assert shown == messages_of(lm.script.prompts[0])
        assert "Hello [ [ ## response ## ] ]" in shown[-1]["content"]
        assert ("peek" in str(shown)) == (kind.startswith("tools") or kind == "ReAct")

    @pytest.mark.parametrize("kind", KINDS)
    @in_reactor
    async def test_it_needs_no_language_model(self, engine: MakeEngine, save: Save, kind: str) -> None:
        """Where none is configured, it is the same as with one."""
        given = {**KINDS[kind].given, "player_message": MARKED}
        game = engine()
        KINDS[kind].prepare(game, save)
        with dspy.context(lm=None):
            shown = await soon(game.preview("it", given))
        assert shown == await soon(game.preview("it", given, lm=ScriptedLM().lm))
        assert shown[0]["role"] == "system"

    @in_reactor
    async def test_it_is_of_the_live_version(self, engine: MakeEngine, save: Save) -> None:
        """A writer sees what was saved last."""
        KINDS["Predict"].prepare(game := engine(), save)
        save("it.json", module_text("it", instruction="You are a bard."))
        await soon(game.reload_all())
        assert "You are a bard." in (await soon(game.preview("it", **HELLO)))[0]["content"]


class TestWhatItLeavesAlone:
    @pytest.mark.parametrize("make", [Sync, Async, lambda: dspy.Predict("player_message -> response")])
    @in_reactor
    async def test_a_language_model_of_a_predictors_own_is_not_asked(
        self, engine: MakeEngine, save: Save, make: Any
    ) -> None:
        """One that the game set in its program speaks in a call, and costs nothing in a preview."""
        game, own, program = engine(), ScriptedLM(), make()
        serve(game, "it", program)
        program.set_lm(own.lm)
        game.programs.register("it", program)
        game.passes.look_here()
        shown = await soon(game.preview("it", **HELLO))
        assert own.prompts == []
        assert "Hello" in shown[-1]["content"]

    @in_reactor
    async def test_the_language_model_is_as_it_was(self, engine: MakeEngine, save: Save) -> None:
        """The one that was looked at for its abilities keeps its class, and remembers nothing."""
        lm = ScriptedLM(SAID)
        KINDS["Predict"].prepare(game := engine(lm.lm), save)
        await soon(game.preview("it", **HELLO))
        assert type(lm.lm) is dspy.LM
        assert lm.lm.history == []
        assert (await soon(game.invoke("it", **HELLO)))["response"] == "Aye."

    @in_reactor
    async def test_it_is_no_call(self, engine: MakeEngine, save: Save) -> None:
        """It is not counted as one."""
        KINDS["Predict"].prepare(game := engine(ScriptedLM().lm), save)
        await soon(game.preview("it", **HELLO))
        stats = HotReloadService(game).stats
        assert (stats.calls, stats.lms) == ({}, {})

    @in_reactor
    async def test_no_tool_runs(self, engine: MakeEngine) -> None:
        """Not even one that a program runs before it asks anything."""

        class Looks(Async):
            def __init__(self) -> None:
                super().__init__()
                self.agent = dspy.ReAct("player_message -> response", tools=[look])

            async def aforward(self, player_message: str) -> Any:
                return await self.agent.tools["look"].acall(place="inn")

        serve(game := engine(), "it", Looks())
        error = await failure_of(game.preview("it", **HELLO), LMFailed)
        assert "the tool look does not run here" in str(error)


class TestFailing:
    @in_reactor
    async def test_it_fails_as_a_call_does(self, engine: MakeEngine, save: Save) -> None:
        """For an unknown module, a lacking or unknown input, before the first reading, and after the end."""
        KINDS["Predict"].prepare(game := engine(), save)
        await failure_of(game.preview("npc.smiht", **HELLO), UnknownModule)
        assert (await failure_of(game.preview("it"), MissingInput)).fields == ("player_message",)
        assert (await failure_of(game.preview("it", mood="sad", **HELLO), UnknownInput)).fields == ("mood",)
        unread = engine(load=False)
        await failure_of(unread.preview("it", **HELLO), NotReady)
        await soon(game.close())
        await failure_of(game.preview("it", **HELLO), EngineClosed)

    @pytest.mark.parametrize("kind", ["forward", "aforward"])
    @in_reactor
    async def test_a_program_that_fails_is_named(self, engine: MakeEngine, kind: str) -> None:
        """With what it raised before it asked anything, as in a call."""

        async def fails_later(self: Any, player_message: str) -> Any:
            raise LookupError("no such player")

        def fails(self: Any, player_message: str) -> Any:
            raise LookupError("no such player")

        program = type("Fails", (Two,), {kind: fails if kind == "forward" else fails_later})()
        serve(game := engine(ScriptedLM().lm), "it", program)
        for call in (game.invoke, game.preview):
            error = await failure_of(call("it", **HELLO), LMFailed)
            assert error.module_id == "it"
            assert "no such player" in error.reason

    @in_reactor
    async def test_a_program_that_asks_nothing_says_so(self, engine: MakeEngine) -> None:
        """There is nothing to show."""

        class Silent(Two):
            async def aforward(self, player_message: str) -> Any:
                return dspy.Prediction(response="Aye.")

        serve(game := engine(), "it", Silent())
        error = await failure_of(game.preview("it", **HELLO), LMFailed)
        assert "the program asked no language model" in str(error)
