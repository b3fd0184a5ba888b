"""Ways of saving one file, as editors, optimizers and scripts have them: the kernel's events, the real reactor.

Where the timer is an hour away, whatever goes live was heard of.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from dspyreload import ModuleSkipped, ReloadError
from tests.conftest import Save
from tests.faults.game import Game, Play, reactor, text, until
from tests.faults.rows import Seen, row
from tests.faults.tally import Tally, settled, tally

HOUR = 3600.0
SMITH = "npc/smith.json"
BEFORE, AFTER = text("You are a smith.") + "\n", text("You are a gruff smith.") + "\n"  # as vim ends a file


async def live(game: Game, instruction: str, module_id: str = "npc.smith") -> None:
    """Wait until a module is served with an instruction."""
    await until(lambda: game.engine[module_id].instruction == instruction)


async def pause(seconds: float) -> None:
    """Let the reactor go on for a while."""
    await deferLater(reactor, seconds, lambda: None)


@row(1)
@pytest.mark.parametrize(
    "temporary", ["npc/.smith.json.k3x", "npc/smith.json.tmp", "drafts/smith.txt", "../smith.json"]
)
@pytest_twisted.ensureDeferred
async def test_row_1_save_by_rename(play: Play, save: Save, seen: Seen, temporary: str) -> None:
    """A new file that takes the name of the old one is one commit, wherever it was written."""
    save(SMITH, BEFORE)
    save("npc/bard.json", text("You are a bard."))
    (save("drafts/readme.txt", "Here we write.")).unlink()
    game = await play(rescan_interval=HOUR)
    os.replace(save(temporary, AFTER), game.modules / SMITH)
    await live(game, "You are a gruff smith.")
    assert await settled(game) == Tally(commits=1, changed=1)
    seen("1 commit, from a temporary file beside it, in another folder, and outside of the tree")


# vim


def by_hand(_game: Game, file: Path) -> None:
    """Save as vim does: the old file is the backup while the new one is written."""
    backup = file.with_name(file.name + "~")
    file.rename(backup)
    file.write_text(BEFORE)
    backup.unlink()


async def by_hand_with_a_look_in_between(game: Game, file: Path) -> None:
    """Save as vim does, while a pass sees that the file is missing."""
    backup = file.with_name(file.name + "~")
    file.rename(backup)
    await game.passes(1)
    file.write_text(BEFORE)
    await game.passes(1)
    backup.unlink()


def vim(backupcopy: str) -> Callable[[Game, Path], Awaitable[None]]:
    """Save with vim itself. It does not wait for the disk: how long that takes is no part of the fault."""

    async def save_with_vim(_game: Game, file: Path) -> None:
        settings = f"set nocompatible backupcopy={backupcopy} writebackup backupskip= nofsync swapsync="
        command = ("vim", "-es", "-u", "NONE", "-i", "NONE", "-c", settings, "-c", "w!", "-c", "qa!", str(file))
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
            await until(lambda: process.poll() is not None)
        assert process.returncode == 0

    return save_with_vim


WAYS: dict[str, Callable[[Game, Path], Awaitable[None] | None]] = {
    "by hand": by_hand,
    "by hand, with a look in between": by_hand_with_a_look_in_between,
}
if shutil.which("vim"):
    WAYS |= {"vim, backupcopy=no": vim("no"), "vim, backupcopy=auto": vim("auto")}


@row(2)
@pytest.mark.parametrize("way", WAYS)
@pytest_twisted.ensureDeferred
async def test_row_2_vims_save_of_the_same_bytes(play: Play, save: Save, seen: Seen, way: str) -> None:
    """The file has another name for a while and is another file then: one skip, and no commit that it was away.

    The quiet window is long, so that no pass falls between two steps of the editor but where it is meant to.
    """
    file = save(SMITH, BEFORE)
    inode = file.stat().st_ino
    game = await play(rescan_interval=HOUR, debounce=1.0)
    before = game.engine.snapshot
    saved = WAYS[way](game, file)
    if saved is not None:
        await saved
    await until(lambda: bool(game.heard(ModuleSkipped)))
    assert await settled(game) == Tally(skipped=1)
    assert game.engine.snapshot is before
    assert file.stat().st_ino != inode
    assert file.read_text() == BEFORE
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    seen(f"{way}: 0 commits, 1 skip")


# What is written slowly, or wrongly


@row(3)
@pytest_twisted.ensureDeferred
async def test_row_3_slow_torn_write(play: Play, save: Save, seen: Seen) -> None:
    """Looked at again and again while it is written in pieces, the file is live when it is whole, and only then.

    Its pieces come further apart than the quiet window is long: each torn content is rejected, once.
    """
    file = save(SMITH, BEFORE)
    game = await play(rescan_interval=HOUR, debounce=0.05)
    before, passes = game.engine.snapshot, game.service.stats.passes
    with file.open("w") as writing:
        for number in range(1, 6):
            writing.write(AFTER[(number - 1) * 10 : number * 10 if number < 5 else None])
            writing.flush()
            if number < 5:
                await pause(0.3)
                await until(lambda number=number: len(game.heard(ReloadError)) == number)  # type: ignore[misc]
                assert game.engine.snapshot is before
    looks = game.service.stats.passes - passes
    await live(game, "You are a gruff smith.")
    assert await settled(game) == Tally(commits=1, changed=1, rejected=4)
    assert {(error.path, error.serving, error.generation) for error in game.heard(ReloadError)} == {
        (SMITH, before["npc.smith"].version, 1)
    }
    assert all(line.endswith(" of npc.smith is still serving") for line in game.lines("error"))
    seen(f"{looks} looks at 4 torn contents, each rejected once; then 1 commit")


@row(4)
@pytest_twisted.ensureDeferred
async def test_row_4_json_that_stays_bad(play: Play, save: Save, seen: Seen) -> None:
    """It is rejected once, however often it is looked at, and looked at by the timer alone.

    Every tenth pass of the timer reads all bytes. The same garbage saved again is no news; other garbage is.
    """
    save(SMITH, BEFORE)
    interval = 0.25
    game = await play(rescan_interval=interval, debounce=0.01)
    before = game.engine.snapshot
    save(SMITH, '{"instruction": ')
    await until(lambda: bool(game.heard(ReloadError)))
    since, passes = reactor.seconds(), game.service.stats.passes
    await game.passes(12)
    made, ticks = game.service.stats.passes - passes, (reactor.seconds() - since) / interval
    assert made <= ticks + 2, "it was looked at more often than the timer asks for"
    assert await tally(game) == Tally(rejected=1)
    save(SMITH, '{"instruction": ')
    await game.passes(3)
    assert await tally(game) == Tally(rejected=1)
    save(SMITH, '{"instruction": "')
    await until(lambda: len(game.heard(ReloadError)) == 2)
    assert game.engine.snapshot is before
    save(SMITH, AFTER)
    await live(game, "You are a gruff smith.")
    assert await settled(game) == Tally(commits=1, changed=1, rejected=2)
    seen(f"1 `ReloadError` in {made} passes of the timer, one of them over all bytes; no pass besides")


# Deleted and written again; changed unseen


@row(8)
@pytest.mark.parametrize("away", ["for no time", "for less than a quiet window", "at a first look", "for longer"])
@pytest_twisted.ensureDeferred
async def test_row_8_delete_and_write_the_same_again(play: Play, save: Save, seen: Seen, away: str) -> None:
    """What is back before a second look was never away; what is back later is a module again."""
    file = save(SMITH, BEFORE)
    game = await play(rescan_interval=HOUR, debounce=0.05 if away == "for longer" else 1.0)
    before = game.engine.snapshot
    file.unlink()
    if away == "for less than a quiet window":
        await pause(0.3)
    elif away == "at a first look":
        await game.passes(1)
    elif away == "for longer":
        await until(lambda: "npc.smith" not in game.engine.snapshot)
    save(SMITH, BEFORE)
    if away == "for longer":
        await until(lambda: "npc.smith" in game.engine.snapshot)
        assert await settled(game) == Tally(commits=2, changed=1, deleted=1)
    else:
        await until(lambda: bool(game.heard(ModuleSkipped)))
        assert await settled(game) == Tally(skipped=1)
        assert game.engine.snapshot is before
    assert game.served() == {SMITH: "You are a smith."}
    seen(f"away {away}: {await tally(game)}; present")


@row(11)
@pytest.mark.parametrize("method", ["inotify", "polling"])
@pytest_twisted.ensureDeferred
async def test_row_11_same_size_and_mtime(play: Play, save: Save, seen: Seen, method: str) -> None:
    """A file that was changed in place, of the same size and with its old time put back, is found by its ctime.

    The kernel tells of it. Polling, which compares size and mtime, does not: there the timer's pass finds it.
    """
    file = save(SMITH, text("You are a smith"))
    was = file.stat()
    game = await play(rescan_interval=HOUR if method == "inotify" else 0.3, polling=method == "polling")
    with file.open("r+") as writing:
        writing.write(text("You are a SMITH"))
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    now = file.stat()
    assert (now.st_size, now.st_mtime_ns, now.st_ino) == (was.st_size, was.st_mtime_ns, was.st_ino)
    await live(game, "You are a SMITH")
    assert await settled(game) == Tally(commits=1, changed=1)
    seen(f"found, {'after an event' if method == 'inotify' else 'by the timer, where polling is blind to it'}")
