"""What is told of the tools of ReAct programs: to the language model, and to the game."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted

from dspyreload import DSPyEngine
from tests.lm.test_react import WHO, World, asked, scripted, uses
from tests.talk.conftest import MakeEngine, in_reactor, serve, soon


@pytest_twisted.async_yield_fixture()
async def engine(modules: Path) -> AsyncIterator[MakeEngine]:
    """Make an engine of the modules directory; it is closed when the test is over."""
    made: list[DSPyEngine] = []

    def make() -> DSPyEngine:
        made.append(DSPyEngine(modules))
        serve(made[0], "guard", World().agent())
        return made[0]

    yield make
    await soon(made[0].close())


@in_reactor
async def test_a_failure_is_told_without_the_servers_paths(engine: MakeEngine) -> None:
    """DSPy itself would put the traceback into the prompt, with the files and lines of the game."""
    lm = scripted(uses("fails", place="inn"))
    await soon(engine().invoke("guard", lm=lm.lm, **WHO))
    assert "Execution error in fails: LookupError: there is no inn" in asked(lm, 1)
    assert ".py" not in asked(lm, 1)


@in_reactor
async def test_the_reply_names_the_tools_that_ran(engine: MakeEngine) -> None:
    """In order, with what they were given and what came of it, as for a tool-enabled module."""
    lm = scripted(uses("fails", place="inn"), uses("plain", place="inn"))
    reply = await soon(engine().invoke("guard", lm=lm.lm, **WHO))
    told = [(call.name, dict(call.args), call.result, call.error) for call in reply.tool_calls]
    assert told == [
        ("fails", {"place": "inn"}, None, "LookupError: there is no inn"),
        ("plain", {"place": "inn"}, "Ann in the inn (reactor)", None),
    ]
