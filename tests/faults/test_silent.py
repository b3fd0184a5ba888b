"""Changes of which no event tells: the timer finds them; and lost events, of which the kernel tells."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import mmap
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted

from dspyreload import ModuleChanged
from tests.conftest import Save
from tests.faults import ending
from tests.faults.game import Game, Play, reactor, text, until
from tests.faults.machine import needs
from tests.faults.namespace import MOUNTS, namespace
from tests.faults.rows import Seen, row

NEVER = 3600.0  # seconds between the timer's passes: what is found was not found by it
SILENT, LOUD = "npc/smith.json", "npc/loud.json"


async def is_live(game: Game, path: str, words: str) -> float:
    """Wait until a file says something, and return how many seconds that took."""
    began = reactor.seconds()
    await until(lambda: game.served().get(path) == words)
    return float(reactor.seconds() - began)


@row(9)
@pytest_twisted.ensureDeferred
async def test_row_9_silent_change(play: Play, modules: Path, save: Save, seen: Seen) -> None:
    """Written through a hard link from outside, or through memory: no event tells, the timer finds it.

    One game has a timer, the other, beside it, has none to speak of: what that one serves shows that nothing was told.
    """
    save(LOUD, text("Loud 0."))
    file = save(SILENT, text("Version 0."))
    outside = modules.parent / "outside.json"
    os.link(file, outside)
    timed, deaf = await play(rescan_interval=0.5), await play(rescan_interval=NEVER)

    async def nothing_tells(number: int) -> None:
        """Save another file: when that is live, what was told before is live too."""
        save(LOUD, text(f"Loud {number}."))
        await is_live(deaf, LOUD, f"Loud {number}.")
        assert deaf.served()[SILENT] == "Version 0."

    await nothing_tells(1)  # and what was saved in the clock tick of its own scan was read again
    outside.write_text(text("Version 1."))
    seconds = await is_live(timed, SILENT, "Version 1.")
    seen(f"hard link: live after {seconds:.1f} s with a timer of 0.5 s")
    await nothing_tells(2)

    with outside.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as memory:
        place = memory.find(b"1.")
        memory[place : place + 1] = b"2"
        seconds = await is_live(timed, SILENT, "Version 2.")
        seen(f"mmap: live after {seconds:.1f} s")
        await nothing_tells(3)
        before = file.stat()
        memory[place : place + 1] = b"3"  # the page is written already: no time changes with it
        after = file.stat()
        seconds = await is_live(timed, SILENT, "Version 3.")
        if (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns):
            seen(f"mmap again, same size and times: live after {seconds:.1f} s")
        await nothing_tells(4)

    changed = [event for event in timed.heard(ModuleChanged) if event.path == SILENT]
    assert len(changed) == 3
    assert (timed.service.stats.reloads_failed, timed.lines("warn", "error", "critical")) == (0, [])
    await deaf.engine.reload_all()
    await deaf.agree()
    await timed.agree()
    ending.check(seen, await ending.stop(timed, deaf))


LAYERS = """
mkdir -p {0}/upper {0}/work
mount -t overlay overlay -o lowerdir=lower,upperdir={0}/upper,workdir={0}/work modules
"""


@row(10)
def test_row_10_overlay_whose_lower_layer_is_edited(modules: Path, seen: Seen) -> None:
    """A container's image layer, edited from outside: no event tells, and the timer finds it."""
    needs("overlay")
    lower = modules.parent / "lower" / "npc"
    lower.mkdir(parents=True)
    (lower / "smith.json").write_text(text("Version 0."))
    (lower / "loud.json").write_text(text("Loud 0."))
    with contextlib.ExitStack() as stack:
        timed, deaf = (
            stack.enter_context(namespace(modules, *MOUNTS, script=LAYERS.format(name), rescan_interval=seconds))
            for name, seconds in (("timed", 0.5), ("deaf", NEVER))
        )
        for number in (1, 2):
            began = time.monotonic()
            if number == 2:
                (lower / "smith.json").write_text(text("Version 1."))
                timed.until(lambda look: look.served[SILENT] == "Version 1.")
                seen(f"live after {time.monotonic() - began:.1f} s with a timer of 0.5 s")
            deaf.save(LOUD, text(f"Loud {number}."))  # when that is live, what was told before is live too
            look = deaf.until(lambda look, number=number: look.served[LOUD] == f"Loud {number}.")  # type: ignore[misc]
            assert look.served[SILENT] == "Version 0."
        for game in (timed, deaf):
            assert game.look().health == "ok"
            assert game.lines("warn", "error", "critical") == []
        look = timed.look()
        assert (look.reloads, look.rejected, look.generation) == (1, 0, 2)
        assert [(event["kind"], event["path"]) for event in timed.events("ModuleChanged")] == [
            ("ModuleChanged", SILENT)
        ]
        ending.check(seen, timed.stop(), deaf.stop())


WRITES = 60_000

STORM = f"""
import os, sys
root = sys.argv[1]
files = [os.open(f"{{root}}/storm/{{number}}.json", os.O_WRONLY) for number in range(2)]
for number in range({WRITES}):  # one after the other: two events that are the same would be one
    os.pwrite(files[number % 2], b'{{"instruction": "Write %05d."}}' % number, 0)
with open(f"{{root}}/npc/smith.json", "w") as file:
    file.write('{{"instruction": "After the storm."}}')
os.mkdir(f"{{root}}/later")
with open(f"{{root}}/later/new.json", "w") as file:
    file.write('{{"instruction": "New after the storm."}}')
"""


@pytest.fixture
def overflows() -> Iterator[list[str]]:
    """What watchdog says of lost events."""
    said: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    handler = Handler(logging.WARNING)
    logger = logging.getLogger("watchdog.observers.inotify_c")
    logger.addHandler(handler)
    yield said
    logger.removeHandler(handler)


def wait_with_the_lock(pid: int) -> int:
    """Wait for a child as an extension module does that never gives the interpreter lock back; return its status."""
    status = ctypes.c_int()
    ctypes.PyDLL(None).waitpid(pid, ctypes.byref(status), 0)
    return os.waitstatus_to_exitcode(status.value)


@row(12)
@pytest.mark.parametrize("heard", ["until the storm is known", "to the last event"])
@pytest_twisted.ensureDeferred
async def test_row_12_queue_overflow(
    play: Play, save: Save, seen: Seen, overflows: list[str], monkeypatch: pytest.MonkeyPatch, heard: str
) -> None:
    """60,000 writes while no thread may run: the kernel drops events, and what they told of is live all the same.

    The last two files are written when the queue is full long since. The timer would not help. As it is, the watch is
    dropped after some hundred events; where all are heard, the last one says that events were lost.
    """
    if heard == "to the last event":
        monkeypatch.setattr("dspyreload.live.burst._STORM", 10 * WRITES)
    for number in range(2):
        save(f"storm/{number}.json", text("Write none."))
    save("npc/smith.json", text("Before."))
    game = await play(rescan_interval=NEVER)
    pid = os.posix_spawn(sys.executable, [sys.executable, "-I", "-c", STORM, str(game.modules)], dict(os.environ))
    began = reactor.seconds()
    assert wait_with_the_lock(pid) == 0
    held = reactor.seconds() - began
    await game.agree()
    after = reactor.seconds() - began - held
    if heard == "to the last event":
        assert "Inotify queue overflowed; filesystem events were lost" in overflows
    else:
        assert [line for line in game.lines("debug") if line.startswith("a storm of changes")]
    seen(f"{WRITES:,} writes in {held:.1f} s, heard {heard}: converged {after:.1f} s later")
    assert game.served() == {
        "storm/0.json": f"Write {WRITES - 2:05}.",
        "storm/1.json": f"Write {WRITES - 1:05}.",
        "npc/smith.json": "After the storm.",
        "later/new.json": "New after the storm.",
    }
    save("later/new.json", text("Edited."))
    await is_live(game, "later/new.json", "Edited.")
    assert game.service.health().status == "ok"
    await until(lambda: len(game.heard(ModuleChanged)) == game.service.stats.reloads_total)
    assert game.service.stats.reloads_total >= 5
    assert game.service.stats.reloads_failed == 0
    assert game.lines("warn", "error", "critical") == []
    ending.check(seen, await ending.stop(game))
