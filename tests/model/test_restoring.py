"""What served before a restart serves again: a function of what was kept, what is known of the disk, and the game."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

import msgspec
import pytest

from dspyreload.model.events import ModuleChanged, ModuleDeleted, ModuleSkipped, ReloadError
from dspyreload.model.faults import FaultError
from dspyreload.model.finding import Kind, Known
from dspyreload.model.manifest import MANIFEST
from dspyreload.model.module import FieldDefinition, SignatureDefinition
from dspyreload.model.registrations import NOTHING, Registered, Registrations
from dspyreload.model.restoring import Restored, Stored, StoredState, restore
from dspyreload.model.snapshot import EMPTY
from tests.conftest import module_text
from tests.disk.conftest import Server, named

FIELDS = SignatureDefinition(
    inputs=(FieldDefinition(name="player_message"),),
    outputs=(FieldDefinition(name="response"), FieldDefinition(name="emotion")),
)
OTHER = SignatureDefinition(inputs=(FieldDefinition(name="topic"),), outputs=(FieldDefinition(name="verse"),))


def text(word: str) -> str:
    return json.dumps({"instruction": word})


def stored(path: str = "npc/smith.json", data: str | None = None, **changes: Any) -> Stored:
    """Return a version as it was kept, of a file that has its id from its path."""
    raw = (data or text("Kept.")).encode()
    values = {"module_id": path.removesuffix(".json").replace("/", "."), "path": path, "data": raw, **changes}
    return Stored(**{"version": hashlib.sha256(values["data"]).hexdigest(), **values})


def kept(server: Server) -> StoredState:
    """Return what a state file keeps of a server."""
    snapshot = server.snapshot
    versions = [snapshot[module_id] for module_id in sorted(snapshot)]
    fields = ("module_id", "path", "version", "data", "texts", "entry")
    return StoredState(
        modules=tuple(Stored(**{name: getattr(version, name) for name in fields}) for version in versions),
        manifest=snapshot.manifest,
        generation=snapshot.generation,
        root=server.known.root,
    )


def restart(server: Server, state: StoredState, registrations: Registrations = NOTHING) -> tuple[Server, Restored]:
    """Return a new server of the same directory, with what was kept brought back before its first look."""
    restored = restore(state, EMPTY, Known(), registrations)
    again = Server(server.root, registered=dict(registrations.signatures))
    again.snapshot, again.known = restored.snapshot, restored.known
    return again, restored


def words(server: Server) -> dict[str, str]:
    """Return the instruction of each module that serves."""
    return {module_id: server.snapshot[module_id].module().instruction for module_id in sorted(server.snapshot)}


@pytest.fixture
def running(server: Server) -> Server:
    """A server of three modules, one of which includes another file, in its third generation."""
    server.save("npc/smith.json", text("Smith."))
    server.save("npc/baker.json", text("Baker."))
    server.save("rules.md", "Be brief.")
    server.start()
    server.save("npc/baker.json", json.dumps({"include": ["../rules.md"], "instruction": "Bake."}))
    server.save("npc/guard.json", module_text("npc.guard", signature=None))
    server.registered["npc.dialogue"] = Registered(FIELDS, "1")
    server.settle()
    server.save("npc/smith.json", text("Forge."))
    server.settle()
    assert server.snapshot.generation == 3
    return server


class TestFirst:
    """Before the disk was looked at."""

    def test_all_of_it_serves(self, running: Server) -> None:
        """The same versions, in the same generation; what waits for a registration is the rest."""
        again, restored = restart(running, kept(running))
        assert words(again) == {"npc.baker": "Be brief.\n\nBake.", "npc.smith": "Forge."}
        assert restored.snapshot.generation == 3
        assert restored.changed == tuple(
            ModuleChanged(generation=3, module_id=name, path=version.path, version=version.version)
            for name, version in sorted(restored.snapshot.items())
        )
        assert restored.events == restored.changed
        assert restored.waiting is not None
        assert [each.module_id for each in restored.waiting.modules] == ["npc.guard"]
        assert restored.known.pending["npc/guard.json"][0] == "npc.guard"
        assert restored.known.restored == {"npc.baker", "npc.smith"}

    def test_a_look_at_the_same_files_changes_nothing(self, running: Server) -> None:
        """No commit and no event, and nothing is said to be brought back any more."""
        registrations = Registrations(signatures=running.registered)
        again, restored = restart(running, kept(running), registrations)
        assert len(restored.changed) == 3
        assert {type(event) for event in again.settle()} == {ModuleSkipped}
        assert again.snapshot is restored.snapshot
        assert again.known.restored == frozenset()

    def test_a_file_that_is_broken_is_served_from_it(self, running: Server) -> None:
        """The event says so, until the file is mended."""
        running.save("npc/smith.json", "{broken")
        again, _restored = restart(running, kept(running))
        (error,) = named(again.settle(), ReloadError)
        assert (error.path, error.module_id, error.restored) == ("npc/smith.json", "npc.smith", True)
        assert error.serving == running.snapshot["npc.smith"].version
        assert words(again)["npc.smith"] == "Forge."
        again.save("npc/smith.json", text("Mended."))
        (changed,) = named(again.settle("npc/smith.json"), ModuleChanged)
        assert changed.generation == 4
        again.save("npc/smith.json", "{broken again")
        (error,) = named(again.settle("npc/smith.json"), ReloadError)
        assert not error.restored

    def test_a_file_that_changed_meanwhile_is_live_at_the_first_look(self, running: Server) -> None:
        """What was kept serves until then."""
        running.save("npc/smith.json", text("Newer."))
        again, _restored = restart(running, kept(running))
        (changed,) = named(again.look().events, ModuleChanged)
        assert (changed.module_id, changed.generation) == ("npc.smith", 4)
        assert words(again)["npc.smith"] == "Newer."

    def test_a_file_that_is_gone_takes_its_module_along(self, running: Server) -> None:
        """At the second look, as at any time."""
        (running.root / "npc/smith.json").unlink()
        again, _restored = restart(running, kept(running))
        assert again.look().deleted == ()
        (deleted,) = named(again.settle(), ModuleDeleted)
        assert deleted.module_id == "npc.smith"
        assert "npc.smith" not in again.snapshot

    def test_a_file_that_was_renamed_serves_under_its_new_name(self, running: Server) -> None:
        """And no longer under the old one."""
        (running.root / "npc/smith.json").rename(running.root / "npc/blacksmith.json")
        again, _restored = restart(running, kept(running))
        again.settle()
        assert words(again) == {"npc.baker": "Be brief.\n\nBake.", "npc.blacksmith": "Forge."}

    def test_an_include_that_is_gone_is_served_from_it(self, running: Server) -> None:
        """With what it included."""
        (running.root / "rules.md").unlink()
        again, _restored = restart(running, kept(running))
        (error,) = named(again.settle(), ReloadError)
        assert error.restored
        assert words(again)["npc.baker"] == "Be brief.\n\nBake."

    def test_an_empty_directory_in_the_place_of_ours_removes_nothing(self, running: Server) -> None:
        """A volume that is not mounted yet."""
        state = kept(running)
        running.root.rename(running.root.with_name("volume"))
        running.root.mkdir()
        again, _restored = restart(running, state)
        again.settle()
        assert len(again.snapshot) == 2
        running.root.rmdir()
        running.root.with_name("volume").rename(running.root)
        again.settle()
        assert words(again) == {"npc.baker": "Be brief.\n\nBake.", "npc.smith": "Forge."}

    def test_nothing_kept_is_nothing_restored(self) -> None:
        """The first look is a first look."""
        known = Known()
        restored = restore(StoredState(generation=9), EMPTY, known, NOTHING)
        assert restored.snapshot is EMPTY
        assert restored.known is known
        assert restored.events == ()

    def test_nothing_that_is_passed_in_changes(self, running: Server) -> None:
        """It is a function."""
        state, known = kept(running), Known()
        before = copy.deepcopy(known)
        one, other = (restore(state, EMPTY, known, NOTHING) for _ in range(2))
        assert known == before
        assert one.events == other.events
        assert EMPTY.generation == len(EMPTY) == 0

    @pytest.mark.parametrize(
        ("version", "fault"),
        [
            (stored(data="{broken"), "a name in double quotes is expected here"),
            (stored(data='{"instruction": 7}'), "instruction"),
            (stored(data=module_text("npc.other")), 'it says that it is "npc.other"'),
            (stored(module_id="npc.other"), 'it says that it is "npc.smith"'),
        ],
    )
    def test_what_can_t_be_served_is_said_and_left(self, version: Stored, fault: str) -> None:
        """Nothing that was kept is believed; the others serve all the same."""
        other = stored("npc/baker.json")
        restored = restore(StoredState(modules=(version, other)), EMPTY, Known(), NOTHING)
        assert list(restored.snapshot) == ["npc.baker"]
        ((module_id, told),) = restored.faults
        assert module_id == version.module_id
        assert fault in told

    def test_one_id_and_one_path_serve_once(self) -> None:
        """Ids that differ in case alone are one."""
        versions = (
            stored("npc/smith.json"),
            stored("npc/Smith.json"),
            stored("npc/baker.json", data=module_text("npc.baker")),
            stored("npc/baker.json", data=module_text("npc.cook"), module_id="npc.cook"),
        )
        restored = restore(StoredState(modules=versions), EMPTY, Known(), NOTHING)
        assert sorted(restored.snapshot) == ["npc.baker", "npc.smith"]

    def test_what_the_game_refuses_now_is_left(self) -> None:
        """A registered signature may have changed while the server was down."""
        version = stored(data=module_text("npc.smith", signature=None))
        restored = restore(
            StoredState(modules=(version,)), EMPTY, Known(),
            Registrations(signatures={"npc.dialogue": Registered(OTHER, "1")}),
        )  # fmt: skip
        assert restored.snapshot is EMPTY
        assert [module_id for module_id, _words in restored.faults] == ["npc.smith"]

        def prove(version: object) -> None:
            raise FaultError("DSPy will not have it")

        restored = restore(StoredState(modules=(stored(),)), EMPTY, Known(), Registrations(prove=prove))
        assert restored.faults == (("npc.smith", "DSPy will not have it"),)

    def test_what_alone_waits_keeps_its_place(self) -> None:
        """The generation goes on, and the file is known, though nothing serves yet."""
        version = stored(data=module_text("npc.smith", signature=None))
        restored = restore(StoredState(modules=(version,), generation=5), EMPTY, Known(), NOTHING)
        assert len(restored.snapshot) == 0
        assert restored.snapshot.generation == 5
        assert restored.known.findings["npc/smith.json"].kind is Kind.PENDING
        assert restored.waiting == StoredState(modules=(version,), generation=5)


class TestManifest:
    @pytest.fixture
    def listed(self, server: Server) -> Server:
        """A server whose manifest lists one module of two."""
        server.save("smith.json", text("Smith."))
        server.save("draft.json", text("Draft."))
        server.save(MANIFEST, manifest("npc.smith"))
        server.start()
        assert words(server) == {"npc.smith": "Smith."}
        return server

    def test_it_is_in_force_again(self, listed: Server) -> None:
        """With its entries; a look at the same files changes nothing."""
        again, restored = restart(listed, kept(listed))
        assert restored.snapshot.manifest is listed.snapshot.manifest
        assert restored.snapshot.with_tag("npc") == ("npc.smith",)
        again.settle()
        assert again.snapshot is restored.snapshot

    def test_broken_it_stays_in_force(self, listed: Server) -> None:
        """What it does not list is no module."""
        listed.save(MANIFEST, "{broken")
        again, _restored = restart(listed, kept(listed))
        (error,) = named(again.settle(), ReloadError)
        assert error.path == MANIFEST
        assert error.serving == hashlib.sha256(manifest("npc.smith").encode()).hexdigest()
        assert words(again) == {"npc.smith": "Smith."}

    def test_one_that_is_gone_is_out_of_force(self, listed: Server) -> None:
        """At the second look; then every file may be a module."""
        (listed.root / MANIFEST).unlink()
        again, _restored = restart(listed, kept(listed))
        again.look()
        assert words(again) == {"npc.smith": "Smith."}
        again.settle()
        assert words(again) == {"draft": "Draft.", "smith": "Smith."}

    def test_an_entry_that_is_gone_takes_its_module_along(self, listed: Server) -> None:
        """As at any time."""
        listed.save(MANIFEST, manifest("draft", path="draft.json"))
        again, _restored = restart(listed, kept(listed))
        events = again.settle()
        assert [event.module_id for event in named(events, ModuleDeleted)] == ["npc.smith"]
        assert words(again) == {"draft": "Draft."}

    def test_an_entry_for_an_lm_that_is_not_there_any_more_is_left(self, listed: Server) -> None:
        """The operator may have taken it away."""
        state = kept(listed)
        (version,) = state.modules
        assert version.entry is not None
        entry = msgspec.structs.replace(version.entry, lm="gone")
        state = StoredState(modules=(msgspec.structs.replace(version, entry=entry),), manifest=state.manifest)
        restored = restore(state, EMPTY, Known(), Registrations(lms={}))
        assert restored.snapshot is EMPTY
        assert "gone" in restored.faults[0][1]


class TestLater:
    """After the disk was looked at: in a library, when the file was slow, or once the game has registered more."""

    def later(self, server: Server, state: StoredState, **registrations: Any) -> Restored:
        """Bring back into a server that serves."""
        restored = restore(state, server.snapshot, server.known, Registrations(**registrations))
        server.snapshot, server.known = restored.snapshot, restored.known
        return restored

    def test_only_what_the_disk_could_not_give_comes_back(self, running: Server) -> None:
        """Broken and unreadable files; one that is missing, or good, is left alone."""
        running.save("npc/baker.json", "{broken")
        (running.root / "npc/smith.json").unlink()
        running.save("npc/guard.json", text("Another guard."))
        again = Server(running.root)
        again.start()
        assert words(again) == {"npc.guard": "Another guard."}
        restored = self.later(again, kept(running), signatures=running.registered)
        assert words(again) == {"npc.baker": "Be brief.\n\nBake.", "npc.guard": "Another guard."}
        assert [event.module_id for event in restored.changed] == ["npc.baker"]
        (error,) = restored.errors
        assert (error.path, error.restored, error.generation) == ("npc/baker.json", True, 2)
        running.save("npc/baker.json", "{broken in another way")
        (again_error,) = named(again.settle(), ReloadError)
        assert (again_error.module_id, again_error.serving, again_error.restored) == ("npc.baker", error.serving, True)
        assert error.serving == running.snapshot["npc.baker"].version
        assert restored.events == (*restored.changed, *restored.errors)
        again.settle()
        assert len(again.snapshot) == 2

    def test_a_file_that_is_broken_at_a_first_look_comes_back_at_once(self, running: Server) -> None:
        """It need not be decided that it is broken: nothing serves in its place. One that is missing is not broken."""
        state = kept(running)
        again, _first = restart(running, StoredState(generation=1))
        (running.root / "npc/baker.json").unlink()
        running.save("npc/smith.json", "{broken")
        again.snapshot = again.snapshot.commit({}, (), None)  # something serves already
        again.look()
        again.known.suspects["npc/baker.json"], again.known.missing = 0.0, frozenset({"npc/baker.json"})
        assert "npc/smith.json" in again.known.suspects
        self.later(again, state)
        assert "npc.baker" not in again.snapshot
        assert words(again)["npc.smith"] == "Forge."
        (error,) = named(again.settle(), ReloadError)
        assert error.restored

    def test_where_all_is_well_nothing_changes(self, running: Server) -> None:
        """Neither the snapshot nor what is known."""
        known, snapshot = running.known, running.snapshot
        restored = self.later(running, kept(running), signatures=running.registered)
        assert restored.snapshot is snapshot
        assert restored.known is known
        assert restored.events == ()

    def test_a_file_that_waits_is_served_by_what_was_before(self, server: Server) -> None:
        """Until the game registers what the newer one needs."""
        server.save("npc/smith.json", text("Before."))
        server.start()
        state = kept(server)
        server.save("npc/smith.json", module_text("npc.smith", signature=None))
        again = Server(server.root)
        again.start()
        assert words(again) == {}
        self.later(again, state)
        assert words(again) == {"npc.smith": "Before."}
        again.registered["npc.dialogue"] = Registered(FIELDS, "1")
        again.look(signatures=("npc.dialogue",))
        assert words(again) == {"npc.smith": "You are a smith."}

    def test_what_waits_comes_back_once_it_is_registered(self, running: Server) -> None:
        """If its file is broken; the rest goes on waiting."""
        state = kept(running)
        running.save("npc/guard.json", "{broken")
        again, first = restart(running, state)
        assert first.waiting is not None
        again.settle()
        assert "npc.guard" not in again.snapshot
        second = self.later(again, first.waiting)
        assert second.snapshot is again.snapshot
        assert second.waiting == first.waiting
        third = self.later(again, first.waiting, signatures=running.registered)
        assert third.waiting is None
        assert [error.path for error in third.errors] == ["npc/guard.json"]
        assert words(again)["npc.guard"] == "You are a smith."

    def test_an_id_that_serves_from_another_file_is_not_taken_away(self, server: Server) -> None:
        """Nor one that differs in case alone."""
        server.save("old.json", module_text("npc.smith"))
        server.start()
        state = kept(server)
        server.save("old.json", "{broken")
        server.save("new.json", module_text("NPC.Smith"))
        again = Server(server.root)
        again.start()
        restored = self.later(again, state)
        assert restored.events == ()
        assert sorted(again.snapshot) == ["NPC.Smith"]

    def test_a_file_that_serves_as_another_module_brings_back_none(self, server: Server) -> None:
        """It was kept as one, became another since, and is broken now."""
        server.save("a.json", module_text("one"))
        server.start()
        state = kept(server)
        server.save("a.json", module_text("two"))
        server.settle()
        server.save("a.json", "{broken")
        server.settle()
        assert self.later(server, state).events == ()
        server.save("a.json", module_text("two"))
        server.settle()
        assert sorted(server.snapshot) == ["two"]
        assert server.known.serves == {"a.json": "two"}

    def test_while_a_first_manifest_can_t_be_read_all_of_it_serves(self, server: Server) -> None:
        """With the manifest that was in force."""
        server.save("smith.json", text("Smith."))
        server.save("draft.json", text("Draft."))
        server.save(MANIFEST, manifest("npc.smith"))
        server.start()
        state = kept(server)
        server.save(MANIFEST, "{broken")
        again = Server(server.root)
        again.start()
        assert words(again) == {}
        self.later(again, state)
        assert words(again) == {"npc.smith": "Smith."}
        assert again.snapshot.manifest is state.manifest
        again.settle()
        assert words(again) == {"npc.smith": "Smith."}
        again.save(MANIFEST, manifest("npc.smith", path="draft.json"))
        again.settle()
        assert words(again) == {"npc.smith": "Draft."}

    def test_what_the_manifest_lists_elsewhere_is_left(self, server: Server) -> None:
        """The entry that is in force names the file."""
        server.save("smith.json", text("Smith."))
        server.save(MANIFEST, manifest("npc.smith"))
        server.start()
        state = kept(server)
        server.save("smith.json", "{broken")
        server.save("other.json", "{broken")
        server.save(MANIFEST, manifest("npc.smith", path="other.json"))
        again = Server(server.root)
        again.start()
        assert self.later(again, state).events == ()

    def test_a_file_of_which_nothing_good_was_seen_holds_its_id(self, server: Server) -> None:
        """A newcomer that claims it is rejected, as beside a file that was good."""
        server.save("a.json", module_text("npc.smith"))
        server.start()
        state = kept(server)
        server.save("a.json", "{broken")
        again = Server(server.root)
        again.start()
        self.later(again, state)
        again.save("b.json", module_text("npc.smith", instruction="A newcomer."))
        (error,) = [event for event in named(again.settle(), ReloadError) if event.path == "b.json"]
        assert "is already that of a.json" in error.error
        assert words(again) == {"npc.smith": "You are a smith."}


def manifest(module_id: str, path: str = "smith.json") -> str:
    entry = {"path": path, "hash": None, "tags": ["npc"]}
    return json.dumps({"version": "1.0", "modules": {module_id: entry}})
