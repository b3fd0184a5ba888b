"""What served before a restart serves before anything else, however long reading it takes."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import pytest_twisted

from dspyreload import ModuleChanged
from dspyreload.disk.state import StateFile
from dspyreload.model.restoring import StoredState
from tests.conftest import Save
from tests.faults.game import LIMIT, Play, reactor, text


@pytest_twisted.ensureDeferred
async def test_no_pass_begins_before_it_is_known_what_served(
    play: Play, modules: Path, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is broken at a restart is at no moment without its last good version; generations go on counting."""
    state = modules.parent / "state.sqlite3"
    save("npc/cook.json", text("Cook 1."))
    save("npc/smith.json", text("Smith 1."))
    first = await play(state=state)
    save("npc/smith.json", text("Smith 2."))
    await first.service.next_event(ModuleChanged).addTimeout(LIMIT, reactor)
    await first.stop()

    save("npc/smith.json", "{")
    go_on, whole = threading.Event(), StateFile.open

    def slowly(file: StateFile) -> StoredState | None:
        assert go_on.wait(LIMIT)
        return whole(file)

    monkeypatch.setattr(StateFile, "open", slowly)
    reactor.callLater(0.5, go_on.set)  # ten quiet windows
    second = await play(state=state)
    changed = second.heard(ModuleChanged)
    assert [(event.module_id, event.generation) for event in changed] == [("npc.cook", 2), ("npc.smith", 2)]
    assert second.served() == {"npc/cook.json": "Cook 1.", "npc/smith.json": "Smith 2."}
