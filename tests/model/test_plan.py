"""A plan is a function of what is served and what was seen."""

from __future__ import annotations

import copy
import json
import os
from typing import Any

import msgspec
import pytest

from dspyreload.model.events import HotReloadEvent, ModuleChanged, ModuleDeleted, ModuleSkipped, ReloadError
from dspyreload.model.faults import Fault
from dspyreload.model.finding import Finding, Kind, Known, Look
from dspyreload.model.manifest import MANIFEST
from dspyreload.model.module import FieldDefinition, SignatureDefinition
from dspyreload.model.plan import Plan, apply, make_plan
from dspyreload.model.registrations import Registered
from dspyreload.model.snapshot import EMPTY, ModuleVersion, Snapshot
from tests.conftest import module_text
from tests.disk.conftest import Server, named

STAMPS = (("npc.json", (1, 2, 3, 4, 5)),)


def good(version: str = "0" * 64, **changes: Any) -> Finding:
    found = ModuleVersion(module_id="npc", path="npc.json", version=version, data=b"{}")
    values: dict[str, Any] = {"digest": version, "module_id": "npc", "stamps": STAMPS}
    return Finding(path="npc.json", kind=Kind.GOOD, version=found, **{**values, **changes})


def planned(snapshot: Snapshot, known: Known, *found: Finding, ripe: str | None = None, **look: Any) -> Plan:
    seen = Look(**{"findings": {each.path: each for each in found}, "unchanged": {}, "desired": None, **look})
    decided = None if ripe is None else frozenset(ripe.split())
    return make_plan(snapshot, known, seen, ripe=decided, asked=frozenset(), now=1.0)


def started() -> tuple[Snapshot, Known]:
    known = Known()
    plan = planned(EMPTY, known, good())
    apply(known, plan)
    return plan.snapshot, known


def test_a_plan_changes_nothing_that_it_is_given() -> None:
    """Snapshot, knowledge and look are the same values after planning as before."""
    snapshot, known = started()
    before = copy.deepcopy(known)
    planned(snapshot, known, good("1" * 64))
    planned(snapshot, known, Finding(path="npc.json", kind=Kind.MISSING, module_id="npc", fault=Fault("gone")))
    assert known == before
    assert (snapshot.generation, snapshot["npc"].version) == (1, "0" * 64)


def test_the_same_plan_comes_of_the_same_values() -> None:
    """Planning twice gives equal events: nothing but the arguments decides."""
    snapshot, known = started()
    one, other = (planned(snapshot, known, good("1" * 64)) for _ in range(2))
    assert one.events == other.events


def test_what_is_seen_unchanged_keeps_the_very_snapshot() -> None:
    """Equal means skip: no commit, and the object that serves goes on serving."""
    snapshot, known = started()
    plan = planned(snapshot, known)
    assert plan.snapshot is snapshot
    assert plan.events == ()


def test_the_first_plan_commits_even_nothing() -> None:
    """After the first reading the generation is 1, whatever there was."""
    assert planned(EMPTY, Known()).snapshot.generation == 1


def test_a_new_version_is_one_event_of_the_new_generation() -> None:
    """The event names module, path, version and the generation that serves it; the plan says when it was saved."""
    snapshot, known = started()
    plan = planned(snapshot, known, good("1" * 64))
    assert plan.events == (ModuleChanged(generation=2, module_id="npc", path="npc.json", version="1" * 64),)
    assert plan.saved_at == {"npc": 4e-9}


@pytest.mark.parametrize(
    ("changes", "skips"),
    [({"stamps": (("npc.json", (1, 2, 3, 9, 9)),)}, 1), ({"racy": True}, 0)],
)
def test_a_file_saved_without_a_change_is_skipped_once(changes: dict[str, Any], skips: int) -> None:
    """Same bytes under a new stat signature are a skip; the same file read again for safety is none."""
    snapshot, known = started()
    plan = planned(snapshot, known, unchanged={"npc.json": msgspec.structs.replace(good(), **changes)})
    assert len(named(plan.events, ModuleSkipped)) == skips
    assert plan.snapshot is snapshot


def test_events_come_in_the_order_of_their_kinds(server: Server) -> None:
    """The manifest, what changed, what is gone, what is rejected, what is as it was; each kind also by itself."""
    for name in "abcd":
        server.save(f"{name}.json", module_text(name))
    server.save(MANIFEST, json.dumps({"modules": {name: {"path": f"{name}.json"} for name in "abcd"}}))
    server.start()
    server.save("b.json", "{")
    server.look("b.json")
    server.save("a.json", module_text("a", instruction="New."))
    os.utime(server.root / "d.json", ns=(1, 1))
    server.save(MANIFEST, json.dumps({"modules": {name: {"path": f"{name}.json"} for name in "abd"}}))
    plan = server.look()
    assert plan.events == (*plan.manifest, *plan.changed, *plan.deleted, *plan.errors, *plan.skipped)
    kinds = [type(event).__name__ for event in plan.events]
    assert kinds == ["ManifestChanged", "ModuleChanged", "ModuleDeleted", "ReloadError", "ModuleSkipped"]


def test_an_empty_directory_in_its_place_does_not_become_the_root() -> None:
    """The identity that is known stays that of the directory that held the files."""
    snapshot, known = started()
    apply(known, planned(snapshot, known, root=(1, 1)))
    plan = planned(snapshot, known, root=(1, 2), hollow=True)
    apply(known, plan)
    assert (plan.root, known.root) == ((1, 2), (1, 1))
    apply(known, planned(snapshot, known, root=(1, 3)))
    assert known.root == (1, 3)


def test_a_racy_file_is_remembered_until_it_is_read_again() -> None:
    """What was read in the tick of its own change is listed for the next pass, and no longer after that."""
    snapshot, known = started()
    apply(known, planned(snapshot, known, good("1" * 64, racy=True)))
    assert known.racy == {"npc.json"}
    apply(known, planned(snapshot, known))
    assert known.racy == {"npc.json"}
    apply(known, planned(snapshot, known, unchanged={"npc.json": good("1" * 64)}))
    assert known.racy == set()


def test_a_file_that_is_gone_is_forgotten() -> None:
    """Nothing is kept of a file that no manifest lists, once it is gone."""
    snapshot, known = started()
    known.missing = frozenset({"npc.json"})
    missing = Finding(path="npc.json", kind=Kind.MISSING, module_id="npc", fault=Fault("the file is missing"))
    plan = planned(snapshot, known, missing, ripe="npc.json")
    assert plan.events == (ModuleDeleted(generation=2, module_id="npc"),)
    apply(known, plan)
    assert known.findings == {}
    assert known.claims.get("npc", ()) == ()


def test_text_files_are_remembered_with_who_uses_them() -> None:
    """A text file leads to the modules that are made of it, until they no longer are."""
    snapshot, known = started()
    stamp = (1, 2, 3, 4, 5)
    apply(known, planned(snapshot, known, good("1" * 64, stamps=(*STAMPS, ("rules.md", stamp)))))
    assert known.users == {"rules.md": ("npc.json",)}
    apply(known, planned(snapshot, known, good("2" * 64)))
    assert known.users.get("rules.md", ()) == ()


def test_a_problem_is_said_once() -> None:
    """A folder that can't be listed is one warning, until something else is wrong with it."""
    snapshot, known = started()
    problems = {"npc": "the folder can't be listed"}
    first = planned(snapshot, known, problems=problems)
    assert first.warnings == (("npc", Fault("the folder can't be listed")),)
    apply(known, first)
    assert planned(snapshot, known, problems=problems).warnings == ()
    assert planned(snapshot, known, problems={"npc": "another"}).warnings == (("npc", Fault("another")),)


def test_a_file_that_no_entry_lists_is_noted_once(server: Server) -> None:
    """One note for each file, not one for each pass."""
    server.save("a.json", module_text("a"))
    server.save(MANIFEST, '{"modules": {"a": {"path": "a.json"}}}')
    server.save("old.json", module_text("old"))
    notes = [path for path, _fault in server.start().notes]
    server.save("new.json", module_text("new"))
    notes += [path for _ in range(3) for path, _fault in server.look().notes]
    assert notes == ["old.json", "new.json"]


@pytest.mark.parametrize("path", ["old.json", "npc/town/Ñandú 2.json", "npc/" + "very_" * 20 + "old.json"])
def test_what_is_told_of_it_is_the_entry_that_has_it_served(server: Server, path: str) -> None:
    """Who copies it into the manifest is done."""
    server.save(MANIFEST, '{"modules": {}}')
    server.save(path, '{"instruction": "x"}')
    ((noted, fault),) = server.start().notes
    assert (noted, fault.message) == (path, "manifest.json does not list this file; it is not served")
    begin, _, entry = fault.mend.partition('"modules" there: ')
    assert begin == "to serve it, add to "
    server.save(MANIFEST, '{"modules": {' + entry + "}}")
    server.settle()
    assert [(name, version.path) for name, version in server.snapshot.items()] == [
        (path.removesuffix(".json").replace("/", "."), path)
    ]


def test_a_warning_is_said_once_for_a_file_that_is_renamed(server: Server) -> None:
    """A file under a new name waits for its second look, and its unknown key is said once."""
    file = server.save("a.json", module_text("npc", mood="x"))
    assert [note.message for _path, note in server.start().warnings] == ['"mood" is not known and is ignored']
    file.rename(server.root / "b.json")
    notes = [note.message for _ in range(3) for _path, note in server.look().warnings]
    assert len(notes) <= 1
    assert server.snapshot["npc"].path == "b.json"


ANSWERS: list[tuple[str | None, type[HotReloadEvent] | None, bool]] = [
    (module_text("npc", instruction="New."), ModuleChanged, False),
    (module_text("npc"), ModuleSkipped, False),
    ("{", ReloadError, True),
    (None, ModuleDeleted, True),
    (module_text("other"), ModuleDeleted, False),
]


@pytest.mark.parametrize(("text", "kind", "second"), ANSWERS, ids=["new", "same", "broken", "deleted", "moved"])
def test_who_asks_for_a_module_is_answered(
    server: Server, text: str | None, kind: type[HotReloadEvent], second: bool
) -> None:
    """The answer is that module's event; where a second look decides, the answer comes with that."""
    server.save("npc.json", module_text("npc"))
    server.start()
    if text is None:
        (server.root / "npc.json").unlink()
    else:
        server.save("npc.json", text)
    plan = server.look("npc.json", asked=["npc"])
    if second:
        assert plan.answers == {}
        plan = server.look("npc.json", asked=["npc"])
    assert type(plan.answers["npc"]) is kind


def test_a_rejection_that_was_said_is_still_the_answer(server: Server) -> None:
    """Who asks for a module whose file stays broken gets its rejection, though nobody else hears it again."""
    server.save("npc.json", module_text("npc"))
    server.start()
    server.save("npc.json", "{")
    server.settle("npc.json")
    plan = server.look("npc.json", asked=["npc"])
    answer = plan.answers["npc"]
    assert isinstance(answer, ReloadError)
    assert (answer.path, answer.serving) == ("npc.json", server.snapshot["npc"].version)
    assert plan.events == ()


@pytest.mark.parametrize("manifest", [None, '{"modules": {}}'])
def test_an_id_that_is_no_module_is_answered_with_none(server: Server, manifest: str | None) -> None:
    """Asking for what is not there is no event."""
    if manifest is not None:
        server.save(MANIFEST, manifest)
    server.start()
    assert server.look(asked=["nobody"]).answers == {"nobody": None}


def test_nobody_is_answered_who_did_not_ask(server: Server) -> None:
    """Events are for subscribers; answers are for who asked."""
    server.save("npc.json", module_text("npc"))
    assert server.start().answers == {}


def signature(*outputs: str) -> SignatureDefinition:
    fields = tuple(FieldDefinition(name=name) for name in outputs)
    return SignatureDefinition(inputs=(FieldDefinition(name="player_message"),), outputs=fields)


def test_a_module_waits_for_its_signature(server: Server) -> None:
    """A file that names a signature nobody registered is pending, says so, and goes live when somebody does."""
    server.save("npc.json", module_text("npc", signature=None))
    plan = server.start()
    words = 'the signature "npc.dialogue" is not registered, and its file brings none'
    assert (plan.pending, dict(plan.snapshot), plan.events) == ({"npc": words}, {}, ())
    assert server.known.pending == {"npc.json": ("npc", words)}
    server.registered["npc.dialogue"] = Registered(signature("response", "emotion"), "first")
    plan = server.look(MANIFEST, signatures=["npc.dialogue"])
    assert [type(event) for event in plan.events] == [ModuleChanged]
    assert (set(plan.snapshot), plan.pending, server.known.pending) == ({"npc"}, {}, {})


def test_a_file_that_the_manifest_does_not_list_waits_no_longer(server: Server) -> None:
    """What is not served under any registration waits for none."""
    server.save("npc.json", module_text("npc", signature=None))
    server.start()
    server.save("other.json", module_text("other"))
    server.save(MANIFEST, '{"modules": {"other": {"path": "other.json"}}}')
    server.settle()
    assert (set(server.snapshot), server.known.pending) == ({"other"}, {})


def test_another_registration_is_another_version(server: Server) -> None:
    """A signature that is registered anew checks the file again; one that does not fit is rejected, last good."""
    server.registered["npc.dialogue"] = Registered(signature("response", "emotion"), "first")
    server.save("npc.json", module_text("npc", signature=None))
    version = server.start().snapshot["npc"]
    server.registered["npc.dialogue"] = Registered(signature("response", "emotion"), "second")
    plan = server.look(MANIFEST, signatures=["npc.dialogue"])
    assert [type(event) for event in plan.events] == [ModuleChanged]
    assert (plan.snapshot["npc"].version, plan.snapshot["npc"].registration) == (version.version, "second")
    server.registered["npc.dialogue"] = Registered(signature("response"), "third")
    plan = server.look(MANIFEST, signatures=["npc.dialogue"])
    events = plan.events + (server.look(*plan.again, signatures=["npc.dialogue"]).events if plan.again else ())
    (error,) = named(events, ReloadError)
    assert 'demo 1 has "emotion"' in error.error
    assert server.snapshot["npc"].registration == "second"
