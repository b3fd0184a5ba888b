"""What answers in place of a language model: the module's own lines, else its demonstrations."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import dspy
import pytest
import pytest_twisted

from dspyreload import DSPyEngine, HotReloadService
from dspyreload.errors import InvokeTimeout, LMFailed, MissingInput, NoLM
from dspyreload.lm.tools import Tool
from dspyreload.testing import ScriptedLM
from tests.conftest import Save, module_text
from tests.talk.conftest import AYE, HELLO, MakeEngine, failure_of, in_reactor, serve, soon
from tests.talk.real import SetClock

LINES = [{"response": "Hm."}, {"response": "Not now.", "emotion": "busy"}]
JSON = {"field_type": "json"}


def down() -> Any:
    """Return a language model that nobody reaches."""
    return ScriptedLM(OSError("no route to host")).lm


def show(game: DSPyEngine, module_id: str, demos: dict[str, list[dict[str, Any]]]) -> None:
    """Put demonstrations into a saved program, by predictor; they are live then."""
    path = Path(game.directory, f"{module_id}.json")
    state = json.loads(path.read_text())
    for name, ones in demos.items():
        state[name]["demos"] = ones
    path.write_text(json.dumps(state))
    game.passes.look_here()


@pytest_twisted.async_yield_fixture()
async def engine(modules: Path) -> AsyncIterator[MakeEngine]:
    """Make an engine of the modules directory; it is closed when the test is over."""
    made: list[DSPyEngine] = []

    def make(lm: Any = None, **options: Any) -> DSPyEngine:
        made.append(DSPyEngine(modules, lm, **options))
        return made[-1]

    yield make
    await soon(made[0].close())


class TestLines:
    @in_reactor
    async def test_they_speak_in_turn(self, engine: MakeEngine, save: Save) -> None:
        """One after the other and from the first again, each module its own; what a line does not say is blank."""
        for name in ("npc.smith", "npc.cook"):
            save(f"{name}.json", module_text(name, fallback=LINES))
        game = engine(down())
        said = [await soon(game.invoke(f"npc.{name}", **HELLO)) for name in ("smith", "smith", "smith", "cook")]
        hm = {"response": "Hm.", "emotion": ""}
        assert [{**reply} for reply in said] == [hm, LINES[1], hm, hm]

    @in_reactor
    async def test_a_reply_says_what_spoke_and_why(self, engine: MakeEngine, save: Save) -> None:
        """And which version's lines they are; calls and what stood in for them are counted."""
        save("smith.json", module_text(fallback=LINES))
        game = engine(down())
        reply = await soon(game.invoke("npc.smith", **HELLO))
        assert (reply.fallback, reply.lm, reply.generation) == ("lines", "fallback", 1)
        assert reply.reason.startswith("npc.smith: the LM scripted/lm failed: ")
        assert "no route to host" in reply.reason
        assert reply.version == game.snapshot["npc.smith"].version
        stats = HotReloadService(game).stats.calls["npc.smith"][reply.version]
        assert (stats.calls, stats.failures, stats.fallbacks) == (1, 1, 1)
        good = await soon(game.invoke("npc.smith", lm=ScriptedLM(AYE).lm, **HELLO))
        assert ({**good}, good.fallback, good.reason, good.lm) == (AYE, "", "", "scripted/lm")

    @pytest.mark.parametrize("predictor_type", ["predict", "chain_of_thought"])
    @in_reactor
    async def test_outputs_of_each_type_have_a_blank(self, engine: MakeEngine, save: Save, predictor_type: Any) -> None:
        """A text and a list are empty; for a number there is none."""
        kinds = ["string", "list", "int", "float", "bool", "json"]
        outputs = [{"name": "response"}, *({"name": f"a_{kind}", "field_type": kind} for kind in kinds)]
        signature = {"inputs": [{"name": "player_message"}], "outputs": outputs}
        changes = {"signature": signature, "fallback": LINES[:1], "predictor_type": predictor_type}
        save("smith.json", module_text(demos=None, **changes))
        reply = await soon(engine(down()).invoke("npc.smith", **HELLO))
        blanks: Any = {"a_string": "", "a_list": [], "a_int": None, "a_float": None, "a_bool": None, "a_json": None}
        thought = {"reasoning": ""} if predictor_type == "chain_of_thought" else {}
        assert {**reply} == {"response": "Hm.", **blanks, **thought}

    @in_reactor
    async def test_who_changes_a_reply_changes_no_other(self, engine: MakeEngine, save: Save) -> None:
        """A list in a line is a fresh one each time, and so is a blank one."""
        outputs = [{"name": name, "field_type": "list"} for name in ("wares", "rumours")]
        signature = {"inputs": [{"name": "player_message"}], "outputs": outputs}
        save("smith.json", module_text(signature=signature, demos=None, fallback=[{"wares": ["ale"]}]))
        game = engine(down())
        for _ in range(2):
            reply = await soon(game.invoke("npc.smith", **HELLO))
            assert {**reply} == {"wares": ["ale"], "rumours": []}
            reply["wares"].append("a stolen ring")
            reply["rumours"].append("a stolen ring")


class TestWhen:
    @pytest.mark.parametrize("options", [{}, {"fallback": None}, {"fallback": "demos"}])
    @in_reactor
    async def test_lines_come_first(self, engine: MakeEngine, save: Save, options: Any) -> None:
        """A writer's lines speak whatever the engine says of demonstrations, and before them."""
        save("smith.json", module_text(fallback=LINES))
        reply = await soon(engine(down(), **options).invoke("npc.smith", **HELLO))
        assert (reply["response"], reply.fallback) == ("Hm.", "lines")

    @pytest.mark.parametrize("lines", [None, LINES])
    @in_reactor
    async def test_a_call_may_forbid_it(self, engine: MakeEngine, save: Save, lines: Any) -> None:
        """``fallback=False`` has the error come through, whatever there is to say."""
        save("smith.json", module_text(fallback=lines))
        game = engine(down(), fallback="demos")
        assert (await soon(game.invoke("npc.smith", **HELLO))).fallback
        error = await failure_of(game.invoke("npc.smith", fallback=False, **HELLO), LMFailed)
        assert "no route to host" in str(error)

    @in_reactor
    async def test_an_engine_may_forbid_it_and_a_call_ask_for_it(self, engine: MakeEngine, save: Save) -> None:
        """What the call says counts before what the engine says; None is the module's own lines alone."""
        save("smith.json", module_text())
        game = engine(down(), fallback=False)
        await failure_of(game.invoke("npc.smith", **HELLO), LMFailed)
        await failure_of(game.invoke("npc.smith", fallback=None, **HELLO), LMFailed)
        assert (await soon(game.invoke("npc.smith", fallback="demos", **HELLO))).fallback == "demos"

    @pytest.mark.parametrize(
        ("lm", "options", "kind"),
        [
            (None, {}, NoLM),
            (ScriptedLM("Grmbl.").lm, {}, LMFailed),
            (ScriptedLM(AYE, delay=30).lm, {"timeout": 0.1}, InvokeTimeout),
        ],
    )
    @in_reactor
    async def test_it_speaks_for_a_model(
        self, engine: MakeEngine, save: Save, lm: Any, options: Any, kind: Any
    ) -> None:
        """For one that is not there, one that talks nonsense, and one that is slow."""
        save("smith.json", module_text(fallback=LINES))
        game = engine(lm)
        with dspy.context(lm=None):
            error = await failure_of(game.invoke("npc.smith", fallback=False, **options, **HELLO), kind)
            reply = await soon(game.invoke("npc.smith", **options, **HELLO))
        assert (reply["response"], reply.fallback) == ("Hm.", "lines")
        assert reply.reason == str(error)

    @in_reactor
    async def test_it_does_not_hide_a_mistake_of_the_caller(self, engine: MakeEngine, save: Save) -> None:
        """A call without its inputs fails, so that the game's author hears of it."""
        save("smith.json", module_text(fallback=LINES))
        await failure_of(engine(down(), fallback="demos").invoke("npc.smith"), MissingInput)

    @in_reactor
    async def test_a_language_model_that_is_down_is_not_waited_for(self, engine: MakeEngine, save: Save) -> None:
        """After three failures in a row the lines speak at once; who has none still asks."""
        save("smith.json", module_text(fallback=LINES))
        save("cook.json", module_text("npc.cook"))
        lm = ScriptedLM(OSError("no route to host"))
        game = engine(lm.lm, reactor=SetClock())
        replies = [await soon(game.invoke("npc.smith", **HELLO)) for _ in range(5)]
        assert len(lm.prompts) == 3
        assert "the LM scripted/lm is down" in replies[-1].reason
        await failure_of(game.invoke("npc.cook", **HELLO), LMFailed)
        assert len(lm.prompts) == 4


class SyncQuest(dspy.Module):  # type: ignore[misc]  # DSPy is not annotated
    """A program whose second predictor goes on from what the first one said."""

    def __init__(self) -> None:
        super().__init__()
        self.plan = dspy.ChainOfThought("topic -> plan")
        self.name = dspy.Predict("plan -> title")

    def forward(self, topic: str) -> Any:
        plan = self.plan(topic=topic).plan
        return dspy.Prediction(plan=plan, title=self.name(plan=plan).title)


class Quest(SyncQuest):
    """The same, async."""

    async def aforward(self, topic: str) -> Any:
        plan = (await self.plan.acall(topic=topic)).plan
        return dspy.Prediction(plan=plan, title=(await self.name.acall(plan=plan)).title)


DEMOS = {
    "plan.predict": [
        {"topic": "a war", "reasoning": "Hm.", "plan": "Find the spy."},
        {"topic": "a feast", "plan": "Bake."},
    ],
    "name": [{"plan": "Bake.", "title": "The Cake"}, {"plan": "Find the spy.", "title": "The Spy"}],
}


class TestDemos:
    @in_reactor
    async def test_the_nearest_demonstration_answers(self, engine: MakeEngine, save: Save) -> None:
        """And the reply says that no language model did."""
        save("smith.json", module_text())
        reply = await soon(engine(down(), fallback="demos").invoke("npc.smith", **HELLO))
        assert {**reply} == {"response": "Is it? Mind the sparks.", "emotion": "annoyed"}
        assert (reply.fallback, reply.lm) == ("demos", "demos")

    @in_reactor
    async def test_without_any_the_error_comes_through(self, engine: MakeEngine, save: Save) -> None:
        """It is what went wrong first, and not that there are no demonstrations."""
        save("smith.json", module_text(demos=None))
        error = await failure_of(engine(down(), fallback="demos").invoke("npc.smith", **HELLO), LMFailed)
        assert "no route to host" in str(error)

    @pytest.mark.parametrize("kind", [Quest, SyncQuest])
    @in_reactor
    async def test_each_predictor_of_a_program_answers_from_its_own(self, engine: MakeEngine, kind: Any) -> None:
        """The second is asked what the first one's demonstration said."""
        game = engine(down(), fallback="demos")
        serve(game, "quest", kind())
        show(game, "quest", DEMOS)
        reply = await soon(game.invoke("quest", topic="a war"))
        assert {**reply} == {"plan": "Find the spy.", "title": "The Spy"}
        assert reply.fallback == "demos"

    @in_reactor
    async def test_a_language_model_of_a_predictors_own_is_not_asked(self, engine: MakeEngine) -> None:
        """One that the game set in its program speaks in a call; what stands in for it asks none."""
        own, program = ScriptedLM(OSError("no route to host")), Quest()
        game = engine(ScriptedLM(AYE).lm, fallback="demos")
        serve(game, "quest", program)
        show(game, "quest", DEMOS)
        program.set_lm(own.lm)
        game.programs.register("quest", program)
        game.passes.look_here()
        reply = await soon(game.invoke("quest", topic="a war"))
        assert ({**reply}, reply.fallback) == ({"plan": "Find the spy.", "title": "The Spy"}, "demos")
        assert len(own.prompts) == 1


def tool_module(**changes: Any) -> str:
    """Return the text of a tool-enabled module."""
    inputs = [{"name": "player_message"}, {"name": "context", **JSON}, {"name": "available_tools", **JSON}]
    signature = {"inputs": inputs, "outputs": [{"name": "tool_call", **JSON}, {"name": "response"}]}
    return module_text(signature=signature, tool_enabled=True, **changes)


class TestTools:
    @in_reactor
    async def test_a_line_speaks_for_a_model_that_asks_for_ever(self, engine: MakeEngine, save: Save) -> None:
        """It asks for no tool."""
        save("smith.json", tool_module(demos=None, fallback=LINES[:1]))
        lm = ScriptedLM({"tool_call": '{"name": "look"}', "response": ""})
        reply = await soon(engine(lm.lm).invoke("npc.smith", **HELLO))
        assert {**reply} == {"tool_call": None, "response": "Hm."}
        assert "asked for tools 5 times" in reply.reason

    @in_reactor
    async def test_none_runs_for_a_demonstration(self, engine: MakeEngine, save: Save) -> None:
        """One that asks for a tool is said, and nothing is done."""
        given = {"player_message": "Hello", "context": {}, "available_tools": []}
        demo = {"inputs": given, "outputs": {"tool_call": {"name": "look", "args": {}}, "response": "Let me see."}}
        save("smith.json", tool_module(demos=[demo]))
        ran: list[int] = []
        game = engine(down(), fallback="demos")
        game.tools.register(Tool("look", "Look.", {}, lambda: ran.append(1)))
        reply = await soon(game.invoke("npc.smith", **HELLO))
        assert ({**reply}, reply.tool_calls, ran) == ({"tool_call": None, "response": "Let me see."}, (), [])

    @in_reactor
    async def test_none_runs_for_a_react(self, engine: MakeEngine) -> None:
        """Neither its own nor the game's, though its demonstrations use both."""
        ran: list[str] = []
        own = dspy.Tool(lambda place: ran.append(place), name="own")
        game = engine(down(), fallback="demos")
        game.tools.register(Tool("look", "Look.", {}, lambda: ran.append("the game's")))
        serve(game, "guard", dspy.ReAct("question -> answer", tools=[own], max_iters=2))
        asked = {"question": "Who is there?", "trajectory": "", "next_thought": "Hm."}
        react = [
            {**asked, "next_tool_name": "own", "next_tool_args": {"place": "inn"}},
            {
                **asked,
                "trajectory": "[[ ## thought_0 ## ]] Execution error",
                "next_tool_name": "look",
                "next_tool_args": {},
            },
        ]
        extract = [{"question": "Who is there?", "trajectory": "", "reasoning": "", "answer": "A friend."}]
        show(game, "guard", {"react": react, "extract.predict": extract})
        reply = await soon(game.invoke("guard", question="Who is there?"))
        assert (reply["answer"], reply.fallback) == ("A friend.", "demos")
        assert "does not run here" in reply["trajectory"]["observation_0"]
        assert ran == []
