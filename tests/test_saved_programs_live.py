"""Programs that the game registers, while a service runs and while none does; and what may not be served by them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.teleprompt import COPRO, BootstrapFewShot, BootstrapFewShotWithRandomSearch, LabeledFewShot
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent

from dspyreload.model.events import HotReloadEvent, ModuleChanged, ReloadError
from dspyreload.testing import ScriptedLM
from tests.conftest import Save, module_text
from tests.faults.game import until
from tests.test_saved_programs import (
    SHAPES,
    Blocking,
    Frozen,
    Make,
    MakeEngine,
    Quest,
    StartService,
    answer,
    by_dspy,
    by_engine,
    engine,
    in_reactor,
    loaded,
    look,
    optimized,
    service,
    soon,
)

__all__ = ["engine", "service"]


def said(events: Sequence[Any], words: str) -> list[str]:
    """Return the lines of the log with some words in them."""
    return [text for event in events if words in (text := str(formatEvent(event)))]


def errors(events: Sequence[Any]) -> list[str]:
    """Return what was logged as an error."""
    return [str(formatEvent(event)) for event in events if event["log_level"].name == "error"]


class ConfigLM(ScriptedLM):
    """One that remembers what was asked of it beside the words."""

    def __init__(self) -> None:
        super().__init__(answer)
        self.configs: list[Any] = []

    def answer(self, request: Any) -> Any:
        self.configs.append(request.config)
        return super().answer(request)


class TestRegistering:
    @pytest.fixture
    def states(self, modules: Path) -> Path:
        """Three saved programs."""
        for name in ("north", "south", "west"):
            optimized(Quest()).save(modules / f"{name}.json")
        return modules

    @pytest.mark.usefixtures("states")
    @in_reactor
    async def test_while_no_service_runs_it_is_live_at_once(self, engine: MakeEngine) -> None:
        """When register() returns."""
        game = engine()
        for number, name in enumerate(("north", "south", "west"), 1):
            game.programs.register(name, Quest())
            assert (name in game, game.snapshot.generation) == (True, 1 + number)
            assert [*game[name].predictors][:2] == ["plan.predict", "drafts[0]"]

    @pytest.mark.usefixtures("states")
    @in_reactor
    async def test_while_a_service_runs_what_waited_goes_live_in_one_commit(
        self, engine: MakeEngine, service: StartService
    ) -> None:
        """All that is registered in one turn of the reactor; registering itself changes nothing yet."""
        game = engine()
        watching = await service(game)
        before, seen = game.snapshot.generation, list[HotReloadEvent]()
        watching.subscribe(seen.append)
        changed = watching.next_event(ModuleChanged)
        for name in ("north", "south", "west"):
            game.programs.register(name, Quest())
        assert len(game.snapshot) == 0
        await soon(changed)
        await soon(game.reload_all())
        await until(lambda: any(event.module_id == "west" for event in seen if isinstance(event, ModuleChanged)))
        live = [(event.module_id, event.generation) for event in seen if isinstance(event, ModuleChanged)]
        assert live == [(name, before + 1) for name in ("north", "south", "west")]
        await by_engine(game, "north", topic="war")

    @pytest.mark.usefixtures("states")
    @in_reactor
    async def test_what_is_registered_before_serves_from_the_first_generation(
        self, engine: MakeEngine, service: StartService
    ) -> None:
        """An engine whose reading is left to the service reads with all that was registered by then."""
        game = engine(load=False)
        for name in ("north", "south"):
            game.programs.register(name, Quest())
        assert game.snapshot.generation == 0
        await service(game)
        assert (sorted(game.snapshot), game.snapshot.generation) == (["north", "south"], 1)

    @pytest.mark.usefixtures("states")
    @in_reactor
    async def test_what_waits_is_logged_once_when_the_service_starts(
        self, engine: MakeEngine, service: StartService, modules: Path
    ) -> None:
        """A line for each, after the game had its time to register; later, only of what comes to wait."""
        with capturedLogs() as logged:
            game = engine()
            game.programs.register("south", Quest())
            assert said(logged, " waits: ") == []
            await service(game)
            lines = [f'{name} waits: it is a saved DSPy program, and no program is registered as "{name}"'
                     for name in ("north", "west")]  # fmt: skip
            assert said(logged, " waits: ") == lines
            await soon(game.reload_all())
            game.programs.register("other", Quest())
            await soon(game.reload_all())
            assert said(logged, " waits: ") == lines
            (modules / "east.json").write_bytes((modules / "west.json").read_bytes())
            await soon(game.reload_all())
            assert said(logged, " waits: ")[2:] == [lines[0].replace("north", "east")]

    @pytest.mark.usefixtures("states")
    @pytest.mark.parametrize("running", [False, True])
    @in_reactor
    async def test_a_second_registration_makes_new_versions(
        self, engine: MakeEngine, service: StartService, running: bool
    ) -> None:
        """Of the same bytes: calls from then on are of the new template."""
        game = engine()
        game.programs.register("north", Frozen())  # whose predictors are others
        assert "north" not in game
        game.programs.register("north", Quest())
        first = game.snapshot["north"]
        if running:
            await service(game)
        changed = game.live.next_event(ModuleChanged)
        louder = Quest()
        louder.by["it's"].config = {"temperature": 1.5}
        game.programs.register("north", louder)
        event = await soon(changed)
        assert (event.module_id, event.version) == ("north", first.version)
        assert game.snapshot["north"].registration != first.registration
        await soon(game.invoke("north", topic="war", lm=(lm := ConfigLM()).lm))
        assert lm.configs[-1].temperature == 1.5

    @in_reactor
    async def test_one_that_does_not_fit_serves_nothing(self, engine: MakeEngine, modules: Path) -> None:
        """The version before goes on with the template of its own registration."""
        Quest().save(modules / "quest.json")
        game = engine()
        game.programs.register("quest", Quest())
        with capturedLogs() as logged:
            game.programs.register("quest", Frozen())
        (line,) = errors(logged)
        assert 'the predictor "plan.predict" is none of the program "quest"' in line
        assert (await by_engine(game, "quest", topic="war"))[0] == (await by_dspy(Quest(), topic="war"))[0]


HOSTILE: dict[str, Callable[[dict[str, Any]], object]] = {
    "an endpoint": lambda state: state["title"].update(config={"api_base": "http://localhost:1"}),
    "another method": lambda state: state["title"].update(forward="boom"),
    "another class": lambda state: state["title"].update(__class__="boom"),
    "demonstrations that are none": lambda state: state["title"].update(demos="notalist"),
    "fields in another order": lambda state: state["title"]["signature"]["fields"].reverse(),
    "a field too few": lambda state: state["title"]["signature"]["fields"].pop(),
    "another predictor": lambda state: state.update(other=state["title"]),
    "no predictor": lambda state: state.pop("title"),
    "decisions that DSPy does not know": lambda state: state["title"].update(fields={"title": {"threshold": 2}}),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
@in_reactor
async def test_a_hostile_state_changes_nothing(
    engine: MakeEngine, modules: Path, service: StartService, change: Callable[[dict[str, Any]], object]
) -> None:
    """It is rejected with its predictor and line, and the last good version speaks as before."""
    Frozen().save(modules / "quest.json")
    game = engine()
    game.programs.register("quest", Frozen())
    watching = await service(game)
    rejected = watching.next_event(ReloadError)
    state = json.loads((modules / "quest.json").read_text())
    change(state)
    (modules / "quest.json").write_text(json.dumps(state, indent=2))
    event = await soon(rejected)
    assert (event.module_id, event.line is not None) == ("quest", True)
    assert '"title"' in event.error or "other" in event.error
    assert event.serving == game.snapshot["quest"].version
    assert (await by_engine(game, "quest", topic="war"))[0] == (await by_dspy(Frozen(), topic="war"))[0]


def labeled(program: Any, rows: list[Any]) -> Any:
    return LabeledFewShot(k=2).compile(program, trainset=rows)


def bootstrapped(program: Any, rows: list[Any]) -> Any:
    return BootstrapFewShot(metric=lambda *_: True, max_bootstrapped_demos=2).compile(program, trainset=rows)


def searched(program: Any, rows: list[Any]) -> Any:
    scores = itertools.count(1)  # the last candidate is the best
    optimizer = BootstrapFewShotWithRandomSearch(
        metric=lambda *_: next(scores) / 1000, num_candidate_programs=1, num_threads=1
    )
    return optimizer.compile(program, trainset=rows, valset=rows)


def rewritten(program: Any, rows: list[Any]) -> Any:
    optimizer = COPRO(metric=lambda *_: 1.0, breadth=2, depth=1, track_stats=False)
    return optimizer.compile(program, trainset=rows, eval_kwargs={"num_threads": 1, "display_progress": False})


class TestARealOptimizer:
    @pytest.mark.parametrize("make", [SHAPES["a bare ChainOfThought"], Blocking], ids=["thinks", "blocks"])
    @pytest.mark.parametrize("optimize", [labeled, bootstrapped, searched, rewritten])
    @in_reactor
    async def test_what_it_makes_is_served(
        self, engine: MakeEngine, modules: Path, make: Make, optimize: Callable[[Any, list[Any]], Any]
    ) -> None:
        """Its state for the game's template, and what it made as a template itself."""
        rows = [dspy.Example(topic=f"war {n}", title=f"Title {n}", split="dev").with_inputs("topic") for n in range(3)]

        def compiled() -> Any:
            with dspy.context(lm=ScriptedLM(answer).lm):
                return optimize(make(), rows)

        program = await soon(deferToThread(compiled))
        program.save(modules / "quest.json")
        expected, _ = await by_dspy(loaded(make, modules / "quest.json"), topic="peace")
        assert expected != (await by_dspy(make(), topic="peace"))[0]
        for template in (make(), program):
            game = engine()
            game.programs.register("quest", template)
            assert "quest" in game
            prompts, _reply = await by_engine(game, "quest", topic="peace")
            assert prompts == expected


class TestAModuleOfOurs:
    @pytest.fixture
    def listed(self, save: Save) -> None:
        """A module in the format of the README that a program serves."""
        demos = [{"inputs": {"topic": "fire"}, "outputs": {"title": "Ash"}}]
        save("quest.json", module_text("quest", signature=None, instruction="Name it well.", demos=demos))
        save("manifest.json", '{"modules": {"quest": {"path": "quest.json", "program": "naming"}}}')

    @pytest.mark.usefixtures("listed")
    @pytest.mark.parametrize("make", [SHAPES["a bare Predict"], SHAPES["a bare ChainOfThought"], Blocking])
    @in_reactor
    async def test_its_words_are_put_into_a_program_of_one_predictor(self, engine: MakeEngine, make: Make) -> None:
        """Instruction and demonstrations; all else is the program's."""
        game = engine()
        assert "quest" not in game
        game.programs.register("naming", make())
        expected = make()
        predictor = expected.predictors()[0]
        predictor.signature = predictor.signature.with_instructions("Name it well.")
        predictor.demos = [dspy.Example(topic="fire", title="Ash")]
        assert await by_engine(game, "quest", topic="war") == await by_dspy(expected, topic="war")

    @pytest.mark.usefixtures("listed")
    @in_reactor
    async def test_it_can_not_speak_for_two(self, engine: MakeEngine) -> None:
        """It is rejected with the names of the predictors."""
        game = engine()
        with capturedLogs() as logged:
            game.programs.register("naming", dspy.ReAct("topic -> title", tools=[look]))
        (line,) = errors(logged)
        assert 'the program "naming" has 2 predictors ("react", "extract.predict")' in line
        assert "quest" not in game

    @pytest.mark.parametrize("make", [Quest, Frozen])
    @in_reactor
    async def test_what_its_entry_asks_of_the_lm_is_for_every_request(
        self, engine: MakeEngine, modules: Path, save: Save, make: Make
    ) -> None:
        """Those of each predictor, of the parts too that DSPy saves nothing of."""
        make().save(modules / "quest.json")
        save("manifest.json", '{"modules": {"quest": {"path": "quest.json", "temperature": 0.3, "max_tokens": 50}}}')
        game, lm = engine(), ConfigLM()
        game.programs.register("quest", make())
        await soon(game.invoke("quest", topic="war", lm=lm.lm))
        assert {(config.temperature, config.max_tokens) for config in lm.configs} == {(0.3, 50)}
