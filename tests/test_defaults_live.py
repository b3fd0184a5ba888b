"""Defaults in a running server: who took one changes with it, in one commit, and nobody else does."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dspy
import pytest
from twisted.logger import capturedLogs, formatEvent

from dspyreload import DSPyEngine, HotReloadService
from dspyreload.errors import OtherInputs
from dspyreload.model.events import HotReloadEvent, LMHealthChanged, ManifestChanged, ModuleChanged, ReloadError
from dspyreload.testing import ScriptedLM
from tests.conftest import MODULE, Save, module_text
from tests.test_hot_signature import said
from tests.test_saved_programs import MakeEngine, StartService, engine, in_reactor, service, soon

__all__ = ["engine", "service"]

SMALL = '{"instruction": "You are a smith."}'
OWN = json.dumps({"instruction": "You are a bard.", "signature": MODULE["signature"]})
TALK = {"inputs": [{"name": "heard"}], "outputs": [{"name": "said"}]}
LISTED: dict[str, Any] = {
    "npc.smith": {"path": "npc/smith.json"},
    "npc.town.guard": {"path": "npc/town/guard.json"},
    "npc.bard": {"path": "npc/bard.json"},
    "npc.full": {"path": "npc/full.json"},
    "quest.lost": {"path": "quest/lost.json", "tags": ["quest"]},
}
SMALL_ONES = ["npc.smith", "npc.town.guard", "quest.lost"]


def manifest(defaults: Any = None, **entries: Any) -> str:
    """Return a manifest of all modules, with these defaults."""
    modules = {name: {**row, **entries.get(name.rpartition(".")[2], {})} for name, row in LISTED.items()}
    return json.dumps({"modules": modules} | ({"defaults": defaults} if defaults is not None else {}))


@pytest.fixture
def village(save: Save) -> Save:
    """Three modules that say nothing but their instruction, one with fields of its own, one in the full form."""
    for name in SMALL_ONES:
        save(LISTED[name]["path"], SMALL)
    save("npc/bard.json", OWN)
    save("npc/full.json", module_text("npc.full"))
    save("manifest.json", manifest())
    return save


class Watching:
    """An engine and its service, with all events from now on."""

    def __init__(self, game: DSPyEngine, watching: HotReloadService) -> None:
        self.game, self.service = game, watching
        self.events: list[HotReloadEvent] = []
        watching.subscribe(self.events.append)

    async def after(self, kind: type[Any], change: Any, *arguments: Any, path: str = "") -> None:
        """Do something; wait for an event of a kind (with ``path``: of that file), and for all that come with it."""
        fired = self.service.next_event(kind)
        change(*arguments)
        while path not in ("", getattr(await soon(fired), "path", "")):
            fired = self.service.next_event(kind)
        await self.all_heard()

    async def all_heard(self) -> None:
        """Look at everything once more, and wait until all events of that are heard: one of ours comes last."""
        await soon(self.game.reload_all())
        last = self.service.next_event(LMHealthChanged)
        self.game.live.publish((LMHealthChanged(generation=0, lm="", healthy=True, reason="", retry_in=0.0),))
        await soon(last)

    def changed(self) -> list[str]:
        """Return the ids of the modules that changed since, sorted; they did so in one commit."""
        found = [event for event in self.events if isinstance(event, ModuleChanged)]
        assert len({event.generation for event in found}) <= 1
        return sorted(event.module_id for event in found)


@pytest.fixture
def watch(engine: MakeEngine, service: StartService) -> Any:
    """Make an engine and start its service."""

    async def start(lm: Any = None, register: Iterable[tuple[str, str]] = ()) -> Watching:
        game = engine(lm)
        for name, fields in register:
            game.signatures.register(name, dspy.Signature(fields))
        return Watching(game, await service(game))

    return start


def served(game: DSPyEngine) -> dict[str, Any]:
    """Return the very version of each module."""
    return dict(game.snapshot)


@pytest.mark.usefixtures("village")
class TestTheManifest:
    @pytest.mark.parametrize(
        ("defaults", "takers"),
        [
            ({"signature": TALK}, SMALL_ONES),
            ({"predictor_type": "chain_of_thought"}, ["npc.bard", *SMALL_ONES]),
            ({"folders": {"npc": {"signature": TALK}}}, ["npc.smith", "npc.town.guard"]),
            ({"folders": {"npc/town": {"signature": TALK}}}, ["npc.town.guard"]),
            ({"tags": {"quest": {"signature": TALK}}}, ["quest.lost"]),
        ],
    )
    @in_reactor
    async def test_who_takes_a_new_default_changes(
        self, watch: Any, village: Save, defaults: Any, takers: list[str]
    ) -> None:
        """All of them in one commit; the others are the very versions that they were."""
        found = await watch()
        before = served(found.game)
        await found.after(ManifestChanged, village, "manifest.json", manifest(defaults))
        assert found.changed() == takers
        after = served(found.game)
        assert sorted(name for name in after if after[name] is not before[name]) == takers

    @in_reactor
    async def test_who_took_one_that_goes_changes_back(self, watch: Any, village: Save) -> None:
        """To what is said next, or to the default signature."""
        village("manifest.json", manifest({"signature": TALK, "tags": {"quest": {"signature": MODULE["signature"]}}}))
        found = await watch()
        assert found.game["quest.lost"].signature.input_names() == ("player_message",)
        await found.after(ManifestChanged, village, "manifest.json", manifest({"signature": TALK}))
        assert found.changed() == ["quest.lost"]
        assert found.game["quest.lost"].signature.input_names() == ("heard",)
        found.events.clear()
        await found.after(ManifestChanged, village, "manifest.json", manifest())
        assert found.changed() == SMALL_ONES
        assert found.game["npc.smith"].signature.input_names() == ("player_message", "conversation_history")

    @in_reactor
    async def test_calls_bring_its_fields(self, watch: Any, village: Save) -> None:
        """The next call has them; one that brings the old ones is told."""
        found = await watch(ScriptedLM({"response": "Aye.", "said": "Hm.", "reasoning": "He shouts."}).lm)
        assert await said(found.game.invoke("npc.smith", player_message="Hello")) == {"response": "Aye."}
        told = manifest({"folders": {"npc": {"signature": TALK, "predictor_type": "chain_of_thought"}}})
        await found.after(ManifestChanged, village, "manifest.json", told)
        thought = {"reasoning": "He shouts.", "said": "Hm."}
        assert await said(found.game.invoke("npc.smith", heard="Hello")) == thought
        assert found.game.fields("npc.smith").input_names() == ("heard",)
        with pytest.raises(OtherInputs):
            await soon(found.game.invoke("npc.smith", player_message="Hello"))
        assert await said(found.game.invoke("quest.lost", player_message="Hello")) == {"response": "Aye."}

    @in_reactor
    async def test_the_full_form_is_not_touched(self, watch: Any, village: Save) -> None:
        """Whatever the defaults say, and however often: it says all itself."""
        found = await watch(ScriptedLM({"response": "Aye.", "emotion": "calm"}).lm)
        before = found.game.snapshot["npc.full"]
        for defaults in ({"signature": TALK, "predictor_type": "chain_of_thought"}, {"signature_name": "none"}, {}):
            await found.after(ManifestChanged, village, "manifest.json", manifest(defaults))
            assert found.game.snapshot["npc.full"] is before
        assert await said(found.game.invoke("npc.full", player_message="x")) == {"response": "Aye.", "emotion": "calm"}

    @in_reactor
    async def test_of_a_default_only_what_is_taken_counts(self, watch: Any, village: Save) -> None:
        """A module with fields of its own took the predictor type: the default's fields are none of it."""
        think = {"predictor_type": "chain_of_thought"}
        village("manifest.json", manifest({**think, "signature": MODULE["signature"]}))
        found = await watch()
        before = found.game.snapshot["npc.bard"]
        await found.after(ManifestChanged, village, "manifest.json", manifest({**think, "signature": TALK}))
        assert found.changed() == SMALL_ONES
        assert found.game.snapshot["npc.bard"] is before

    @in_reactor
    async def test_a_program_takes_none(self, watch: Any, village: Save) -> None:
        """A module whose entry names a program is served by that, and does not change with the defaults."""
        village("manifest.json", manifest({"signature": TALK}, smith={"program": "forge"}))
        found = await watch()
        await found.after(ModuleChanged, lambda: found.game.programs.register("forge", dspy.Predict("order -> blade")))
        before = found.game.snapshot["npc.smith"]
        found.events.clear()
        await found.after(ManifestChanged, village, "manifest.json", manifest(smith={"program": "forge"}))
        assert found.changed() == ["npc.town.guard", "quest.lost"]
        assert found.game.snapshot["npc.smith"] is before

    @in_reactor
    async def test_a_file_elsewhere_that_was_broken_holds_up_no_default(self, watch: Any, village: Save) -> None:
        """What is said of a folder is none of its business; the last good version of that file goes on serving."""
        found = await watch()
        await found.after(ReloadError, village, "quest/lost.json", "{")
        village("manifest.json", manifest({"folders": {"npc": {"signature": TALK}}}))
        await found.all_heard()
        assert found.changed() == ["npc.smith", "npc.town.guard"]
        assert "quest.lost" in found.game.snapshot

    @in_reactor
    async def test_one_that_does_not_fit_a_taker_keeps_all_out(self, watch: Any, village: Save) -> None:
        """Whole or not at all: what took the one before goes on with it, and the log says whose demonstration."""
        demos = [{"inputs": {"player_message": "x"}, "outputs": {"response": "y"}}]
        village("npc/smith.json", json.dumps({"instruction": "x", "demos": demos}))
        found = await watch()
        before = served(found.game)
        await found.after(ReloadError, village, "manifest.json", manifest({"signature": TALK}), path="manifest.json")
        assert served(found.game) == before
        errors = [event for event in found.events if isinstance(event, ReloadError)]
        assert any('demo 1 has "player_message"' in event.error for event in errors)
        assert any(event.path == "manifest.json" and "npc/smith.json" in event.error for event in errors)


@pytest.mark.usefixtures("village")
class TestTheGame:
    @pytest.mark.parametrize(
        ("scope", "takers"),
        [({}, SMALL_ONES), ({"folder": "npc"}, ["npc.smith", "npc.town.guard"]), ({"tag": "quest"}, ["quest.lost"])],
    )
    @in_reactor
    async def test_a_default_that_it_sets_while_the_server_runs_is_live(
        self, watch: Any, scope: Any, takers: list[str]
    ) -> None:
        """For the modules below a folder, of a tag, or all: in one commit, with the fields that calls then bring."""
        found = await watch(ScriptedLM({"response": "Aye.", "answer": "Fine."}).lm, [("ask", "question -> answer")])
        before = served(found.game)
        await found.after(ModuleChanged, lambda: found.game.signatures.set_default("ask", **scope))
        assert found.changed() == takers
        assert sorted(name for name, version in served(found.game).items() if version is not before[name]) == takers
        assert await said(found.game.invoke(takers[0], question="?")) == {"answer": "Fine."}
        with pytest.raises(OtherInputs):
            await soon(found.game.invoke(takers[0], player_message="?"))
        for name in set(SMALL_ONES) - set(takers):
            assert await said(found.game.invoke(name, player_message="?")) == {"response": "Aye."}

    @in_reactor
    async def test_the_manifest_comes_before_it(self, watch: Any, village: Save) -> None:
        """What the manifest gives fields is not changed by what the game says."""
        village("manifest.json", manifest({"folders": {"npc": {"signature": TALK}}}))
        found = await watch(register=[("ask", "question -> answer")])
        await found.after(ModuleChanged, found.game.signatures.set_default, "ask")
        assert found.changed() == ["quest.lost"]
        assert found.game["npc.smith"].signature.input_names() == ("heard",)

    @in_reactor
    async def test_one_that_is_not_registered_yet_is_waited_for(self, watch: Any) -> None:
        """The versions before serve meanwhile, the log says for what, and registering it makes all live at once."""
        with capturedLogs() as logged:
            found = await watch(ScriptedLM({"response": "Aye.", "answer": "Fine."}).lm)
            before = served(found.game)
            found.game.signatures.set_default("ask")
            await found.all_heard()
            assert served(found.game) == before
        words = [str(formatEvent(event)) for event in logged]
        for name in SMALL_ONES:
            assert f'{name} waits: the signature "ask" is not registered, and it is the game\'s default' in words
        assert await said(found.game.invoke("npc.smith", player_message="?")) == {"response": "Aye."}
        await found.after(ModuleChanged, found.game.signatures.register, "ask", dspy.Signature("question -> answer"))
        assert found.changed() == SMALL_ONES
        assert await said(found.game.invoke("npc.smith", question="?")) == {"answer": "Fine."}

    @in_reactor
    async def test_one_of_the_manifest_is_waited_for_too(self, watch: Any, village: Save) -> None:
        """The manifest is in force, and its modules follow when the game registers what it names."""
        found = await watch()
        before = served(found.game)
        await found.after(ManifestChanged, village, "manifest.json", manifest({"signature_name": "ask"}))
        assert served(found.game) == before
        await found.after(ModuleChanged, found.game.signatures.register, "ask", dspy.Signature("question -> answer"))
        assert found.changed() == SMALL_ONES

    @in_reactor
    async def test_the_same_once_more_changes_nothing(self, watch: Any) -> None:
        """Nor does one for what no module has; what is served stays the very version that it was."""
        found = await watch(register=[("ask", "question -> answer")])
        await found.after(ModuleChanged, found.game.signatures.set_default, "ask")
        found.events.clear()
        before = served(found.game)
        for scope in ({}, {"tag": "none"}, {"folder": "none"}):
            found.game.signatures.set_default("ask", **scope)
            await found.all_heard()
        assert (served(found.game), found.changed()) == (before, [])

    @in_reactor
    async def test_before_a_service_runs_it_is_live_at_once(self, engine: MakeEngine) -> None:
        """A game sets its defaults where it makes its engine."""
        game = engine()
        game.signatures.register("ask", dspy.Signature("question -> answer"))
        game.signatures.set_default("ask", folder="npc/town")
        assert [game[name].signature_name for name in SMALL_ONES] == ["", "ask", ""]


@in_reactor
async def test_without_a_manifest_the_folder_counts(watch: Any, save: Save, modules: Path) -> None:
    """The game's default is for the files below it, those that come later too."""
    save("npc/smith.json", SMALL)
    save("quest.json", SMALL)
    found = await watch(register=[("ask", "question -> answer")])
    await found.after(ModuleChanged, lambda: found.game.signatures.set_default("ask", folder="npc/"))
    assert found.changed() == ["npc.smith"]
    await found.after(ModuleChanged, save, "npc/guard.json", SMALL)
    assert [found.game[name].signature_name for name in ("npc.guard", "npc.smith", "quest")] == ["ask", "ask", ""]
