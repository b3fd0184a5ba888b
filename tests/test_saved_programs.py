"""What DSPy's own ``save()`` writes, served from end to end: the prompts are those that DSPy itself would send."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import dspy
import pytest
import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent

from dspyreload import DSPyEngine, HotReloadConfig, HotReloadService
from dspyreload.model.events import HotReloadEvent, ModuleChanged
from dspyreload.testing import Prompt, ScriptedLM

reactor: Any = installed
T = TypeVar("T")
Test = TypeVar("Test", bound=Callable[..., Any])
MakeEngine = Callable[..., DSPyEngine]
Make = Callable[[], Any]


def in_reactor(test: Test) -> Test:
    """Run a coroutine function as a test in the reactor."""
    return cast(Test, pytest_twisted.ensureDeferred(test))


def soon(deferred: Deferred[T]) -> Deferred[T]:
    """Give up waiting after 20 s: a test that would hang fails."""
    return deferred.addTimeout(20, reactor)


@pytest_twisted.async_yield_fixture()
async def engine(modules: Path) -> AsyncIterator[MakeEngine]:
    """Make engines of the modules directory; they are closed when the test is over."""
    made: list[DSPyEngine] = []

    def make(lm: Any = None, **options: Any) -> DSPyEngine:
        made.append(DSPyEngine(modules, lm, **options))
        return made[-1]

    yield make
    for one in made:
        await soon(one.close())


@pytest_twisted.async_yield_fixture()
async def service() -> AsyncIterator[Callable[[DSPyEngine], Deferred[HotReloadService]]]:
    """Start services and wait until they watch; they are stopped when the test is over."""
    made: list[HotReloadService] = []

    def start(game: DSPyEngine) -> Deferred[HotReloadService]:
        made.append(HotReloadService(game, HotReloadConfig(debounce=0.01)))
        made[-1].startService()
        return soon(made[-1].when_ready())

    yield start
    for one in made:
        await soon(one.stopService())


StartService = Callable[[DSPyEngine], Deferred[HotReloadService]]


# Programs of a game


def look(where: str) -> str:
    """Look at something."""
    return f"dust on {where}"


class Naming(dspy.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.think = dspy.ChainOfThought("plan -> title")

    async def aforward(self, plan: str) -> Any:
        return await self.think.acall(plan=plan)


class Quest(dspy.Module):  # type: ignore[misc]
    """Several predictors: in a part, in a list, in a tuple, in a dict with a part in it."""

    def __init__(self) -> None:
        super().__init__()
        self.plan = dspy.ChainOfThought(dspy.Signature("topic -> plan", "Plan a quest."))
        self.drafts = [dspy.Predict("plan -> draft"), dspy.ChainOfThought("draft -> better")]
        self.pair = (dspy.Predict("better -> verdict"),)
        self.by = {"long name": Naming(), "it's": dspy.Predict("title -> shout")}

    async def aforward(self, topic: str) -> Any:
        plan = (await self.plan.acall(topic=topic)).plan
        draft = (await self.drafts[0].acall(plan=plan)).draft
        better = (await self.drafts[1].acall(draft=draft)).better
        verdict = (await self.pair[0].acall(better=better)).verdict
        title = (await self.by["long name"].acall(plan=plan)).title
        shout = (await self.by["it's"].acall(title=title)).shout
        return dspy.Prediction(verdict=verdict, shout=shout)


class Frozen(dspy.Module):  # type: ignore[misc]
    """A part that was compiled before: DSPy saves nothing of it."""

    def __init__(self) -> None:
        super().__init__()
        self.part = dspy.ChainOfThought(dspy.Signature("topic -> plan", "Frozen."))
        self.part.predict.demos = [dspy.Example(topic="frost", reasoning="cold", plan="freeze")]
        self.part._compiled = True
        self.title = dspy.Predict("plan -> title")

    async def aforward(self, topic: str) -> Any:
        return await self.title.acall(plan=(await self.part.acall(topic=topic)).plan)


class Blocking(dspy.Module):  # type: ignore[misc]
    """A program that is not async."""

    def __init__(self) -> None:
        super().__init__()
        self.title = dspy.Predict("topic -> title")

    def forward(self, topic: str) -> Any:
        return self.title(topic=topic)


SHAPES: dict[str, Make] = {
    "a bare Predict": lambda: dspy.Predict(dspy.Signature("topic -> title", "Name it.")),
    "a bare ChainOfThought": lambda: dspy.ChainOfThought(dspy.Signature("topic -> title", "Name it.")),
    "ReAct with a tool": lambda: dspy.ReAct(dspy.Signature("topic -> title", "Name it."), tools=[look]),
    "several predictors": Quest,
    "a frozen part": Frozen,
    "a blocking one": Blocking,
    "the best of three": lambda: dspy.BestOfN(dspy.Predict("topic -> title"), 3, lambda args, said: 1.0, 1.0),
}


def answer(prompt: Prompt) -> dict[str, Any]:
    """Give each field that the last turn asks for a value of its name; of the tools, first look, then finish."""
    asked = re.findall(r"`\[\[ ## (\w+) ## \]\]`", prompt.turns[-1][1])
    values: dict[str, Any] = {name: f"some {name}" for name in asked if name != "completed"}
    if "next_tool_name" in values:
        done = "dust on" in prompt.turns[-1][1]
        values["next_tool_name"] = "finish" if done else "look"
        values["next_tool_args"] = "{}" if done else '{"where": "the shelf"}'
    return values


def optimized(program: Any) -> Any:
    """Give each predictor an instruction and a demonstration of its own, as an optimizer would."""
    for name, predictor in program.named_predictors():
        predictor.signature = predictor.signature.with_instructions(f"Optimized {name}.")
        values = {field: f"shown {field} of {name}" for field in predictor.signature.fields}
        predictor.demos = [dspy.Example(**values)]
    return program


async def by_dspy(program: Any, **inputs: Any) -> tuple[list[Prompt], dict[str, Any]]:
    """Run a program with DSPy alone, in a thread; return the prompts that its LM got, and the outputs."""
    lm = ScriptedLM(answer)

    def run() -> Any:
        with dspy.context(lm=lm.lm, disable_history=True):
            return asyncio.run(program.acall(**inputs)) if hasattr(program, "aforward") else program(**inputs)

    said = await soon(deferToThread(run))
    return lm.prompts, dict(said.items())


async def by_engine(game: DSPyEngine, module_id: str, **inputs: Any) -> tuple[list[Prompt], dict[str, Any]]:
    """Run a live module; return the same."""
    lm = ScriptedLM(answer)
    reply = await soon(game.invoke(module_id, lm=lm.lm, **inputs))
    return lm.prompts, {**reply}


def loaded(make: Make, path: Path) -> Any:
    """Return a program into which DSPy itself loaded what it saved."""
    program = make()
    program.load(path)
    return program


def warnings(events: Sequence[Any]) -> list[str]:
    """Return what was logged of odd files."""
    return [str(formatEvent(event)) for event in events if event["log_level"].name == "warn"]


class TestTheReply:
    @pytest.mark.parametrize("make", SHAPES.values(), ids=SHAPES.keys())
    @in_reactor
    async def test_it_comes_of_the_saved_state(self, engine: MakeEngine, modules: Path, make: Make) -> None:
        """Every prompt of a call, in order, and every output is what DSPy's own load() and call give."""
        optimized(make()).save(modules / "quest.json")
        game = engine()
        with capturedLogs() as logged:
            game.programs.register("quest", make())
        expected, outputs = await by_dspy(loaded(make, modules / "quest.json"), topic="war")
        prompts, reply = await by_engine(game, "quest", topic="war")
        assert prompts == expected
        assert reply == outputs
        assert any("Optimized" in prompt.system and "shown" in prompt.text for prompt in prompts)
        assert warnings(logged) == []

    @pytest.mark.parametrize("make", SHAPES.values(), ids=SHAPES.keys())
    @in_reactor
    async def test_the_games_own_program_is_not_touched(self, engine: MakeEngine, modules: Path, make: Make) -> None:
        """None of its parts is called, and none is changed, by a call, a second version and another call."""
        optimized(make()).save(modules / "quest.json")
        own, game = make(), engine()
        game.programs.register("quest", own)

        def boom(*_args: object, **_kwargs: object) -> None:
            raise AssertionError("the game's own program was called")

        parts = [part for _, part in own.named_sub_modules(dspy.Module)]
        for part in parts:
            part.forward = part.aforward = boom
        before = [(part, {**vars(part)}) for part in parts]
        state = json.dumps(own.dump_state())
        await by_engine(game, "quest", topic="war")
        other = optimized(make())
        other.predictors()[0].demos = []
        other.save(modules / "quest.json")
        event: HotReloadEvent = await soon(game.reload_module("quest"))
        assert isinstance(event, ModuleChanged)
        await by_engine(game, "quest", topic="peace")
        assert json.dumps(own.dump_state()) == state
        for part, attributes in before:
            assert vars(part) == attributes
            assert all(vars(part)[name] is value for name, value in attributes.items())

    @in_reactor
    async def test_a_later_change_of_the_games_program_changes_nothing(self, engine: MakeEngine, modules: Path) -> None:
        """What is served is a copy of it as it was when it was registered, its frozen demonstrations too."""
        Frozen().save(modules / "quest.json")
        own, game = Frozen(), engine()
        game.programs.register("quest", own)
        own.part.predict.demos[0]["plan"] = "melt"
        own.part.predict.demos.append(dspy.Example(topic="x", reasoning="y", plan="z"))
        own.title = None
        prompts, _reply = await by_engine(game, "quest", topic="war")
        assert prompts == (await by_dspy(Frozen(), topic="war"))[0]

    @in_reactor
    async def test_a_reacts_tools_are_the_games_own(self, engine: MakeEngine, modules: Path) -> None:
        """A tool that belongs to an object of the game sees that very object, on the reactor's thread."""

        class World:
            def __init__(self) -> None:
                self.seen: list[tuple[str, bool]] = []

            def look(self, where: str) -> str:
                """Look at something."""
                self.seen.append((where, threading.current_thread() is threading.main_thread()))
                return f"dust on {where}"

        world = World()
        make = lambda: dspy.ReAct("topic -> title", tools=[world.look])  # noqa: E731
        optimized(make()).save(modules / "quest.json")
        game = engine()
        game.programs.register("quest", make())
        await by_engine(game, "quest", topic="war")
        assert world.seen == [("the shelf", True)]

    @in_reactor
    async def test_a_program_keeps_its_own_lm(self, engine: MakeEngine, modules: Path) -> None:
        """One that the game set on a predictor of the template speaks; one that the state brings never does."""
        saved = optimized(Quest())
        saved.set_lm(dspy.LM("evil/model", api_base="http://localhost:1", azure_endpoint="http://localhost:1"))
        saved.save(modules / "quest.json")
        own, mine, game = Quest(), ScriptedLM(answer), engine()
        own.pair[0].lm = mine.lm
        with capturedLogs() as logged:
            game.programs.register("quest", own)
        prompts, _reply = await by_engine(game, "quest", topic="war")
        assert (len(prompts), len(mine.prompts)) == (5, 1)
        assert len([line for line in warnings(logged) if "was saved with an LM; it is not used" in line]) == 6

    @in_reactor
    async def test_each_version_has_its_own_program(self, engine: MakeEngine, modules: Path) -> None:
        """DSPy's load_state on one and the same object raises RecursionError at the 141st."""
        program, game = dspy.Predict("topic -> title"), engine()
        game.programs.register("quest", dspy.Predict("topic -> title"))
        for number in range(150):
            program.signature = program.signature.with_instructions(f"Version {number}.")
            program.save(modules / "quest.json")
            await soon(game.reload_module("quest"))
        prompts, _reply = await by_engine(game, "quest", topic="war")
        assert "Version 149." in prompts[0].system
