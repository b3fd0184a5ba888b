"""A module that brings its own signature may change it while the game runs; callers that do not follow are told how."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest
from twisted.internet.defer import Deferred

from dspyreload import DSPyEngine, Reply
from dspyreload.errors import DSPyReloadError, MissingInput, OtherInputs, UnknownInput
from dspyreload.model.events import HotReloadEvent, ModuleChanged, ReloadError
from dspyreload.testing import ScriptedLM
from tests.conftest import MODULE, Save, module_text
from tests.test_saved_programs import MakeEngine, StartService, engine, in_reactor, service, soon

__all__ = ["engine", "service"]

SAY: Any = {"player_message": "Hello"}
AYE = {"response": "Aye.", "emotion": "calm"}
ASK: Any = {"question": "Hello", "place": "the forge"}


def other(inputs: tuple[str, ...] = ("question", "place"), outputs: tuple[Any, ...] = ("answer",), **more: Any) -> str:
    """Return the text of npc.smith with other fields; an output may be a name and its type."""
    named = [name if isinstance(name, tuple) else (name, "string") for name in outputs]
    signature = {
        "inputs": [{"name": name} for name in inputs],
        "outputs": [{"name": name, "field_type": kind} for name, kind in named],
    }
    return module_text(signature=signature, **{"demos": None, **more})


async def reloaded(game: DSPyEngine) -> HotReloadEvent:
    """Look at npc.smith; a file that is broken is looked at twice."""
    return await soon(game.reload_module("npc.smith"))


async def said(call: Deferred[Reply]) -> dict[str, Any]:
    """Wait for a reply; returns its output fields."""
    reply = await soon(call)
    return {**reply}


async def failure_of(deferred: Deferred[Any]) -> DSPyReloadError:
    with pytest.raises(DSPyReloadError) as caught:
        await soon(deferred)
    return caught.value


@pytest.fixture
def smith(save: Save) -> Path:
    """The file of npc.smith, with the input player_message and the outputs response and emotion."""
    return save("smith.json", module_text())


@pytest.mark.usefixtures("smith")
class TestAChange:
    @in_reactor
    async def test_the_next_call_has_the_new_fields(self, engine: MakeEngine, smith: Path) -> None:
        """Inputs, outputs and their types, in the prompt and in the reply; nobody restarts anything."""
        lm = ScriptedLM(AYE, {"answer": "Fine.", "price": "7"})
        game = engine(lm.lm)
        assert await said(game.invoke("npc.smith", **SAY)) == AYE
        smith.write_text(other(outputs=("answer", ("price", "int"))))
        assert isinstance(await reloaded(game), ModuleChanged)
        reply = await soon(game.invoke("npc.smith", **ASK))
        assert {**reply} == {"answer": "Fine.", "price": 7}
        assert reply.version == game.snapshot["npc.smith"].version
        old, new = lm.prompts
        assert ("player_message" in old.text, "question" in old.text) == (True, False)
        assert ("player_message" in new.text, "question" in new.text) == (False, True)
        assert "[[ ## price ## ]]" in new.text
        assert len(new.turns) == 1  # the demonstrations went with their fields

    @pytest.mark.parametrize("kind", ["predict", "chain_of_thought"])
    @in_reactor
    async def test_demonstrations_may_change_with_it(self, engine: MakeEngine, smith: Path, kind: str) -> None:
        """In one save, so that the two always fit."""
        demos = [{"inputs": {"question": "Ale?", "place": "bar"}, "outputs": {"answer": "Two coins."}}]
        game = engine()
        smith.write_text(other(demos=demos, predictor_type=kind))
        assert isinstance(await reloaded(game), ModuleChanged)
        lm = ScriptedLM({"reasoning": "hm", "answer": "Fine."})
        await soon(game.invoke("npc.smith", lm=lm.lm, **ASK))
        (prompt,) = lm.prompts
        assert "Ale?" in prompt.turns[0][1]
        assert "Two coins." in prompt.turns[1][1]

    @in_reactor
    async def test_demonstrations_that_do_not_follow_keep_it_out(self, engine: MakeEngine, smith: Path) -> None:
        """The change is rejected with the difference, and the fields before go on serving."""
        game = engine(ScriptedLM(AYE).lm)
        smith.write_text(other(demos=MODULE["demos"]))
        rejected = game.live.next_event(ReloadError)
        await reloaded(game)
        event = await soon(rejected)
        assert event.error.startswith('demo 1 has "player_message", which is no input of the signature ("question"')
        assert await said(game.invoke("npc.smith", **SAY)) == AYE

    @in_reactor
    async def test_a_saved_file_is_enough(self, engine: MakeEngine, service: StartService, smith: Path) -> None:
        """With the service running, a writer's save changes what calls bring."""
        game = engine(ScriptedLM({"answer": "Fine."}).lm)
        watching = await service(game)
        changed = watching.next_event(ModuleChanged)
        smith.write_text(other())
        assert (await soon(changed)).module_id == "npc.smith"
        assert await said(game.invoke("npc.smith", **ASK)) == {"answer": "Fine."}

    @in_reactor
    async def test_a_module_may_drop_its_block_and_take_it_back(self, engine: MakeEngine, smith: Path) -> None:
        """Without one it has the fields of the small form."""
        game, lm = engine(), ScriptedLM({"response": "Aye.", "answer": "Fine."})
        file = smith.rename(smith.with_name("npc.smith.json"))  # a small form has its id from its path
        await soon(game.reload_all())
        for text, fields, name in (
            ('{"instruction": "You are a smith."}', {**SAY, "conversation_history": "none"}, "response"),
            (other(), ASK, "answer"),
            ('{"instruction": "You are a smith."}', SAY, "response"),
        ):
            file.write_text(text)
            assert isinstance(await reloaded(game), ModuleChanged)
            assert name in await said(game.invoke("npc.smith", lm=lm.lm, **fields))

    @in_reactor
    async def test_only_that_module_changes(self, engine: MakeEngine, save: Save, smith: Path) -> None:
        """Another one that names the same signature has a block of its own."""
        save("bard.json", module_text("npc.bard"))
        game = engine(ScriptedLM(AYE).lm)
        smith.write_text(other())
        await reloaded(game)
        assert await said(game.invoke("npc.bard", **SAY)) == AYE


def by_invoke(game: DSPyEngine, fields: dict[str, Any]) -> Deferred[Any]:
    return game.invoke("npc.smith", fields)


def by_keywords(game: DSPyEngine, fields: dict[str, Any]) -> Deferred[Any]:
    return game.invoke("npc.smith", **fields)


def by_stream(game: DSPyEngine, fields: dict[str, Any]) -> Deferred[Any]:
    return game.stream("npc.smith", fields)


def by_bound(game: DSPyEngine, fields: dict[str, Any]) -> Deferred[Any]:
    bound: Deferred[Any] = game.bind("npc.smith")(fields)
    return bound


def by_preview(game: DSPyEngine, fields: dict[str, Any]) -> Deferred[Any]:
    return game.preview("npc.smith", fields)


Ask = Callable[[DSPyEngine, dict[str, Any]], Deferred[Any]]


class TestOldFields:
    @pytest.mark.parametrize("ask", [by_invoke, by_keywords, by_stream, by_bound, by_preview])
    @pytest.mark.parametrize(
        ("inputs", "kind", "words"),
        [
            (
                ("question", "place"),
                OtherInputs,
                ["no input 'player_message'", "needs 'question', 'place'", "its inputs are 'question', 'place'"],
            ),
            (("player_message", "place"), MissingInput, ["needs the input 'place'"]),
            (("question",), OtherInputs, ["no input 'player_message'", "needs 'question'"]),
            ((), UnknownInput, ["no input 'player_message'"]),
        ],
    )
    @in_reactor
    async def test_the_error_names_the_difference(
        self, engine: MakeEngine, smith: Path, ask: Ask, inputs: tuple[str, ...], kind: Any, words: list[str]
    ) -> None:
        """However the module is asked; no language model is, and what was good before is good no more."""
        lm = ScriptedLM(AYE)
        game = engine(lm.lm)
        await soon(ask(game, SAY))
        calls = len(lm.prompts)
        smith.write_text(other(inputs))
        assert isinstance(await reloaded(game), ModuleChanged)
        error = await failure_of(ask(game, SAY))
        assert type(error) is kind
        assert [each for each in ("npc.smith", *words) if each not in str(error)] == []
        assert len(lm.prompts) == calls

    @in_reactor
    async def test_one_error_says_both(self, engine: MakeEngine, smith: Path) -> None:
        """A caller that catches either of the two kinds is told, and finds what to change as values."""
        game = engine(ScriptedLM(AYE).lm)
        smith.write_text(other(("question", "place", "player_message")))
        await reloaded(game)
        error = await failure_of(game.invoke("npc.smith", player_message="x", mood="y", weather="z"))
        assert isinstance(error, UnknownInput)
        assert isinstance(error, MissingInput)
        assert isinstance(error, OtherInputs)
        assert (error.module_id, error.fields, error.missing) == (
            "npc.smith",
            ("mood", "weather"),
            ("question", "place"),
        )
        assert error.known == ("question", "place", "player_message")

    @pytest.mark.parametrize("fallback", ["demos", None])
    @in_reactor
    async def test_no_fallback_hides_it(self, engine: MakeEngine, smith: Path, fallback: Any) -> None:
        """It is the caller's to mend: a character that answers anyway would keep it from being seen."""
        game = engine(ScriptedLM(AYE).lm, fallback=fallback)
        smith.write_text(other(fallback=[{"answer": "Hm."}]))
        await reloaded(game)
        assert type(await failure_of(game.invoke("npc.smith", **SAY))) is OtherInputs
        failing = ScriptedLM(OSError("down"))
        assert (await soon(game.invoke("npc.smith", lm=failing.lm, **ASK)))["answer"] == "Hm."

    @in_reactor
    async def test_a_lease_keeps_the_fields_that_it_began_with(self, engine: MakeEngine, smith: Path) -> None:
        """A conversation goes on with its version; after ``refresh`` it is of the new fields."""
        game = engine(ScriptedLM(lambda prompt: {"answer": "Fine."} if "question" in prompt.text else AYE).lm)
        with game.lease() as talk:
            await soon(talk.invoke("npc.smith", **SAY))
            smith.write_text(other())
            await reloaded(game)
            assert await said(talk.invoke("npc.smith", **SAY)) == AYE
            assert type(await failure_of(game.invoke("npc.smith", **SAY))) is OtherInputs
            talk.refresh()
            assert type(await failure_of(talk.invoke("npc.smith", **SAY))) is OtherInputs
            assert await said(talk.invoke("npc.smith", **ASK)) == {"answer": "Fine."}


@pytest.mark.usefixtures("smith")
class TestARegisteredSignature:
    @in_reactor
    async def test_it_is_the_games_to_change(self, engine: MakeEngine, smith: Path) -> None:
        """A file whose block differs is rejected with the difference, until the game registers the same fields."""
        game = engine(ScriptedLM(lambda prompt: {"answer": "Fine."} if "question" in prompt.text else AYE).lm)
        game.signatures.register("npc.dialogue", dspy.Signature("player_message -> response, emotion"))
        smith.write_text(other())
        rejected = game.live.next_event(ReloadError)
        await reloaded(game)
        event = await soon(rejected)
        assert event.error == (
            'its signature differs from the registered "npc.dialogue": inputs "question", "place" only in the file;'
            ' inputs "player_message" only in the registered one; outputs "answer" only in the file;'
            ' outputs "response", "emotion" only in the registered one'
        )
        assert await said(game.invoke("npc.smith", **SAY)) == AYE
        game.signatures.register("npc.dialogue", dspy.Signature("question, place -> answer"))
        assert await said(game.invoke("npc.smith", **ASK)) == {"answer": "Fine."}

    @in_reactor
    async def test_one_that_comes_later_takes_over(self, engine: MakeEngine, smith: Path) -> None:
        """A module's block had served; the registered one does from then on, where the two agree."""
        game = engine(ScriptedLM(AYE).lm)
        before = game.snapshot["npc.smith"]
        game.signatures.register("npc.dialogue", dspy.Signature("player_message -> response, emotion"))
        after = game.snapshot["npc.smith"]
        assert (before.registration, after.registration != "", after.version) == ("", True, before.version)
        smith.write_text(module_text(signature=None))
        assert isinstance(await reloaded(game), ModuleChanged)
        assert await said(game.invoke("npc.smith", **SAY)) == AYE
