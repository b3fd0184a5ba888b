"""Without a manifest each file says which module it is, and an id belongs to the file that has it."""

from __future__ import annotations

import os

import pytest

from dspyreload.model.events import ModuleChanged, ModuleDeleted, ReloadError
from tests.conftest import module_text
from tests.disk.conftest import Server, named


def test_every_file_is_a_module(server: Server) -> None:
    """Its id is its module_id, or where it has none its path without the ending, / as a dot."""
    server.save("npc/smith.json", module_text("the.smith"))
    server.save("npc/dialogue_casual.json", '{"instruction": "x"}')
    server.start()
    assert {name: version.path for name, version in server.snapshot.items()} == {
        "the.smith": "npc/smith.json",
        "npc.dialogue_casual": "npc/dialogue_casual.json",
    }
    assert server.snapshot.generation == 1
    assert server.snapshot.manifest is None


def test_the_small_and_the_full_form_change_into_each_other(server: Server) -> None:
    """A file that begins to name its id is that module in the same commit in which the old id goes."""
    server.save("smith.json", '{"instruction": "x"}')
    server.start()
    server.save("smith.json", module_text("npc.smith"))
    plan = server.look("smith.json")
    assert set(plan.snapshot) == {"npc.smith"}
    assert plan.snapshot.generation == 2
    assert [event.module_id for event in named(plan.events, ModuleDeleted)] == ["smith"]


def test_a_changed_module_id_moves_the_file_in_one_generation(server: Server) -> None:
    """The new id is served and the old is not, with no generation between."""
    server.save("a.json", module_text("one"))
    server.start()
    server.save("a.json", module_text("two"))
    events = server.look("a.json").events
    assert (set(server.snapshot), server.snapshot.generation) == ({"two"}, 2)
    assert [event.module_id for event in named(events, ModuleChanged)] == ["two"]
    assert [event.module_id for event in named(events, ModuleDeleted)] == ["one"]


@pytest.mark.parametrize("order", [("new.json",), ("old.json", "new.json"), ("old.json",), ()])
def test_a_rename_is_no_collision(server: Server, order: tuple[str, ...]) -> None:
    """A file under a new name keeps its id, is never absent and is rejected under neither name."""
    file = server.save("old.json", module_text("npc"))
    server.start()
    version = server.snapshot["npc"].version
    os.rename(file, server.root / "new.json")
    events = server.look(*order).events
    assert "npc" in server.snapshot
    events += server.look("old.json", "new.json").events
    assert server.snapshot["npc"].path == "new.json"
    assert server.snapshot["npc"].version == version
    assert named(events, ReloadError) == []
    assert named(events, ModuleDeleted) == []
    assert server.snapshot.generation == 2


def test_two_files_that_swap_their_names_swap_no_ids(server: Server) -> None:
    """After two renames each id is served from where its file lies."""
    one = server.save("one.json", module_text("npc.one"))
    two = server.save("two.json", module_text("npc.two"))
    server.start()
    os.rename(one, server.root / "x.json")
    os.rename(two, server.root / "one.json")
    os.rename(server.root / "x.json", server.root / "two.json")
    events = server.settle("one.json", "two.json")
    assert {name: version.path for name, version in server.snapshot.items()} == {
        "npc.one": "two.json",
        "npc.two": "one.json",
    }
    assert named(events, ReloadError) == []
    assert named(events, ModuleDeleted) == []


def test_a_newcomer_that_claims_an_id_is_rejected_by_name(server: Server) -> None:
    """An id belongs to the file that has it; a second file is told whose it is, once."""
    server.save("first.json", module_text("npc"))
    server.start()
    server.save("a_second.json", module_text("NPC", instruction="Other."))
    events = server.settle("a_second.json")
    (error,) = named(events, ReloadError)
    assert (error.path, error.module_id) == ("a_second.json", "NPC")
    assert "already that of first.json" in error.error
    assert (set(server.snapshot), server.snapshot["npc"].path) == ({"npc"}, "first.json")
    assert named(server.settle(), ReloadError) == []


def test_at_start_the_first_of_two_claimants_serves(server: Server) -> None:
    """Where nothing was served, the first by path has the id and the other is rejected."""
    server.save("b.json", module_text("npc"))
    server.save("a.json", module_text("npc", instruction="Other."))
    plan = server.start()
    assert plan.snapshot["npc"].path == "a.json"
    assert [error.path for error in named(plan.events, ReloadError)] == ["b.json"]


def test_a_newcomer_is_promoted_when_the_holder_goes(server: Server) -> None:
    """A file that claimed a taken id takes it in the commit in which the other file is gone."""
    holder = server.save("first.json", module_text("npc"))
    server.start()
    server.save("second.json", module_text("npc", instruction="Other."))
    server.settle("second.json")
    holder.unlink()
    events = server.settle("first.json")
    assert server.snapshot["npc"].path == "second.json"
    assert [event.path for event in named(events, ModuleChanged)] == ["second.json"]
    assert named(events, ModuleDeleted) == []


def test_a_newcomer_is_promoted_when_the_holder_takes_another_id(server: Server) -> None:
    """A file that gives its id up leaves it to the file that was rejected for it."""
    server.save("first.json", module_text("npc"))
    server.start()
    server.save("second.json", module_text("npc", instruction="Other."))
    server.settle("second.json")
    server.save("first.json", module_text("npc.two"))
    server.settle("first.json")
    assert {name: version.path for name, version in server.snapshot.items()} == {
        "npc": "second.json",
        "npc.two": "first.json",
    }


def test_a_broken_holder_keeps_its_id(server: Server) -> None:
    """A file that is broken for now does not lose its id to a newcomer; its last good version serves."""
    server.save("first.json", module_text("npc"))
    server.start()
    version = server.snapshot["npc"]
    server.save("first.json", "{")
    server.save("second.json", module_text("npc", instruction="Other."))
    events = server.settle()
    assert server.snapshot["npc"] is version
    assert {error.path for error in named(events, ReloadError)} == {"first.json", "second.json"}


def test_a_file_that_takes_a_taken_id_keeps_its_last_good_version(server: Server) -> None:
    """A change that is rejected for its id removes nothing: only a file that is gone removes a module."""
    server.save("a.json", module_text("one"))
    server.save("b.json", module_text("two"))
    server.start()
    server.save("a.json", module_text("two", instruction="Other."))
    events = server.settle("a.json")
    (error,) = named(events, ReloadError)
    assert error.path == "a.json"
    assert named(events, ModuleDeleted) == []
    assert set(server.snapshot) == {"one", "two"}


def test_a_broken_newcomer_is_rejected_and_serves_nothing(server: Server) -> None:
    """A new file that can't be served takes no id."""
    server.save("npc.json", module_text("npc"))
    server.start()
    server.save("new.json", module_text("npc", instruction=5))
    (error,) = named(server.settle("new.json"), ReloadError)
    assert error.path == "new.json"
    assert server.snapshot["npc"].path == "npc.json"


@pytest.fixture
def kept(server: Server) -> Server:
    """A server of ``two`` in b.json, and of ``one``, which a.json held before it asked for ``two`` as well."""
    server.save("a.json", module_text("one"))
    server.save("b.json", module_text("two"))
    server.start()
    server.save("a.json", module_text("two", instruction="Other."))
    server.settle("a.json")
    assert set(server.snapshot) == {"one", "two"}
    return server


def test_a_kept_id_goes_when_its_file_gets_the_other(kept: Server) -> None:
    """Once the id is free that a file asks for, it is served under that alone."""
    (kept.root / "b.json").unlink()
    kept.settle("b.json")
    assert {name: version.path for name, version in kept.snapshot.items()} == {"two": "a.json"}


def test_a_kept_id_goes_with_its_file(kept: Server) -> None:
    """A file that is gone removes what it served last."""
    (kept.root / "a.json").unlink()
    kept.settle("a.json")
    assert {name: version.path for name, version in kept.snapshot.items()} == {"two": "b.json"}


def test_a_kept_id_stays_while_its_file_is_broken(kept: Server) -> None:
    """Two rejections in a row remove nothing."""
    kept.save("a.json", "{")
    events = kept.settle("a.json")
    assert set(kept.snapshot) == {"one", "two"}
    assert named(events, ModuleDeleted) == []


def test_a_kept_id_is_served_again_when_its_file_takes_it_back(kept: Server) -> None:
    """The file that asks for its old id again is that module, with its new words."""
    kept.save("a.json", module_text("one", instruction="New."))
    kept.settle("a.json")
    assert set(kept.snapshot) == {"one", "two"}
    assert kept.snapshot["one"].module().instruction == "New."


def test_a_rejected_newcomer_is_named_again_for_other_bytes_and_after_it_was_gone(server: Server) -> None:
    """Once for each content: an edit of the newcomer is rejected anew, and so is one that comes back."""
    server.save("a.json", module_text("npc"))
    server.start()
    for text in (module_text("npc", instruction="One."), module_text("npc", instruction="Two.")):
        server.save("b.json", text)
        (error,) = named(server.settle("b.json"), ReloadError)
        assert (error.path, error.line) == ("b.json", 2)
    (server.root / "b.json").unlink()
    server.settle("b.json")
    server.save("b.json", module_text("npc", instruction="Two."))
    assert [error.path for error in named(server.settle("b.json"), ReloadError)] == ["b.json"]


def test_a_file_that_was_broken_and_then_is_gone_is_looked_at_once_more(server: Server) -> None:
    """Broken at the first look and missing at the second is a rename under way: nothing is removed yet."""
    server.save("a.json", module_text("npc"))
    server.start()
    file = server.save("a.json", "")
    server.look("a.json")
    file.unlink()
    server.look("a.json")
    assert set(server.snapshot) == {"npc"}
    server.settle("a.json")
    assert set(server.snapshot) == set()
