"""Without a manifest each file says which module it is, and an id belongs to the file that has it."""

from __future__ import annotations

import os

import pytest

from dspyreload.model.events import ModuleChanged, ModuleDeleted, ModuleSkipped, ReloadError
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


@pytest.mark.parametrize("meanwhile", ["missing", "torn", "empty"])
def test_a_file_that_is_renamed_and_saved_at_once_is_no_deletion(server: Server, meanwhile: str) -> None:
    """At the second look its old name is missing again, and an editor is just about to write the new one."""
    old, new = server.save("old.json", module_text("npc")), server.root / "new.json"
    server.start()
    old.rename(new)
    server.look("old.json", "new.json", early=True)
    if meanwhile == "missing":
        new.unlink()
    else:
        new.write_text("" if meanwhile == "empty" else module_text("npc")[:50])
    assert named(server.look("old.json", "new.json").events, ModuleDeleted) == []
    assert "npc" in server.snapshot
    server.save("new.json", module_text("npc", instruction="New."))
    events = server.settle("new.json")
    assert named(events, ModuleDeleted) == []
    assert server.snapshot["npc"].module().instruction == "New."
    new.unlink()
    assert [event.module_id for event in named(server.settle("new.json"), ModuleDeleted)] == ["npc"]


def test_a_folder_that_is_renamed_while_it_is_looked_at_takes_no_module_along(server: Server) -> None:
    """The listing has the file, and reading misses it, after a look that missed it in the middle of a save."""
    file = server.save("npc/a.json", module_text("npc"))
    server.start()
    file.rename(backup := file.with_name("a.json~"))
    server.look("npc/a.json", early=True)
    backup.rename(file)

    def rename(_number: int, _of: int) -> None:
        if (server.root / "npc").exists():
            (server.root / "npc").rename(server.root / "town")

    server.options["progress"] = rename
    assert named(server.look().events, ModuleDeleted) == []
    assert named(server.settle(), ModuleDeleted) == []
    assert server.snapshot["npc"].path == "town/a.json"


def test_a_module_stays_while_a_new_file_is_not_whole(server: Server) -> None:
    """Nobody knows yet for which id that one asks: it may be the same under another name."""
    file = server.save("old.json", module_text("npc"))
    server.start()
    file.unlink()
    server.look("old.json", early=True)
    server.save("new.json", module_text("npc")[:50])
    server.look("old.json", "new.json")
    assert "npc" in server.snapshot
    events = server.settle("new.json")
    assert [event.module_id for event in named(events, ModuleDeleted)] == ["npc"]
    assert [event.path for event in named(events, ReloadError)] == ["new.json"]


def test_a_file_that_was_missing_and_is_torn_is_torn_for_the_first_time(server: Server) -> None:
    """It is decided by the next look."""
    file = server.save("npc.json", module_text("npc"))
    server.start()
    file.unlink()
    server.look("npc.json", early=True)
    server.save("npc.json", module_text("npc")[:50])
    assert server.look("npc.json").events == ()
    assert [event.path for event in named(server.look("npc.json").events, ReloadError)] == ["npc.json"]
    assert "npc" in server.snapshot


def test_a_link_to_nowhere_in_the_place_of_a_module_is_a_deletion(server: Server) -> None:
    """The name is there, and no file."""
    file = server.save("npc.json", module_text("npc"))
    server.start()
    file.unlink()
    file.symlink_to("nowhere.json")
    assert [event.module_id for event in named(server.settle("npc.json"), ModuleDeleted)] == ["npc"]


def test_a_module_whose_ending_is_not_watched_any_more_is_gone(server: Server) -> None:
    """It is decided by the second look, though the file is there."""
    server.options["extensions"] = (".json", ".jsonc")
    server.save("npc.jsonc", module_text("npc"))
    server.start()
    server.options["extensions"] = (".json",)
    assert [event.module_id for event in named(server.settle(), ModuleDeleted)] == ["npc"]


@pytest.mark.parametrize(("old", "new"), [("old.json", "new.json"), ("npc", "town")])
def test_a_rename_that_no_event_has_told_of_yet_is_no_deletion(server: Server, old: str, new: str) -> None:
    """A file that was saved, and whose folder is renamed at once, is missing at both looks that the save leads to."""
    path = server.save(old if old.endswith("json") else f"{old}/a.json", module_text("npc")).relative_to(server.root)
    server.start()
    (server.root / old).rename(server.root / new)
    events = server.settle(str(path))
    assert named(events, ModuleDeleted) == []
    assert server.snapshot["npc"].path == str(path).replace(old, new)
    assert server.settle() == ()


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


def test_what_a_manifest_did_not_list_serves_when_the_manifest_is_gone(server: Server, settled: None) -> None:
    """A file that was there before the manifest, and did not change since, has its id again."""
    server.save("a.json", module_text("one"))
    server.save("b.json", module_text("two"))
    server.start()
    manifest = server.save("manifest.json", '{"modules": {"one": {"path": "a.json"}}}')
    server.settle("manifest.json")
    assert set(server.snapshot) == {"one"}
    manifest.unlink()
    server.settle("manifest.json")
    assert set(server.snapshot) == {"one", "two"}


def test_a_module_is_not_unknown_while_its_manifest_may_be_gone(server: Server) -> None:
    """Who asks for what only serves without the manifest hears of it at the second look."""
    manifest = server.save("manifest.json", '{"modules": {}}')
    server.start()
    server.save("a.json", module_text("one"))
    manifest.unlink()
    assert server.look(asked=["one"]).answers == {}
    answer = server.look(asked=["one"]).answers["one"]
    assert isinstance(answer, ModuleChanged)


def test_a_broken_file_keeps_the_id_that_it_serves_whatever_it_asked_for_last(server: Server) -> None:
    """It asked for an id that was taken, and then broke: its last good version is not a newcomer's to take."""
    server.save("a.json", module_text("one"))
    server.save("b.json", module_text("two"))
    server.start()
    server.save("a.json", module_text("two", instruction="Taken."))
    server.settle("a.json")
    server.save("a.json", "{")
    server.settle("a.json")
    server.save("c.json", module_text("One", instruction="A newcomer."))
    (error,) = named(server.settle("c.json"), ReloadError)
    assert "is already that of a.json" in error.error
    assert server.snapshot["one"].path == "a.json"
    (server.root / "a.json").unlink()
    server.settle("a.json")
    assert {name: version.path for name, version in server.snapshot.items()} == {"two": "b.json", "One": "c.json"}


def test_who_asks_for_a_broken_module_is_not_told_that_a_newcomer_is_unchanged(server: Server) -> None:
    """The answer is about the file that has the id, and not about one that can't have it."""
    server.save("a.json", module_text("one"))
    server.start()
    server.save("b.json", module_text("one", instruction="A newcomer."))
    server.settle()
    server.save("a.json", "{")
    server.settle()
    answer = server.look("a.json", "b.json", asked=["one"]).answers["one"]
    assert isinstance(answer, ReloadError)
    assert answer.path == "a.json"


def test_a_file_that_changed_its_id_while_a_first_manifest_waited_holds_the_old_one_no_more(server: Server) -> None:
    """When that manifest is broken or gone, the old id is that of the file that asks for it."""
    server.save("a.json", module_text("one"))
    server.start()
    server.save("a.json", module_text("two"))
    server.save("manifest.json", '{"modules": {"two": {"path": "a.json"}, "three": {"path": "c.json"}}}')
    server.settle()
    assert set(server.snapshot) == {"one"}
    server.save("b.json", module_text("one", instruction="Another."))
    server.save("manifest.json", "{")
    server.settle()
    assert {name: version.path for name, version in server.snapshot.items()} == {"two": "a.json", "one": "b.json"}


def test_an_id_that_is_taken_in_other_letters_is_served_once(server: Server) -> None:
    """Its file asks for one that it can't have, and a newcomer for its old one, in the same pass."""
    server.save("b.json", module_text("Smith"))
    server.start()
    server.save("a.json", module_text("baker"))
    server.save("b.json", module_text("baker"))
    server.save("c.json", module_text("smith"))
    events = server.settle()
    assert {name: version.path for name, version in server.snapshot.items()} == {"baker": "a.json", "smith": "c.json"}
    assert [event.module_id for event in named(events, ModuleDeleted)] == ["Smith"]


@pytest.mark.parametrize("looks", [1, 2])
def test_who_asks_for_a_module_whose_file_asks_for_the_id_of_another_is_told_so(server: Server, looks: int) -> None:
    """Its last good version serves, and is not what stands in the file; the other one's is."""
    server.save("a.json", module_text("X"))
    server.save("b.json", module_text("a"))
    server.start()
    server.save("a.json", module_text("a", persona="another"))
    for _ in range(looks):
        answers = server.look("a.json", "b.json", asked=["X"]).answers
    answer = answers["X"]
    assert isinstance(answer, ReloadError)
    assert (answer.path, answer.error) == ("a.json", 'the id "a" is already that of b.json; give this file another')
    assert answer.serving == server.snapshot["X"].version
    answer = server.look("b.json", asked=["a"]).answers["a"]
    assert isinstance(answer, ModuleSkipped)
