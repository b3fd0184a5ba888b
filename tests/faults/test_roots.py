"""The modules directory goes, comes back, and is another; a tree is moved into it. Then its events are heard again."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest
import pytest_twisted

from dspyreload import ModuleChanged, ModuleDeleted
from dspyreload.errors import HotReloadFailed
from dspyreload.model.events import HealthChanged
from tests.conftest import Save
from tests.faults import ending
from tests.faults.game import Game, Play, text, until
from tests.faults.machine import needs
from tests.faults.namespace import MOUNTS, Namespace, namespace
from tests.faults.rows import Seen, row

NEVER = 3600.0  # seconds between the timer's passes: what is found was not found by it
FILES = ("npc/smith.json", "npc/bard.json", "quest/dragon.json")

NOTICED = pytest.mark.parametrize("noticed", ["by the timer", "by an operator"])
"""No event tells. Where an operator asks for a look there is no timer to speak of: what comes later, events told of."""


def fill(directory: Path, words: str) -> None:
    """Write all files into a directory."""
    for path in FILES:
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text(words))


def all_are(words: str) -> dict[str, str]:
    """Return what is served when all files were written like this."""
    return dict.fromkeys(FILES, words)


def interval(noticed: str) -> float:
    """Return the seconds between the timer's passes."""
    return 0.5 if noticed == "by the timer" else NEVER


def heard(noticed: str) -> str:
    """Return what a test has seen of events."""
    return "; then each save live without a timer" * (interval(noticed) == NEVER)


async def edits_are_heard(game: Game, save: Save) -> None:
    """Save each file once more, a new one, and one in a new directory; where there is no timer, events must tell."""
    for path in (*game.saved(), "npc/new.json", "new/folder/new.json"):
        save(path, text(f"Edited: {path}"))
        await until(lambda path=path: game.served().get(path) == f"Edited: {path}")  # type: ignore[misc]
    await game.agree()


def statuses(game: Game) -> list[str]:
    """Return each status that health has had since the start."""
    return [event.status for event in game.heard(HealthChanged)]


@row(15)
@pytest_twisted.ensureDeferred
async def test_row_15_root_removed_and_made_again(play: Play, modules: Path, save: Save, seen: Seen) -> None:
    """While the directory is missing the last good versions serve; when it is back, events tell of what is saved."""
    fill(modules, "Before.")
    game = await play(rescan_interval=NEVER, debounce=0.5)
    shutil.rmtree(modules)
    await until(lambda: game.service.health().status == "failing")
    (reason,) = game.service.health().reasons
    assert "the modules directory can't be looked at (No such file or directory); generation 1 is still" in reason
    await until(lambda: len(game.lines("error")) == 1)
    assert game.served() == all_are("Before.")
    modules.mkdir()  # with the number that it had, on many file systems
    await until(lambda: "is another than before, and empty" in " ".join(game.service.health().reasons))
    with contextlib.suppress(HotReloadFailed):  # since it is empty
        await game.engine.reload_all()
    assert game.served() == all_are("Before.")
    fill(modules, "After.")
    await until(lambda: game.served() == all_are("After."))
    await until(lambda: game.service.health().status == "ok")
    await edits_are_heard(game, save)
    assert statuses(game) == ["failing", "ok"]
    assert game.heard(ModuleDeleted) == []
    assert game.lines("error", "critical") == [f"{reason}; health is failing"]
    await until(lambda: len(game.heard(ModuleChanged)) == game.service.stats.reloads_total)
    assert game.service.stats.reloads_total == 2 * len(FILES) + 2
    seen("last good versions while it was missing; then each save live without a timer")
    ending.check(seen, await ending.stop(game))


@row(15)
@pytest_twisted.ensureDeferred
async def test_row_15_root_removed_and_made_again_at_once(play: Play, modules: Path, save: Save, seen: Seen) -> None:
    """Nobody saw it missing, and it may have its old number: nothing is taken away, and what is saved is heard."""
    fill(modules, "Before.")
    number = modules.stat().st_ino
    game = await play(rescan_interval=NEVER, debounce=0.5)
    shutil.rmtree(modules)
    modules.mkdir()
    await until(lambda: "is another than before, and empty" in " ".join(game.service.health().reasons))
    with contextlib.suppress(HotReloadFailed):  # since it is empty
        await game.engine.reload_all()
    assert game.served() == all_are("Before.")
    fill(modules, "After.")
    await until(lambda: game.served() == all_are("After."))
    await edits_are_heard(game, save)
    assert statuses(game) == ["failing", "ok"]
    assert game.heard(ModuleDeleted) == []
    seen("at once" + ", with the same inode number" * (modules.stat().st_ino == number) + ": the same")
    ending.check(seen, await ending.stop(game))


@row(16)
@NOTICED
@pytest_twisted.ensureDeferred
async def test_row_16_root_renamed_another_in_its_place(
    play: Play, modules: Path, save: Save, seen: Seen, noticed: str
) -> None:
    """The other one is served and watched, and what happens in the one that was renamed is none of our business."""
    fill(modules, "Before.")
    other, old = modules.with_name("other"), modules.with_name("old")
    fill(other, "After.")
    (other / FILES[1]).unlink()
    game = await play(rescan_interval=interval(noticed))
    modules.rename(old)
    other.rename(modules)
    if noticed == "by an operator":
        assert game.served() == all_are("Before.")
        await game.engine.reload_all()
    await game.agree()
    await edits_are_heard(game, save)
    generation = game.engine.snapshot.generation
    fill(old, "Of the old one.")
    await edits_are_heard(game, save)  # the same once more: nothing is new
    assert game.engine.snapshot.generation == generation
    assert not any("old one" in words for words in game.served().values())
    assert [event.module_id for event in game.heard(ModuleDeleted)] == ["npc.bard"]
    assert (statuses(game), game.lines("error", "critical")) == ([], [])
    (line,) = game.lines("warn")
    assert line.startswith("npc.bard is no longer served: ")
    seen(
        f"noticed {noticed}: the other one served"
        + "; then each save live without a timer" * (interval(noticed) == NEVER)
    )
    ending.check(seen, await ending.stop(game))


def edits_inside_are_heard(game: Namespace, words: str) -> None:
    """Save each file once more, and one in a new directory; where there is no timer, events must tell."""
    for path in (*FILES, "new/folder/new.json"):
        game.save(path, text(words))
        game.until(lambda look, path=path: look.served.get(path) == words)  # type: ignore[misc]


@row(17)
@NOTICED
def test_row_17_mount_over_and_unmount(modules: Path, seen: Seen, noticed: str) -> None:
    """A volume that is empty, as one that is not filled yet, takes nothing away; unmounted, all is as before."""
    needs("mounts")
    fill(modules, "Before.")

    def notice(game: Namespace) -> None:
        if noticed == "by an operator":
            why = game.reload()
            assert why == "" or why.endswith("the modules directory is another than before, and empty")

    with namespace(modules, *MOUNTS, rescan_interval=interval(noticed)) as game:
        edits_inside_are_heard(game, "Edited.")
        before = game.look()
        game.run("mount -t tmpfs -o mode=755 none modules")
        notice(game)
        look = game.until(lambda look: look.health == "failing")
        (reason,) = look.reasons
        assert "the modules directory is another than before, and empty; generation" in reason
        passes = look.passes
        notice(game)
        look = game.until(lambda look: look.passes > passes)
        assert (look.served, look.generation, look.health) == (before.served, before.generation, "failing")
        game.run("umount modules")
        notice(game)
        game.until(lambda look: look.health == "ok")
        edits_inside_are_heard(game, "Edited again.")
        look = game.look()
        assert look.served == {**all_are("Edited again."), "new/folder/new.json": "Edited again."}
        assert (look.reloads, look.rejected) == (2 * (len(FILES) + 1), 0)
        assert [event["status"] for event in game.events("HealthChanged")] == ["failing", "ok"]
        assert game.events("ModuleDeleted", "ReloadError") == []
        assert game.lines("warn", "error", "critical") == [f"{reason}; health is failing"]
        seen(
            f"noticed {noticed}: last good versions under the empty mount"
            + "; then each save live without a timer" * (interval(noticed) == NEVER)
        )
        ending.check(seen, game.stop())


@row(17)
def test_row_17_mount_over_that_is_filled_and_another_volume_in_its_place(modules: Path, seen: Seen) -> None:
    """What comes into the volume is heard of; and what comes into the next one, which may look just like it."""
    needs("mounts")
    fill(modules, "On the disk.")
    with namespace(modules, *MOUNTS, rescan_interval=NEVER) as game:
        for number in range(1, 4):
            game.run("mount -t tmpfs -o mode=755 none modules")
            before = game.look().served
            game.reload()
            game.reload()
            look = game.look()
            assert (look.health, look.served) == ("failing", before)
            for path in FILES:
                game.save(path, text(f"In volume {number}."))
            game.until(lambda look, number=number: look.served == all_are(f"In volume {number}."))  # type: ignore[misc]
            edits_inside_are_heard(game, f"Edited in volume {number}.")
            game.until(lambda look: look.health == "ok")
            game.run("umount modules")
        game.reload()
        game.until(lambda look: look.served == all_are("On the disk."))
        game.until(lambda look: look.health == "ok")
        edits_inside_are_heard(game, "Edited on the disk.")
        seen("a mount that is filled, and another in its place: each save live without a timer")
        ending.check(seen, game.stop())


@row(19)
@pytest_twisted.ensureDeferred
async def test_row_19_a_tree_moved_in_then_edited(play: Play, modules: Path, save: Save, seen: Seen) -> None:
    """All that is in it is loaded, and edits in it are heard of, however deep; as they are after it is moved about."""
    save("npc/smith.json", text("You are a smith."))
    tree = modules.with_name("tree")
    fill(tree, "Brought along.")
    (tree / "a/b/c/d").mkdir(parents=True)
    (tree / "a/b/c/d/deep.json").write_text(text("Brought along."))
    game = await play(rescan_interval=NEVER)
    tree.rename(modules / "moved")
    await game.agree()
    assert len(game.served()) == 2 + len(FILES)
    await edits_are_heard(game, save)
    (modules / "moved").rename(modules / "npc/again")
    await game.agree()
    await edits_are_heard(game, save)
    os.renames(modules / "npc/again", tree)
    await game.agree()
    assert set(game.served()) == {"npc/smith.json", "npc/new.json", "new/folder/new.json"}
    assert (statuses(game), game.lines("error", "critical")) == ([], [])
    assert all(" is no longer served: " in line for line in game.lines("warn"))
    assert game.service.stats.reloads_failed == 0
    seen("loaded, moved on, moved out: each save live without a timer")
    ending.check(seen, await ending.stop(game))
