"""With a manifest: what it adds or changes commits together, or waits together."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from dspyreload.model.events import ManifestChanged, ModuleChanged, ModuleDeleted, ReloadError
from dspyreload.model.manifest import MANIFEST
from tests.conftest import module_text
from tests.disk.conftest import Server, named


def listing(*ids: str, **entries: dict[str, Any]) -> str:
    """Return a manifest of plain entries ``id`` → ``id.json``, and of others."""
    plain: dict[str, dict[str, Any]] = {name: {"path": f"{name}.json", "hash": None, "tags": []} for name in ids}
    return json.dumps({"version": "1.0", "modules": {**plain, **entries}})


@pytest.fixture
def serving(server: Server) -> Server:
    """A server of the modules a and b, both listed."""
    server.save("a.json", module_text("a"))
    server.save("b.json", module_text("b"))
    server.save(MANIFEST, listing("a", "b"))
    server.start()
    assert set(server.snapshot) == {"a", "b"}
    return server


def sha(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def test_a_manifest_before_its_modules_waits_and_then_commits_once(serving: Server) -> None:
    """The old set serves until the new one is complete; then one generation changes everything."""
    before = serving.snapshot
    serving.save(MANIFEST, listing("b", "c", a={"path": "new_a.json"}))
    (error,) = named(serving.settle(MANIFEST), ReloadError)
    assert error.path == MANIFEST
    assert "c.json" in error.error
    assert "new_a.json" in error.error
    assert before.manifest is not None
    assert error.serving == before.manifest.digest
    serving.save("c.json", module_text("c"))
    assert serving.settle("c.json") == ()
    assert serving.snapshot is before
    serving.save("new_a.json", module_text("a", instruction="New."))
    events = serving.settle("new_a.json")
    assert serving.snapshot.generation == before.generation + 1
    assert {name: version.path for name, version in serving.snapshot.items()} == {
        "a": "new_a.json",
        "b": "b.json",
        "c": "c.json",
    }
    assert [event.module_id for event in named(events, ModuleChanged)] == ["a", "c"]
    assert [(event.added, event.changed, event.removed) for event in named(events, ManifestChanged)] == [
        (("c",), ("a",), ())
    ]


def test_while_a_manifest_waits_its_files_wait_and_others_do_not(serving: Server) -> None:
    """An edit of an entry that the manifest changes waits for it; one that it leaves alone goes live."""
    serving.save(MANIFEST, listing("b", "c", a={"path": "a.json", "tags": ["npc"]}))
    serving.settle(MANIFEST)
    serving.save("a.json", module_text("a", instruction="New."))
    serving.save("b.json", module_text("b", instruction="New."))
    serving.settle("a.json", "b.json")
    instructions = {name: version.module().instruction for name, version in serving.snapshot.items()}
    assert instructions == {"a": "You are a smith.", "b": "New."}
    serving.save("c.json", module_text("c"))
    serving.settle("c.json")
    assert serving.snapshot["a"].module().instruction == "New."
    assert serving.snapshot["a"].tags == ("npc",)


@pytest.mark.parametrize("back", [listing("a", "b"), None])
def test_a_manifest_that_is_taken_back_lets_its_files_go(serving: Server, back: str | None) -> None:
    """A file that waited for a manifest goes live when that is gone, at the next look everywhere at the latest."""
    serving.save(MANIFEST, listing("b", "c", a={"path": "a.json", "tags": ["npc"]}))
    serving.settle(MANIFEST)
    serving.save("a.json", module_text("a", instruction="New."))
    serving.settle("a.json")
    if back is None:
        (serving.root / MANIFEST).unlink()
    else:
        serving.save(MANIFEST, back)
    serving.settle(MANIFEST)
    serving.settle()
    assert set(serving.snapshot) == {"a", "b"}
    assert serving.snapshot["a"].module().instruction == "New."


def test_a_waiting_manifest_is_reported_once(serving: Server) -> None:
    """However often the disk is looked at, a manifest that lacks files is said once for its content."""
    serving.save(MANIFEST, listing("a", "b", "c"))
    assert len(named(serving.settle(MANIFEST), ReloadError)) == 1
    for _ in range(3):
        assert named(serving.settle(), ReloadError) == []
    serving.save(MANIFEST, listing("a", "b", "c", "d"))
    assert len(named(serving.settle(MANIFEST), ReloadError)) == 1


def test_a_whole_set_commits_in_one_generation(serving: Server) -> None:
    """Changed files, a new one, one less and the manifest itself: one generation."""
    serving.save("a.json", module_text("a", instruction="New."))
    serving.save("c.json", module_text("c"))
    serving.save(MANIFEST, listing("a", "c"))
    events = serving.settle()
    assert (set(serving.snapshot), serving.snapshot.generation) == ({"a", "c"}, 2)
    assert {event.generation for event in events} == {2}


def test_a_changed_entry_whose_file_is_broken_holds_the_manifest(serving: Server) -> None:
    """A manifest is rejected whole where one of its changed entries can't be served."""
    before = serving.snapshot
    serving.save("a.json", "{")
    serving.save(MANIFEST, listing("a", "b", c={"path": "b2.json"}))
    serving.save("b2.json", "{")
    events = serving.settle()
    assert serving.snapshot is before
    assert {error.path for error in named(events, ReloadError)} == {"a.json", "b2.json", MANIFEST}


def test_an_entry_that_is_not_touched_vetoes_nothing(serving: Server) -> None:
    """A file that was broken before does not keep the manifest from changing other entries."""
    serving.save("a.json", "{")
    serving.settle("a.json")
    a = serving.snapshot["a"]
    serving.save("c.json", module_text("c"))
    serving.save(MANIFEST, listing("a", "b", "c"))
    events = serving.settle(MANIFEST, "c.json")
    assert set(serving.snapshot) == {"a", "b", "c"}
    assert serving.snapshot["a"] is a
    assert named(events, ReloadError) == []


def test_a_changed_hash_alone_changes_no_module(serving: Server) -> None:
    """The manifest goes live, and no ModuleChanged says what is not so."""
    text = (serving.root / "a.json").read_text()
    serving.save(MANIFEST, listing("b", a={"path": "a.json", "hash": sha(text), "tags": []}))
    events = serving.settle(MANIFEST)
    assert [(type(event), event.generation) for event in events] == [(ManifestChanged, 2)]
    assert named(events, ManifestChanged)[0].changed == ("a",)


@pytest.mark.parametrize(
    "entry", [{"tags": ["npc"]}, {"predictor_type": "chain_of_thought"}, {"signature_name": "other"}]
)
def test_the_same_bytes_served_otherwise_are_a_new_version(serving: Server, entry: dict[str, Any]) -> None:
    """Other tags, another predictor type or signature: the module changed, though its file did not."""
    serving.save(MANIFEST, listing("b", a={"path": "a.json", **entry}))
    events = serving.settle(MANIFEST)
    assert [event.module_id for event in named(events, ModuleChanged)] == ["a"]
    version = serving.snapshot["a"]
    assert version.entry is not None
    assert serving.snapshot.with_tag("npc") == (("a",) if "tags" in entry else ())


def test_a_module_that_is_no_longer_listed_is_deleted(serving: Server) -> None:
    """Its file may stay; it is not served."""
    serving.save(MANIFEST, listing("b"))
    events = serving.settle(MANIFEST)
    assert set(serving.snapshot) == {"b"}
    assert [event.module_id for event in named(events, ModuleDeleted)] == ["a"]
    assert named(events, ManifestChanged)[0].removed == ("a",)


def test_a_broken_manifest_keeps_the_old_one(serving: Server) -> None:
    """The manifest before it stays in force, and files go on going live under it."""
    before = serving.snapshot
    serving.save(MANIFEST, listing("a") + "}")
    (error,) = named(serving.settle(MANIFEST), ReloadError)
    assert before.manifest is not None
    assert (error.path, error.line, error.serving) == (MANIFEST, 1, before.manifest.digest)
    serving.save("b.json", module_text("b", instruction="New."))
    serving.settle("b.json")
    assert serving.snapshot["b"].module().instruction == "New."
    assert serving.snapshot.manifest is before.manifest


def test_a_manifest_that_is_broken_at_the_first_start_serves_nothing(server: Server) -> None:
    """Nothing is better than everything, and the repaired manifest then serves what it lists."""
    server.save("a.json", module_text("a"))
    server.save("b.json", module_text("b"))
    server.save(MANIFEST, "{")
    plan = server.start()
    assert (len(plan.snapshot), plan.snapshot.generation) == (0, 1)
    (error,) = named(plan.events, ReloadError)
    assert (error.path, error.serving) == (MANIFEST, None)
    server.save(MANIFEST, listing("b"))
    server.settle(MANIFEST)
    assert set(server.snapshot) == {"b"}


def test_a_manifest_without_all_its_files_serves_the_good_ones_at_start(server: Server) -> None:
    """At the first reading nothing waits: what is good serves, what is not is rejected by name."""
    server.save("a.json", module_text("a"))
    server.save("b.json", "{")
    server.save(MANIFEST, listing("a", "b", "c"))
    plan = server.start()
    assert set(plan.snapshot) == {"a"}
    assert {error.path for error in named(plan.events, ReloadError)} == {"b.json", "c.json"}
    for name in "bc":
        server.save(f"{name}.json", module_text(name))
    server.settle("b.json", "c.json")
    assert set(server.snapshot) == {"a", "b", "c"}


def test_without_its_manifest_every_file_loads(serving: Server) -> None:
    """A deleted manifest, seen twice, hands the directory over to its files in one commit."""
    serving.save("c.json", module_text("c"))
    (serving.root / MANIFEST).unlink()
    first = serving.look(MANIFEST)
    assert first.events == ()
    assert first.again == {MANIFEST}
    events = serving.look(MANIFEST).events
    assert set(serving.snapshot) == {"a", "b", "c"}
    assert (serving.snapshot.manifest, serving.snapshot.generation) == (None, 2)
    assert serving.snapshot["a"].tags == ()
    assert named(events, ManifestChanged)[0].removed == ("a", "b")
    assert named(events, ModuleDeleted) == []


def test_a_manifest_that_appears_takes_over(server: Server) -> None:
    """From then on only what it lists is served, in one commit."""
    server.save("a.json", module_text("a"))
    server.save("b.json", module_text("b"))
    server.start()
    server.save(MANIFEST, listing("a"))
    events = server.settle(MANIFEST)
    assert (set(server.snapshot), server.snapshot.generation) == ({"a"}, 2)
    assert [event.module_id for event in named(events, ModuleDeleted)] == ["b"]


def test_a_deleted_file_that_is_listed_removes_its_module(serving: Server) -> None:
    """Gone at both looks: the module is deleted, the manifest stays, and the file may come back."""
    (serving.root / "a.json").unlink()
    events = serving.settle("a.json")
    assert [event.module_id for event in named(events, ModuleDeleted)] == ["a"]
    assert set(serving.snapshot) == {"b"}
    assert serving.settle() == ()
    serving.save("a.json", module_text("a"))
    serving.settle("a.json")
    assert set(serving.snapshot) == {"a", "b"}


def test_a_hash_holds_half_a_rewrite_back(serving: Server) -> None:
    """A file that has not the listed hash is rejected with the way out; the right bytes then go live."""
    text = module_text("a", instruction="New.")
    serving.save(MANIFEST, listing("b", a={"path": "a.json", "hash": sha(text), "tags": []}))
    before = serving.snapshot
    serving.settle(MANIFEST)
    assert serving.snapshot is before
    serving.save("a.json", module_text("a", instruction="Old."))
    (error,) = named(serving.settle("a.json"), ReloadError)
    assert "run dspyreload hash" in error.error
    assert error.serving == before["a"].version
    serving.save("a.json", text)
    serving.settle("a.json")
    assert serving.snapshot["a"].module().instruction == "New."
    assert serving.snapshot.generation == 2


def test_a_manifest_as_it_was_is_no_commit(serving: Server) -> None:
    """A change that is taken back while it waits leaves the generation as it is."""
    before = serving.snapshot
    serving.save(MANIFEST, listing("a", "b", "c"))
    serving.settle(MANIFEST)
    serving.save(MANIFEST, listing("a", "b"))
    assert serving.settle(MANIFEST) == ()
    assert serving.snapshot is before


@pytest.mark.parametrize("how", ["deleted", "broken"])
def test_a_manifest_that_never_came_into_force_lets_its_files_go(
    server: Server, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Where there was no manifest, one that waits and is no more leaves each file to itself, at once."""
    monkeypatch.setattr("dspyreload.disk.reading._TICK_NS", 0)  # else a file that was written just now is read again
    server.save("a.json", module_text("a"))
    server.start()
    server.save(MANIFEST, listing("a", "b"))
    server.settle(MANIFEST)
    server.save("a.json", module_text("a", instruction="New."))
    server.settle("a.json")
    assert server.snapshot["a"].module().instruction == "You are a smith."
    if how == "deleted":
        (server.root / MANIFEST).unlink()
    else:
        server.save(MANIFEST, "{")
    server.settle(MANIFEST)
    assert server.snapshot["a"].module().instruction == "New."
    assert server.snapshot.manifest is None


@pytest.mark.parametrize("text", [module_text("other"), None], ids=["renamed", "deleted"])
def test_an_id_of_a_manifest_that_never_came_into_force_is_forgotten(server: Server, text: str | None) -> None:
    """A file that a waiting manifest lists as another module is still the one it was: its id goes with it."""
    file = server.save("a.json", module_text("a"))
    server.start()
    server.save(MANIFEST, listing(b={"path": "a.json"}))
    server.settle(MANIFEST)
    assert set(server.snapshot) == {"a"}
    (server.root / MANIFEST).unlink()
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    server.settle()
    assert set(server.snapshot) == (set() if text is None else {"other"})


def test_a_collision_from_before_the_manifest_keeps_nothing_after_it(server: Server) -> None:
    """A file that was once rejected for its id, was then listed, and is now gone with the manifest is not served."""
    server.save("a.json", module_text("npc"))
    rival = server.save("b.json", module_text("npc", instruction="Other."))
    server.start()
    server.save(MANIFEST, listing(npc={"path": "b.json"}))
    server.settle(MANIFEST)
    assert server.snapshot["npc"].path == "b.json"
    (server.root / MANIFEST).unlink()
    rival.unlink()
    server.save("a.json", module_text("other"))
    server.settle()
    assert {name: version.path for name, version in server.snapshot.items()} == {"other": "a.json"}


def test_a_file_listed_under_another_id_is_judged_anew(serving: Server) -> None:
    """An entry that only changes its id is an entry that changes: the file says who it is, and the manifest waits."""
    before = serving.snapshot
    serving.save(MANIFEST, listing("b", other={"path": "a.json"}))
    errors = named(serving.settle(MANIFEST), ReloadError)
    assert {error.path for error in errors} == {MANIFEST, "a.json"}
    assert any('manifest.json lists it as "other"' in error.error for error in errors)
    assert serving.snapshot is before


def test_a_waiting_manifest_names_what_it_waits_for_and_its_place(serving: Server) -> None:
    """The line is that of the first entry that lacks its file, and says whether it is missing or has a fault."""
    serving.save("c.json", "{")
    serving.save(MANIFEST, listing("a", "b", "c", "d"))
    (error,) = (e for e in named(serving.settle(MANIFEST), ReloadError) if e.path == MANIFEST)
    assert error.error == "the manifest waits for c.json (which has a fault), d.json (missing)"
    assert error.line is not None
    text = (serving.root / MANIFEST).read_text().splitlines()[error.line - 1]
    assert text[(error.column or 0) - 1 :].startswith('"c.json"')


def test_what_it_waits_for_is_perhaps_a_file_of_another_name(serving: Server) -> None:
    """One that no entry lists, and that is called nearly so."""
    serving.save("smith.json", module_text("smith"))
    serving.save(MANIFEST, listing("a", "b", "smiht"))
    (error,) = named(serving.settle(), ReloadError)
    assert error.error == 'the manifest waits for smiht.json (missing; did you mean "smith.json"?)'


def mended(server: Server, text: str) -> list[tuple[str, ...]]:
    """Write the manifest; return what each look says that is whole again."""
    server.save(MANIFEST, text)
    first = server.look(MANIFEST).mended
    return [first, server.look(MANIFEST).mended, server.look().mended]


def test_a_manifest_that_was_broken_and_is_as_it_was_is_told_to_be_whole(serving: Server) -> None:
    """Once; nothing else would tell its writer, for nothing changes."""
    before = serving.snapshot
    assert mended(serving, "{") == [(), (), ()]
    assert mended(serving, listing("a", "b")) == [(MANIFEST,), (), ()]
    assert serving.snapshot is before


def test_one_that_was_broken_and_is_another_now_is_live_and_no_more_is_told(serving: Server) -> None:
    """That it changed says that it is whole."""
    mended(serving, "{")
    assert mended(serving, listing("a")) == [(), (), ()]
    assert set(serving.snapshot) == {"a"}
    assert mended(serving, listing("a") + " ") == [(), (), ()]


def test_a_module_that_is_asked_for_waits_with_its_manifest(serving: Server) -> None:
    """New bytes of a file whose entry a waiting manifest changes are not served by asking for them."""
    serving.save(MANIFEST, listing("b", "c", a={"path": "a.json", "tags": ["new"]}))
    serving.save("a.json", module_text("a", instruction="New."))
    serving.settle("a.json")
    assert serving.snapshot["a"].module().instruction == "You are a smith."


@pytest.mark.parametrize("first", [listing("a", "b", "c"), "{"], ids=["waiting", "broken"])
def test_a_manifest_that_was_suspect_and_then_is_missing_is_looked_at_once_more(serving: Server, first: str) -> None:
    """Gone means missing at two looks: a rename under way does not let every file in."""
    serving.save("extra.json", module_text("extra"))
    before = serving.snapshot
    manifest = serving.save(MANIFEST, first)
    serving.look(MANIFEST)
    manifest.unlink()
    assert MANIFEST in serving.look(MANIFEST).again
    assert serving.snapshot is before
    serving.save(MANIFEST, listing("a", "b"))
    serving.settle(MANIFEST)
    assert set(serving.snapshot) == {"a", "b"}
    manifest.unlink()
    serving.settle(MANIFEST)
    assert set(serving.snapshot) == {"a", "b", "extra"}


def test_who_asks_for_a_module_that_waits_with_the_manifest_is_told_so_each_time(server: Server) -> None:
    """Its file is unchanged since the last look, and still not what serves."""
    server.save("a.json", module_text("one"))
    server.save("manifest.json", '{"modules": {"one": {"path": "a.json"}}}')
    server.start()
    server.save("a.json", module_text("one", instruction="New."))
    server.save("manifest.json", '{"modules": {"one": {"path": "a.json", "tags": ["new"]}, "two": {"path": "b.json"}}}')
    server.settle()
    for _ in range(2):
        answer = server.look("a.json", asked=["one"]).answers["one"]
        assert isinstance(answer, ReloadError)
        assert "it waits with manifest.json" in answer.error


def test_a_manifest_that_waited_and_comes_back_after_a_broken_one_is_rejected_again(server: Server) -> None:
    """As a file is that was broken in two ways, and is broken in the first way again."""
    server.save("a.json", module_text("one"))
    server.start()
    waiting = '{"modules": {"two": {"path": "b.json"}}}'
    told = []
    for text in (waiting, waiting + " ", waiting, "{", waiting):
        server.save(MANIFEST, text)
        told.append([event.path for event in named(server.settle(), ReloadError)])
    assert told == [[MANIFEST]] * 5


def test_a_manifest_that_waits_is_said_once_though_its_volume_was_away(serving: Server) -> None:
    """And it is whole again when the one in force comes back."""
    serving.save(MANIFEST, listing("a", "b", "c"))
    serving.settle()
    away, empty = serving.root.with_name("away"), serving.root.with_name("empty")
    for back in (listing("a", "b", "c"), listing("a", "b")):
        serving.root.rename(away)
        serving.root.mkdir()
        assert serving.settle() == ()
        serving.root.rename(empty)
        (away / MANIFEST).write_text(back)
        away.rename(serving.root)
        empty.rmdir()
        assert named(serving.settle(), ReloadError) == []
    assert serving.plan is not None
    assert serving.plan.mended == (MANIFEST,)
