"""What watchdog does when it is stopped under load, and that nobody is troubled with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest_twisted

from tests.conftest import Save
from tests.end_to_end.processes import ROOT
from tests.faults.game import LIMIT, Play, text, until
from tests.left import Before

TIMES = 40


def test_what_watchdog_prints_under_load_is_kept_off_the_operators_log(tmp_path: Path) -> None:
    """Repositories made and deleted below the root, and a service that stops meanwhile: not a line of watchdog's own.

    Python prints what is logged where nobody listens, and warnings, and twistd puts all that is printed into its log.
    """
    for name in ("east", "west"):
        (tmp_path / name).mkdir()
    command = (sys.executable, "-m", "tests.faults.restarted", str(tmp_path), str(TIMES))
    server = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=10 * LIMIT, check=False)
    assert (server.returncode, server.stdout, server.stderr) == (0, "", "")


@pytest_twisted.ensureDeferred
async def test_a_watch_that_has_lost_count_is_ended_all_the_same(play: Play, save: Save) -> None:
    """In a storm of directories watchdog forgets which it watches, and then raises when it is told to stop."""
    save("npc/smith.json", text("You are a smith."))
    before = Before()
    game = await play()
    watcher: Any = game.service._watcher
    for emitter in watcher._observer.emitters:
        emitter._inotify._active_callbacks_by_path.clear()
    await game.service.stopService().addTimeout(LIMIT, game.engine.reactor())
    assert not [line for line in game.lines() if "did not end" in line]
    await until(lambda: not before.threads())
    assert before.descriptors() == set()
