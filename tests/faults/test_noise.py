"""What goes on in the modules directory and changes no module: readers, and junk that is written all the time."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted

from dspyreload import ModuleChanged
from tests.conftest import Save
from tests.faults.game import LIMIT, Play, reactor, text, until
from tests.faults.rows import Seen, row
from tests.faults.tally import Tally, settled, tally

HOUR = 3600.0
SMITH = "npc/smith.json"
SLACK = 30.0  # seconds that a busy machine may take for what takes it a few milliseconds when it is idle


class Work:
    """A process that goes on until it is told to stop.

    :ivar rounds: how often it did what it does: it writes a byte each time.
    """

    def __init__(self, process: subprocess.Popen[bytes], told: Path) -> None:
        self.process, self._told = process, told

    @property
    def rounds(self) -> int:
        return self._told.stat().st_size

    @property
    def goes_on(self) -> bool:
        return self.process.poll() is None


@contextlib.contextmanager
def at_work(told: Path, *command: str) -> Iterator[Work]:
    """Have a process work for the time of a ``with`` block."""
    with told.open("wb") as out, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out) as process:
        try:
            yield Work(process, told)
        finally:
            process.kill()
            process.wait(LIMIT)


CAT = 'while cat "$0"/*/*.json > /dev/null; do printf .; done'


@row(23)
@pytest_twisted.ensureDeferred
async def test_row_23_readers(play: Play, save: Save, seen: Seen, tmp_path: Path) -> None:
    """Who reads a module, be it ourselves, gives no reason to look: passes are the timer's alone.

    The quiet window is so short that an event of each read would start a pass every few milliseconds.
    """
    for number in range(20):
        save(f"npc/m{number}.json", text(f"Number {number}."))
    save(SMITH, text("Before."))
    interval = 0.4
    game = await play(rescan_interval=interval, debounce=0.01, max_wait=0.02)
    before = game.engine.snapshot
    with at_work(tmp_path / "rounds", "sh", "-c", CAT, str(game.modules)) as readers:
        since, passes = reactor.seconds(), game.service.stats.passes
        await game.passes(12)  # one of them reads all bytes
        await until(lambda: readers.rounds >= 50)
        made, ticks = game.service.stats.passes - passes, (reactor.seconds() - since) / interval
        read = readers.rounds * 21
        assert made <= ticks + 3, "reading is taken for a change"
        assert await tally(game) == Tally()
        assert game.engine.snapshot is before
        save(SMITH, text("After."))
        await until(lambda: game.engine["npc.smith"].instruction == "After.")
        assert readers.goes_on
        assert await settled(game) == Tally(commits=1, changed=1)
    seen(f"0 commits, and no pass but the timer's {made}, in {read:,} reads of modules")


JUNK = """
import itertools, pathlib, sys, time
for number in itertools.count():
    for name in sys.argv[2:]:
        pathlib.Path(name).write_text(sys.argv[1] % number)
    print(end=".", flush=True)
    time.sleep(0.02)
"""

NOISE: dict[str, tuple[str, tuple[str, ...]]] = {
    "names that do not count": (
        "%d",
        ("npc/.smith.json.swp", "npc/4913", "npc/smith.json~", "npc/smith.json.tmp", "npc/server.log"),
    ),
    "a file that is never whole": ('{"instruction": "Number %d', ("npc/noise.json",)),
    "a module that is always new": ('{"instruction": "Number %d"}', ("npc/noise.json", "npc/more.json")),
}


@row(24)
@pytest.mark.parametrize("kind", NOISE)
@pytest_twisted.ensureDeferred
async def test_row_24_noise(play: Play, save: Save, seen: Seen, tmp_path: Path, kind: str) -> None:
    """A save goes live within ``max_wait`` although junk is written fifty times a second, and never pauses.

    Junk under a name that does not count is no reason to look at all. The time that this takes is the fact here.
    """
    save(SMITH, text("Before."))
    counts = kind != "names that do not count"
    max_wait = 1.0 if counts else 0.1
    game = await play(rescan_interval=HOUR, debounce=max_wait / 2, max_wait=max_wait)
    passes = game.service.stats.passes
    whole, names = NOISE[kind]
    paths = (str(game.modules / name) for name in names)
    with at_work(tmp_path / "rounds", sys.executable, "-c", JUNK, whole, *paths) as junk:
        await until(lambda: junk.rounds >= 100)
        since, written = reactor.seconds(), junk.rounds
        save(SMITH, text("After."))
        await until(lambda: game.engine["npc.smith"].instruction == "After.")
        took, meanwhile = reactor.seconds() - since, junk.rounds - written
        assert junk.goes_on
        assert took < max_wait + SLACK
        await until(lambda: junk.rounds > written + meanwhile)
    made = game.service.stats.passes - passes
    result = await settled(game)
    if not counts:
        assert result == Tally(commits=1, changed=1)
        assert made <= 5, "junk is a reason to look"
    assert [event.module_id for event in game.heard(ModuleChanged)].count("npc.smith") == 1
    seen(f"{kind}: live {took:.1f} s after the save (`max_wait` is {max_wait:g}), {meanwhile} junk writes later")
