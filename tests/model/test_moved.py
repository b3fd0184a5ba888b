"""A file that is moved and saved again at once: its module is served all the way, until its new place is decided."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from dspyreload.disk.scan import Request, look
from dspyreload.model.events import HotReloadEvent, ModuleChanged, ModuleDeleted, ReloadError
from dspyreload.model.finding import Known, Look
from dspyreload.model.verdicts import with_verdicts
from tests import disk
from tests.conftest import module_text
from tests.disk.conftest import Server, named

OLD, NEW = module_text("npc", instruction="Old."), module_text("npc", instruction="New.")

Verdict = Callable[[str | None], None]


@pytest.fixture
def verdict(monkeypatch: pytest.MonkeyPatch) -> Verdict:
    """Say what the game's validators say of new.json: nothing yet (None), "" or why not."""
    said: list[str | None] = [""]

    def judged(request: Request, known: Known) -> Look:
        seen = look(request, known)
        return with_verdicts(seen, known, {path: said[0] for path in ("new.json",) if path in seen.findings}, "v")

    monkeypatch.setattr(disk.conftest, "look", judged)
    return lambda words: said.__setitem__(0, words)


def moved(server: Server) -> None:
    """Serve old.json, rename it, and have that looked at for the first time."""
    file = server.save("old.json", OLD)
    server.start()
    os.rename(file, server.root / "new.json")
    server.look("old.json", "new.json")


def test_what_validators_have_not_answered_for_does_not_remove_a_module(server: Server, verdict: Verdict) -> None:
    """It was moved and saved: the last good version serves until they accept the new one."""
    moved(server)
    server.save("new.json", NEW)
    verdict(None)
    events: tuple[HotReloadEvent, ...] = ()
    for _ in range(4):
        assert server.plan is not None
        events += server.look(*server.plan.again).events
        assert server.snapshot["npc"].module().instruction == "Old."
    verdict("")
    events += server.settle("new.json")
    assert server.snapshot["npc"].module().instruction == "New."
    assert (named(events, ModuleDeleted), len(named(events, ModuleChanged))) == ([], 1)
    assert server.settle() == ()


def test_what_validators_refuse_in_its_new_place_is_no_module(server: Server, verdict: Verdict) -> None:
    """Its old file is gone, and the new one may not serve: then it is removed, and not before."""
    moved(server)
    server.save("new.json", NEW)
    verdict(None)
    server.look()
    assert "npc" in server.snapshot
    verdict("too rude")
    events = server.settle("new.json")
    assert "npc" not in server.snapshot
    assert [event.module_id for event in named(events, ModuleDeleted)] == ["npc"]
    assert len(named(events, ReloadError)) == 1


def test_a_file_that_is_torn_after_it_was_moved_has_a_second_look(server: Server) -> None:
    """It was whole at the first: it is no more broken than one that stayed where it is."""
    moved(server)
    server.save("new.json", NEW[:50])
    assert server.plan is not None
    events = server.look(*server.plan.again).events
    assert "npc" in server.snapshot
    server.save("new.json", NEW)
    events += server.settle(*server.plan.again)
    assert server.snapshot["npc"].module().instruction == "New."
    assert (named(events, ModuleDeleted), named(events, ReloadError)) == ([], [])


def test_a_file_that_stays_torn_after_it_was_moved_is_no_module(server: Server) -> None:
    """Nobody can tell which module it is: its old file is gone, and it is rejected once."""
    moved(server)
    server.save("new.json", NEW[:50])
    events = server.settle()
    assert "npc" not in server.snapshot
    assert (len(named(events, ModuleDeleted)), len(named(events, ReloadError))) == (1, 1)
    assert server.settle() == ()


def test_a_file_that_is_moved_on_is_served_from_its_last_place(server: Server) -> None:
    """However often: the newest place is where it is found whole."""
    moved(server)
    os.rename(server.root / "new.json", server.root / "newest.json")
    events = server.settle()
    assert server.snapshot["npc"].path == "newest.json"
    assert named(events, ModuleDeleted) == []
