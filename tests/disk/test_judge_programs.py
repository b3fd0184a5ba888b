"""Which registration serves a file, over passes: saved programs, templates, and what an entry asks for."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dspyreload.model.events import ModuleChanged, ModuleDeleted, ModuleSkipped, ReloadError
from dspyreload.model.faults import FaultError
from dspyreload.model.finding import Kind
from dspyreload.model.manifest import MANIFEST
from dspyreload.model.registrations import LMBounds, Registered, RegisteredProgram, shape_of
from dspyreload.model.snapshot import ModuleVersion
from tests.conftest import module_text
from tests.disk.conftest import Server, named
from tests.model.test_saved_state import BARE, QUEST, TITLE, bare, predictor, put, quest

STATE = json.dumps(quest(), indent=1)
WAITS = 'it is a saved DSPy program, and no program is registered as "quest"'


def again(program: RegisteredProgram, token: str) -> RegisteredProgram:
    """Return what a second registration of the same program is."""
    return msgspec.structs.replace(program, token=token)


def serving(server: Server) -> dict[str, str]:
    """Return what serves: by id, the registration."""
    return {module_id: version.registration for module_id, version in server.snapshot.items()}


def waiting(server: Server) -> dict[str, str]:
    """Return what waits: by id, for what."""
    return dict(server.known.pending.values())


def listed(server: Server, **modules: dict[str, Any]) -> None:
    """Write a manifest."""
    entries = {module_id: {"path": f"{module_id}.json", **values} for module_id, values in modules.items()}
    server.save(MANIFEST, json.dumps({"modules": entries}))


def words(plan: Any) -> list[str]:
    return [error.error for error in named(plan.events, ReloadError)]


class TestPending:
    def test_a_state_waits_for_its_template_and_goes_live_with_it(self, server: Server) -> None:
        """Nothing is rejected while it waits; the registration is looked for by name, at no other file."""
        server.save("quest.json", STATE)
        server.save("npc.json", module_text("npc"))
        plan = server.start()
        assert (serving(server), waiting(server), plan.errors) == ({"npc": ""}, {"quest": WAITS}, ())
        server.programs["quest"] = QUEST
        plan = server.look("npc.json", names=["program quest"])
        assert [event.module_id for event in named(plan.events, ModuleChanged)] == ["quest"]
        assert (serving(server), waiting(server)) == ({"npc": "", "quest": QUEST.token}, {})

    def test_what_waits_is_said_once(self, server: Server) -> None:
        """Another look, even at every byte, and another registration tell nothing new of it."""
        server.save("quest.json", STATE)
        assert server.start().pending == {"quest": WAITS}
        server.programs["other"] = QUEST
        for plan in (server.look(), server.look(deep=True), server.look(names=["program other"])):
            assert (plan.pending, plan.events) == ({}, ())
        assert waiting(server) == {"quest": WAITS}

    def test_the_version_before_serves_while_a_new_one_waits(self, server: Server) -> None:
        """A module that becomes a saved program nobody registered yet goes on as it was."""
        server.save("quest.json", module_text("quest"))
        server.start()
        before = server.snapshot["quest"]
        server.save("quest.json", STATE)
        plan = server.look("quest.json")
        assert (plan.events, plan.pending) == ((), {"quest": WAITS})
        assert server.snapshot["quest"] is before

    def test_what_waited_and_is_gone_waits_no_more(self, server: Server) -> None:
        """It never served, so that nothing is deleted either."""
        file = server.save("quest.json", STATE)
        server.start()
        file.unlink()
        assert server.settle("quest.json") == ()
        assert waiting(server) == {}

    def test_a_broken_state_is_rejected_without_waiting(self, server: Server) -> None:
        """What is wrong with the file by itself is said at once, template or not; what needs it, when it comes."""
        server.save("quest.json", json.dumps(put(quest(), "title/config", {})))
        server.save(
            "tale.json", json.dumps(put(quest(), "title/signature/fields/1", {"prefix": "Title:", "description": ""}))
        )
        assert words(server.start()) == [
            'the predictor "title" has "config", which a saved program may not set; delete it'
        ]
        assert waiting(server) == {"tale": WAITS.replace("quest", "tale")}
        server.programs["tale"] = QUEST
        (fault,) = words(server.look(names=["program tale"]))
        assert 'field 2 is "mood", and has the prefix of "title"' in fault

    def test_several_go_live_in_one_commit(self, server: Server) -> None:
        """All that one pass finds registered."""
        for name in ("quest", "tale", "saga"):
            server.save(f"{name}.json", STATE)
            server.programs[name] = again(QUEST, f"program {name}#1")
        programs, server.programs = server.programs, {}
        server.start()
        server.programs = programs
        plan = server.look(names=["program quest", "program tale", "program saga"])
        assert {event.generation for event in named(plan.events, ModuleChanged)} == {2}
        assert sorted(serving(server)) == ["quest", "saga", "tale"]


class TestRegisteredAgain:
    @pytest.fixture
    def live(self, server: Server) -> Server:
        """A server whose quest is served by the program of that name."""
        server.save("quest.json", STATE)
        server.programs["quest"] = QUEST
        server.start()
        return server

    def test_a_second_registration_makes_a_new_version(self, live: Server) -> None:
        """Of the same bytes; a look without it says nothing."""
        assert live.look().events == ()
        live.programs["quest"] = again(QUEST, "program quest#9")
        (event,) = named(live.look(names=["program quest"]).events, ModuleChanged)
        assert (event.module_id, event.version) == ("quest", live.snapshot["quest"].version)
        assert serving(live) == {"quest": "program quest#9"}

    def test_one_that_the_file_does_not_fit_is_told_at_once_and_serves_nothing(self, live: Server) -> None:
        """The bytes were there before: nobody is writing them. The version of the first registration serves on."""
        live.programs["quest"] = BARE
        plan = live.look(names=["program quest"])
        (error,) = named(plan.events, ReloadError)
        assert error.error.endswith('"quest" is one predictor without a name, and the file has "plan.predict", "title"')
        assert error.serving == live.snapshot["quest"].version
        assert (serving(live), plan.again) == ({"quest": QUEST.token}, frozenset())
        assert live.look(names=["program quest"]).events == ()
        live.programs["quest"] = again(QUEST, "program quest#9")
        live.look(names=["program quest"])
        assert serving(live) == {"quest": "program quest#9"}

    def test_the_same_bytes_again_are_skipped(self, live: Server) -> None:
        """A save without a change makes no version."""
        os.utime(live.save("quest.json", STATE), ns=(1, 1))  # a clock of the kernel may not have ticked between the two
        assert [type(event) for event in live.settle("quest.json")] == [ModuleSkipped]

    def test_a_version_whose_program_can_not_be_made_is_rejected(self, server: Server) -> None:
        """What DSPy says of it is the fault, and each good version is proven once before it goes live."""
        proven: list[ModuleVersion] = []

        def prove(version: ModuleVersion) -> None:
            proven.append(version)
            if b"Sing." in version.data:
                raise FaultError("DSPy can't make a program of it: boom")

        server.more["prove"] = prove
        server.programs["quest"] = QUEST
        server.save("quest.json", STATE)
        server.start()
        assert [version.version for version in proven] == [server.snapshot["quest"].version]
        server.save("quest.json", STATE.replace("Plan.", "Sing."))
        (error,) = named(server.settle("quest.json"), ReloadError)
        assert (error.error, error.line) == ("DSPy can't make a program of it: boom", 1)
        assert b"Plan." in server.snapshot["quest"].data


class TestTheEntryOfASavedProgram:
    def test_it_may_name_the_program(self, server: Server) -> None:
        """Several modules may be of one template; another name in the entry is another version."""
        for name in ("north", "south"):
            server.save(f"{name}.json", STATE)
        server.programs |= {"quest": QUEST, "tale": again(QUEST, "program tale#1")}
        listed(server, north={"program": "quest"}, south={"program": "quest"})
        server.start()
        assert serving(server) == {"north": QUEST.token, "south": QUEST.token}
        listed(server, north={"program": "quest"}, south={"program": "tale"})
        server.settle(MANIFEST)
        assert serving(server) == {"north": QUEST.token, "south": "program tale#1"}

    def test_it_may_name_signature_and_type(self, server: Server) -> None:
        """Without a template; one that is registered later under the id takes over."""
        server.save("quest.json", json.dumps(bare()))
        listed(server, quest={"signature_name": "names", "predictor_type": "predict"})
        server.start()
        assert waiting(server) == {"quest": 'the signature "names" is not registered'}
        server.registered["names"] = Registered(TITLE.definition, "signature names#1")
        server.look(signatures=["names"])
        assert serving(server) == {"quest": "signature names#1"}
        assert server.snapshot["quest"].module().predictors[""].instructions == "Name it."
        server.registered["names"] = Registered(TITLE.definition, "signature names#2")
        server.look(signatures=["names"])
        assert serving(server) == {"quest": "signature names#2"}
        server.programs["quest"] = BARE
        server.look(names=["program quest"])
        assert serving(server) == {"quest": BARE.token}

    def test_a_type_that_the_state_is_not_is_a_fault(self, server: Server) -> None:
        """A thinking program's state is no plain one's."""
        thought = predictor(shape_of("chain_of_thought", TITLE.definition), "Name it.")
        server.save("quest.json", json.dumps({"predict": thought, "metadata": quest()["metadata"]}))
        server.registered["names"] = Registered(TITLE.definition, "signature names#1")
        listed(server, quest={"signature_name": "names", "predictor_type": "predict"})
        assert 'one predictor without a name, and the file has "predict"' in words(server.start())[0]
        listed(server, quest={"signature_name": "names", "predictor_type": "chain_of_thought"})
        server.settle(MANIFEST)
        assert serving(server) == {"quest": "signature names#1"}

    def test_a_module_of_ours_may_be_served_by_a_program(self, server: Server) -> None:
        """One with a single predictor; for another it is rejected with the way out."""
        demos = [{"inputs": {"plan": "p", "mood": "m"}, "outputs": {"title": "t"}}]
        server.save("one.json", module_text("one", signature=None, demos=demos))
        server.save("two.json", module_text("two", signature=None, demos=demos))
        server.programs |= {"bare": BARE, "quest": QUEST}
        listed(server, one={"program": "bare"}, two={"program": "quest"})
        assert [
            "speaks for one; save the program with DSPy's save() instead" in text for text in words(server.start())
        ] == [True]
        assert serving(server) == {"one": BARE.token}


class TestTheEntryOfAnLM:
    BOUNDS = {"": LMBounds(100, 1.0), "smart": LMBounds(500, 0.5)}  # noqa: RUF012  # a constant

    @pytest.mark.parametrize(
        ("entry", "fault"),
        [
            ({"lm": "smart", "temperature": 0.5, "max_tokens": 500}, None),
            ({"temperature": 1, "max_tokens": 100}, None),
            ({"lm": "smrat"}, 'there is no LM of that name; did you mean "smart"?'),
            ({"lm": "smart", "temperature": 0.6}, '"temperature": 0.6; the LM "smart" allows 0.5'),
            ({"lm": "smart", "max_tokens": 501}, '"max_tokens": 501; the LM "smart" allows 500'),
            ({"max_tokens": 101}, '"max_tokens": 101; the LM allows 100'),
        ],
    )
    def test_it_stays_within_what_the_operator_allows(
        self, server: Server, entry: dict[str, Any], fault: str | None
    ) -> None:
        """A change of the manifest past it is rejected whole, and what served before serves on."""
        server.more["lms"] = self.BOUNDS
        server.save("npc.json", module_text("npc"))
        listed(server, npc={})
        server.start()
        listed(server, npc=entry)
        errors = [event.error for event in named(server.settle(MANIFEST), ReloadError)]
        assert any(fault in error for error in errors) if fault is not None else errors == []
        assert (found := server.snapshot["npc"].entry) is not None
        assert (found.lm, found.max_tokens) == (
            (entry.get("lm"), entry.get("max_tokens")) if fault is None else (None, None)
        )


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return (Path.touch, (self.file,))


@pytest.mark.parametrize("name", ["quest.pkl", "QUEST.PKL", "quest.pickle", "deep/program.pkl"])
def test_a_pickle_is_never_read(server: Server, reads: list[str], name: str) -> None:
    """Whatever lists or watches it: it is refused by its ending, and what it would run does not run."""
    ran = server.root.parent / "ran"
    server.save(name, pickle.dumps(Bomb(ran)))
    server.save(MANIFEST, json.dumps({"modules": {"quest": {"path": name}}}))
    server.programs["quest"] = QUEST
    plan = server.start()
    assert words(plan) == ["a pickle can run code, and is never read; save the program as .json"]
    assert server.look().events == ()
    (server.root / MANIFEST).unlink()
    server.options["extensions"] = (".json", ".pkl", ".pickle")
    server.settle()
    server.settle(name)
    assert (serving(server), reads.count(name), ran.exists()) == ({}, 0, False)


def test_a_pickle_under_another_name_is_no_json(server: Server, reads: list[str]) -> None:
    """Its bytes are text to us."""
    ran = server.root.parent / "ran"
    server.save("quest.json", pickle.dumps(Bomb(ran)))
    (fault,) = words(server.start())
    assert "UTF-8" in fault
    assert (server.known.findings["quest.json"].kind, ran.exists()) == (Kind.BROKEN, False)


def test_a_program_that_was_served_and_is_gone_is_deleted(server: Server) -> None:
    """As any other module."""
    server.save("quest.json", STATE)
    server.programs["quest"] = QUEST
    server.start()
    (server.root / "quest.json").unlink()
    assert [type(event) for event in server.settle("quest.json")] == [ModuleDeleted]
