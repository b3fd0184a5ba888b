"""A manifest that was in force is in force again after a restart, also where it left nothing to serve."""

from __future__ import annotations

import pytest

from dspyreload.model.events import ManifestChanged
from dspyreload.model.finding import Known
from dspyreload.model.manifest import MANIFEST
from dspyreload.model.registrations import NOTHING
from dspyreload.model.restoring import StoredState, restore
from dspyreload.model.snapshot import EMPTY
from tests.conftest import module_text
from tests.disk.conftest import Server, named

LISTED = '{"modules": {"npc.smith": {"path": "a.json"}}}'


@pytest.fixture
def emptied(server: Server) -> Server:
    """A server whose manifest lists a file that was deleted, another one by its side."""
    server.save("b.json", module_text("npc.baker"))
    file = server.save("a.json", module_text("npc.smith"))
    server.save(MANIFEST, LISTED)
    server.start()
    file.unlink()
    server.settle()
    assert len(server.snapshot) == 0
    return server


def restarted(server: Server) -> Server:
    """Start another server with what the first one kept."""
    again = Server(server.root)
    state = StoredState(
        modules=(), manifest=server.snapshot.manifest, generation=server.snapshot.generation, root=server.known.root
    )
    restored = restore(state, EMPTY, Known(), NOTHING)
    again.snapshot, again.known = restored.snapshot, restored.known
    return again


def test_a_manifest_that_left_nothing_to_serve_is_in_force_again(emptied: Server) -> None:
    """Broken at the next start, it still keeps out what it does not list; generations go on."""
    emptied.save(MANIFEST, "{")
    again = restarted(emptied)
    again.settle()
    assert len(again.snapshot) == 0
    assert again.snapshot.manifest is emptied.snapshot.manifest
    assert again.snapshot.generation == emptied.snapshot.generation


def test_one_that_waits_at_the_next_start_waits_on(emptied: Server) -> None:
    """It comes into force with all of its files, as at any time."""
    emptied.save(MANIFEST, '{"modules": {"npc.baker": {"path": "b.json"}, "npc.cook": {"path": "c.json"}}}')
    again = restarted(emptied)
    again.settle()
    assert len(again.snapshot) == 0
    again.save("c.json", module_text("npc.cook"))
    again.settle()
    assert set(again.snapshot) == {"npc.baker", "npc.cook"}


def test_a_manifest_that_comes_back_is_told_of(server: Server) -> None:
    """As each that comes into force is."""
    server.save("a.json", module_text("npc.smith"))
    server.save(MANIFEST, LISTED)
    manifest = server.start().snapshot.manifest
    state = StoredState(manifest=manifest, generation=1, root=server.known.root)
    (event,) = named(restore(state, EMPTY, Known(), NOTHING).events, ManifestChanged)
    assert event.added == ("npc.smith",)
