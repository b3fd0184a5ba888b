"""What is missing or broken at a first look is looked at again before it counts."""

from __future__ import annotations

import os

import pytest

from dspyreload.model.changes import Changes, and_more
from dspyreload.model.events import ModuleChanged, ModuleDeleted, ModuleSkipped, ReloadError
from dspyreload.model.faults import Fault
from dspyreload.model.finding import Finding, Kind, Known, Look
from dspyreload.model.manifest import MANIFEST
from dspyreload.model.snapshot import EMPTY
from tests.conftest import module_text
from tests.disk.conftest import Server, named

BROKEN = "{"


@pytest.fixture
def serving(server: Server) -> Server:
    """A server of one module, ``npc``, in ``npc.json``."""
    server.save("npc.json", module_text("npc"))
    server.start()
    return server


@pytest.mark.parametrize("text", [BROKEN, "", None])
@pytest.mark.parametrize("hint", [("npc.json",), ()], ids=["narrow", "whole"])
def test_a_first_look_only_suspects(serving: Server, text: str | None, hint: tuple[str, ...]) -> None:
    """A file that is missing or broken changes nothing and is said by nobody until a second look."""
    before = serving.snapshot
    if text is None:
        (serving.root / "npc.json").unlink()
    else:
        serving.save("npc.json", text)
    plan = serving.look(*hint)
    assert plan.snapshot is before
    assert plan.events == ()
    assert plan.again == {"npc.json"}


def test_a_second_look_too_early_does_not_count(serving: Server) -> None:
    """Within the quiet window a suspect stays one, however often it is looked at."""
    (serving.root / "npc.json").unlink()
    serving.look("npc.json")
    for _ in range(3):
        plan = serving.look("npc.json", early=True)
        assert plan.events == ()
        assert plan.again == {"npc.json"}
    assert named(serving.look("npc.json").events, ModuleDeleted)


def test_the_first_time_of_a_suspect_is_remembered() -> None:
    """A suspect's quiet window runs from the first look, not from the last."""
    finding = Finding(path="npc.json", kind=Kind.BROKEN, fault=Fault("bad"))
    seen = Look(findings={"npc.json": finding}, unchanged={}, desired=None)
    known = Known(suspects={"npc.json": 1.5})
    assert Changes.of(EMPTY, known, seen, frozenset(), 2.0).suspects == {"npc.json": 1.5}
    assert Changes.of(EMPTY, Known(), seen, frozenset(), 2.0).suspects == {"npc.json": 2.0}
    assert Changes.of(EMPTY, known, seen, frozenset({"npc.json"}), 2.0).found == {"npc.json": finding}
    assert Changes.of(EMPTY, Known(), seen, None, 2.0).found == {"npc.json": finding}


def test_a_broken_file_keeps_its_last_good_version(serving: Server) -> None:
    """The second look rejects the file by path, line and column, and says what is serving."""
    version = serving.snapshot["npc"]
    serving.save("npc.json", '{\n "a": }')
    (error,) = named(serving.settle("npc.json"), ReloadError)
    assert (error.where, error.module_id) == ("npc.json:2:5", "npc")
    assert error.serving == version.version
    assert serving.snapshot["npc"] is version
    assert error.generation == serving.snapshot.generation == 1


def test_a_deleted_file_removes_its_module(serving: Server) -> None:
    """A file that is gone at both looks is one deletion, in one commit."""
    (serving.root / "npc.json").unlink()
    events = serving.settle("npc.json")
    assert [type(event) for event in events] == [ModuleDeleted]
    assert (dict(serving.snapshot), serving.snapshot.generation) == ({}, 2)
    assert serving.settle() == ()


def test_a_rejection_is_said_once_for_each_content(serving: Server) -> None:
    """A broken file that stays as it is is said once; broken in another way, it is said again."""
    serving.save("npc.json", BROKEN)
    assert len(named(serving.settle("npc.json"), ReloadError)) == 1
    for _ in range(3):
        assert named(serving.settle(), ReloadError) == []
    os.utime(serving.root / "npc.json", ns=(1, 1))
    assert named(serving.settle("npc.json"), ReloadError) == []
    serving.save("npc.json", BROKEN + " ")
    assert len(named(serving.settle("npc.json"), ReloadError)) == 1


@pytest.mark.parametrize("text", [BROKEN, None])
def test_a_file_that_is_back_at_the_second_look_was_never_away(serving: Server, text: str | None) -> None:
    """The same bytes after a moment of nothing are no commit, no rejection, and one skip."""
    before = serving.snapshot
    (serving.root / "npc.json").unlink()
    if text is not None:
        serving.save("npc.json", text)
    first = serving.look("npc.json")
    serving.save("npc.json.new", module_text("npc"))
    os.replace(serving.root / "npc.json.new", serving.root / "npc.json")
    second = serving.look(*first.again)
    assert [type(event) for event in (*first.events, *second.events)] == [ModuleSkipped]
    assert serving.snapshot is before
    assert not second.again


def test_a_half_written_file_goes_live_when_it_is_whole(serving: Server) -> None:
    """A good file is not made to wait because it was a suspect."""
    serving.save("npc.json", module_text("npc", instruction="New.")[:40])
    serving.look("npc.json")
    serving.save("npc.json", module_text("npc", instruction="New."))
    plan = serving.look("npc.json", early=True)
    assert [type(event) for event in plan.events] == [ModuleChanged]
    assert plan.snapshot["npc"].module().instruction == "New."


def test_a_broken_file_that_is_restored_is_a_skip(serving: Server) -> None:
    """Who broke a file and took it back hears that what serves is what stands there."""
    before = serving.snapshot
    serving.save("npc.json", BROKEN)
    serving.settle("npc.json")
    serving.save("npc.json", module_text("npc"))
    assert [type(event) for event in serving.settle("npc.json")] == [ModuleSkipped]
    assert serving.snapshot is before


def test_a_deleted_file_that_comes_back_is_a_module_again(serving: Server) -> None:
    """The same bytes after a deletion go live as anything new does."""
    (serving.root / "npc.json").unlink()
    serving.settle("npc.json")
    serving.save("npc.json", module_text("npc"))
    assert [type(event) for event in serving.settle("npc.json")] == [ModuleChanged]
    assert serving.snapshot.generation == 3


def test_of_many_files_the_good_ones_commit_together(server: Server) -> None:
    """Without a manifest one pass is one generation of all that is good, beside the last good of what is not."""
    for name in "abc":
        server.save(f"{name}.json", module_text(name))
    server.start()
    c = server.snapshot["c"]
    for name in "ab":
        server.save(f"{name}.json", module_text(name, instruction="New."))
    server.save("c.json", BROKEN)
    server.settle()
    assert server.snapshot.generation == 2
    assert server.snapshot["a"].module().instruction == server.snapshot["b"].module().instruction == "New."
    assert server.snapshot["c"] is c


def test_at_start_the_good_ones_serve(server: Server) -> None:
    """A first reading decides at once: what is broken is rejected, the rest serves, generation 1."""
    server.save("good.json", module_text("good"))
    server.save("bad.json", BROKEN)
    plan = server.start()
    assert (set(plan.snapshot), plan.snapshot.generation) == ({"good"}, 1)
    (error,) = named(plan.events, ReloadError)
    assert (error.path, error.serving) == ("bad.json", None)
    assert not plan.again


def test_a_broken_manifest_is_suspected_first(server: Server) -> None:
    """The manifest has its second look as any file."""
    server.save(MANIFEST, '{"modules": {}}')
    server.start()
    server.save(MANIFEST, BROKEN)
    plan = server.look(MANIFEST)
    assert plan.events == ()
    assert plan.again == {MANIFEST}
    assert [error.path for error in named(server.look(MANIFEST).events, ReloadError)] == [MANIFEST]


def test_further_faults_are_counted() -> None:
    """A rejection names the first fault and says how many more there are."""
    first = Fault("one", 1, 2)
    assert and_more(first, ()) is first
    assert and_more(first, (Fault("two"), Fault("three"))) == Fault("one (and 2 more)", 1, 2)
