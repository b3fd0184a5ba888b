"""What is an outage of a language model, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.logger import capturedLogs, formatEvent

from dspyreload.testing import ChatServer, Refuse, ScriptedLM
from tests.conftest import Save, module_text
from tests.talk import real
from tests.talk.conftest import AYE, HELLO, MakeEngine, in_reactor, soon
from tests.talk.real import DOWN, Game, settings

pytestmark = pytest.mark.usefixtures("smith")

alone, held, server = real.alone, real.held, real.server


@pytest.mark.parametrize("answer", [Refuse(400, "the prompt is too long"), "Grmbl."], ids=["refused", "out of form"])
@in_reactor
async def test_what_one_prompt_brings_about_is_none(engine: MakeEngine, server: ChatServer, answer: object) -> None:
    """A prompt that is too long, and an answer out of form, say nothing of the next call: all go on asking."""
    server.answers = [answer]
    game = Game(engine, server)
    assert [await game.fallback() for _ in range(4)] == ["demos"] * 4
    server.answers = [AYE]
    assert await game.fallback() == ""
    assert game.events == []


@in_reactor
async def test_an_answer_out_of_form_ends_one(engine: MakeEngine, server: ChatServer) -> None:
    """The model answers again, whatever it says."""
    game = Game(engine, server)
    await game.break_down()
    game.clock.now += 1
    server.answers = ["Grmbl."]
    assert await game.fallback() == "demos"
    assert game.state.healthy


@in_reactor
async def test_one_that_nobody_asks_any_more_is_none_for_ever(
    engine: MakeEngine, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A game that makes a language model for each call: when too many fail, the oldest is forgotten, and not said to
    answer."""
    import dspy

    monkeypatch.setattr("dspyreload.lm.health._MOST", 1)
    game = Game(engine, server)
    await game.break_down()
    await real.until(lambda: game.events)
    server.answers = [DOWN]
    other = dspy.LM("openai/other", api_base=server.url, api_key="none", cache=False, num_retries=0)
    with capturedLogs() as logs:
        await soon(game.ask(lm=other))
        await real.until(lambda: len(game.events) > 1)
    assert list(game.engine.live.ledger.lms) == ["openai/other"]
    assert (game.events[-1].lm, game.events[-1].healthy) == ("real", True)
    lines = [str(formatEvent(event)) for event in logs if "the LM real" in str(formatEvent(event))]
    assert lines == ["the LM real is forgotten: it has not been asked lately; health is ok"]


@in_reactor
async def test_the_demonstrations_have_none(engine: MakeEngine, save: Save) -> None:
    """A module without demonstrations does not take the LM ``demos`` away from those that have some."""
    save("mute.json", module_text("npc.mute", demos=[], fallback=[{"response": "Hm."}]))
    game = engine("demos", fallback="demos")
    await soon(game.reload_all())
    for _ in range(4):
        assert (await soon(game.invoke("npc.mute", **HELLO))).fallback == "lines"
    reply = await soon(game.invoke("npc.smith", **HELLO))
    assert (reply.lm, reply.fallback) == ("demos", "")


@in_reactor
async def test_a_slow_model_takes_no_place_from_another(
    engine: MakeEngine, held: real.HeldServer, modules: Path
) -> None:
    """Who waits for one that takes one call at a time holds none of the engine's places."""
    lms = {"slow": {**settings(held), "concurrency": 1}}
    game = engine(lms=lms, max_concurrency=2)
    slow = [game.invoke("npc.smith", lm="slow", **HELLO) for _ in range(3)]
    await held.next()
    quick = await soon(game.invoke("npc.smith", lm=ScriptedLM(AYE).lm, **HELLO))
    assert dict(quick) == AYE
    for call in slow:
        call.addErrback(lambda _failure: None)
        call.cancel()


@in_reactor
async def test_one_lms_failures_are_not_anothers(engine: MakeEngine, server: ChatServer) -> None:
    """Two that the game made itself are two, though they ask for the same model."""
    import dspy

    def of(url: str) -> object:
        return dspy.LM("openai/any", api_base=url, api_key="x", cache=False, num_retries=0)

    bad, good = of("http://127.0.0.1:9/v1"), of(server.url)
    game = engine(fallback="demos")
    assert [(await soon(game.invoke("npc.smith", lm=bad, **HELLO))).fallback for _ in range(4)] == ["demos"] * 4
    reply = await soon(game.invoke("npc.smith", lm=good, **HELLO))
    assert (reply.fallback, reply.lm) == ("", "openai/any")
    assert {name: state.healthy for name, state in game.live.ledger.lms.items()} == {"openai/any": False}
