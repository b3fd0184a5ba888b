"""A folder that may not be listed: nothing of it is taken away, and the server is not well."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import capturedLogs, formatEvent

from dspyreload import DSPyEngine
from dspyreload.starting import faults_of
from tests.conftest import Save
from tests.faults.game import text
from tests.live.test_holding import clock, rig  # noqa: F401 - fixtures
from tests.live.test_service import Rig, advance


@pytest.fixture
def shut(monkeypatch: pytest.MonkeyPatch) -> dict[str, OSError]:
    """Folders that may not be listed, by name, and why: root may list everything."""
    folders: dict[str, OSError] = {}
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if (error := folders.get(os.path.basename(path))) is not None:
            raise error
        return scandir(path)

    monkeypatch.setattr("dspyreload.disk.tree.os.scandir", refuse)
    return folders


def look(rig: Rig) -> None:  # noqa: F811
    """Look at everything."""
    rig.engine.reload_all()
    advance(rig.clock, 1)


NO = PermissionError(13, "Permission denied")


def test_it_costs_health_until_it_can_be_listed(
    rig: Rig,  # noqa: F811
    modules: Path,
    save: Save,
    shut: dict[str, OSError],
) -> None:
    """What serves of it goes on serving."""
    save("npc/cook.json", text("Be kind."))
    look(rig)
    shut["npc"] = NO
    with capturedLogs() as logs:
        look(rig)
        look(rig)
        health = rig.service.health()
        assert health.status == "failing"
        words = f"{modules}/npc can't be listed; change the permissions; what serves of it goes on serving"
        assert health.reasons == (words,)
        assert "npc.cook" in rig.engine.snapshot
        shut.clear()
        look(rig)
    assert rig.service.health().status == "ok"
    lines = [str(formatEvent(entry)) for entry in logs if "listed" in str(formatEvent(entry))]
    assert lines == [
        "npc: the folder can't be listed: Permission denied",
        f"{words}; health is failing",
        f"{modules}: every folder can be listed again; health is ok",
    ]


def test_one_that_is_moved_while_it_is_listed_costs_nothing(
    rig: Rig,  # noqa: F811
    save: Save,
    shut: dict[str, OSError],
) -> None:
    """It is there under another name, and found by the next look."""
    save("npc/cook.json", text("Be kind."))
    shut["npc"] = FileNotFoundError(2, "No such file or directory")
    look(rig)
    assert rig.service.health().status == "ok"


def test_a_strict_server_does_not_start_with_it(modules: Path, save: Save, shut: dict[str, OSError]) -> None:
    """Nobody knows what is in it."""
    save("npc/cook.json", text("Be kind."))
    engine = DSPyEngine(modules, load=False)
    assert faults_of(engine, complete=True) is None
    shut["npc"] = NO
    found = faults_of(engine, complete=True)
    assert found is not None
    assert found.lines == ("npc: the folder can't be listed; change its permissions",)
    assert "1 folder that can't be listed" in found.words
