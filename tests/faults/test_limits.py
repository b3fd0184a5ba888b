"""The kernel has no watches or no instances of inotify left: it is said, and what is saved is live all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Save
from tests.faults import ending
from tests.faults.game import text
from tests.faults.machine import needs
from tests.faults.namespace import LIMITED, Namespace, namespace
from tests.faults.rows import Seen, row

FOLDERS = tuple(f"npc/f{number}" for number in range(6))
NEVER = 3600.0  # seconds between the timer's passes: what is found was not found by it


def at_most(what: str, count: int) -> str:
    """Return a script that lets the namespace have so many watches or instances."""
    return f"echo {count} > /proc/sys/user/max_inotify_{what}"


def save_everywhere(game: Namespace, folders: tuple[str, ...], words: str) -> None:
    """Save a module in each folder, and wait until all are live."""
    for folder in folders:
        game.save(f"{folder}/a.json", text(words))
    game.until(lambda look: all(look.served.get(f"{folder}/a.json") == words for folder in folders))


@row(13)
@pytest.mark.parametrize("when", ["when it starts", "while it runs"])
def test_row_13_no_watches_left(modules: Path, save: Save, seen: Seen, when: str) -> None:
    """Three watches for eight directories, or eight and two more to come: degraded, and no save is lost.

    watchdog says nothing of a folder that the kernel does not watch. Here the timer would not help.
    """
    needs("inotify limits")
    for folder in FOLDERS:
        save(f"{folder}/a.json", text("Before."))
    count = 3 if when == "when it starts" else 8
    settings = {"rescan_interval": NEVER}
    with namespace(modules, *LIMITED, script=at_most("watches", count), **settings) as game:
        more: tuple[str, ...] = ()
        if when == "while it runs":
            assert game.look().health == "ok"
            more = ("later/f0", "later/f1")
            save_everywhere(game, more, "New.")
        look = game.until(lambda look: look.health != "ok")
        assert look.health == "degraded"
        (reason,) = look.reasons
        assert reason.endswith(
            "is polled, since the kernel can't be asked: the kernel has no inotify watches left; "
            "raise fs.inotify.max_user_watches with sysctl"
        )
        save_everywhere(game, FOLDERS + more, "After.")
        look = game.look()
        assert look.served == {f"{folder}/a.json": "After." for folder in FOLDERS + more}
        assert (look.reloads, look.rejected) == (len(FOLDERS) + 2 * len(more), 0)
        assert game.lines("warn", "error", "critical") == [f"{reason}; health is degraded"]
        assert [event["status"] for event in game.events("HealthChanged")] == ["degraded"]
        assert game.events("ReloadError", "ModuleDeleted") == []
        seen("degraded, polled, every save live")
        ending.check(seen, game.stop())


@row(14)
def test_row_14_no_instances_left(modules: Path, save: Save, seen: Seen) -> None:
    """No instance of inotify at all: degraded, polled, and every save is live."""
    needs("inotify limits")
    for folder in FOLDERS:
        save(f"{folder}/a.json", text("Before."))
    with namespace(modules, *LIMITED, script=at_most("instances", 0), rescan_interval=NEVER) as game:
        look = game.look()
        assert look.health == "degraded"
        (reason,) = look.reasons
        assert reason.endswith(
            "is polled, since the kernel can't be asked: the kernel has no inotify instances left; "
            "raise fs.inotify.max_user_instances with sysctl"
        )
        assert any("(polling)" in line for line in game.lines("info"))
        save_everywhere(game, FOLDERS, "After.")
        look = game.look()
        assert (look.reloads, look.rejected) == (len(FOLDERS), 0)
        assert game.lines("warn", "error", "critical") == [f"{reason}; health is degraded"]
        seen("degraded, polled, every save live")
        ending.check(seen, game.stop())
