"""Threads that storm, read, block and never return: the real service in a real reactor."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs, formatEvent

from dspyreload import (
    DSPyEngine,
    EventsDropped,
    HotReloadConfig,
    HotReloadEvent,
    HotReloadService,
    ModuleChanged,
    ModuleDeleted,
)
from tests.conftest import Save
from tests.faults.game import LIMIT, Play, reactor, text, until
from tests.faults.parent import STOP_LIMIT
from tests.faults.rows import Seen, row
from tests.left import Before

Left = tuple[set[threading.Thread], set[tuple[int, str]], set[IDelayedCall]]

PASS = "dspyreload-pass"


class Storm:
    """Three threads that make, move and remove folders, in each other's way.

    :ivar done: what each of them brought about.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.done = folder, dict.fromkeys(("mkdir", "mv", "rm"), 0)
        self._over = threading.Event()
        works = (self._make, self._move, self._remove)
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]

    def begin(self) -> None:
        """Let it rage."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Let it be over."""
        self._over.set()
        for thread in self._threads:
            thread.join(LIMIT)
            assert not thread.is_alive()

    def _somewhere(self, dice: random.Random) -> Path:
        folder = self.folder / f"a{dice.randrange(20)}"
        return folder / f"b{dice.randrange(3)}" if dice.random() < 0.5 else folder

    def _often(self, word: str, act: Callable[[random.Random], object], pause: float) -> None:
        dice = random.Random(word)
        while not self._over.is_set():
            with contextlib.suppress(OSError):
                act(dice)
                self.done[word] += 1
            time.sleep(pause)

    def _make(self) -> None:
        def act(dice: random.Random) -> None:
            folder = self._somewhere(dice)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"m{dice.randrange(3)}.json").write_text(text(f"Number {dice.random()}."))

        self._often("mkdir", act, 0)

    def _move(self) -> None:
        self._often("mv", lambda dice: self._somewhere(dice).rename(self._somewhere(dice)), 0.0005)

    def _remove(self) -> None:
        self._often("rm", lambda dice: shutil.rmtree(self._somewhere(dice)), 0.002)


@row(18)
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest_twisted.ensureDeferred
async def test_row_18_directory_storm(play: Play, save: Save, seen: Seen) -> None:
    """Folders made, moved and removed by three threads at once: what is served in the end is what is there.

    watchdog's threads may die of it, or lose a folder: the service is well again, and each later save is live.
    """
    save("npc/smith.json", text("You are a smith."))
    save("storm/calm.json", text("You wait."))
    game = await play(rescan_interval=1.0)
    storm = Storm(game.modules / "storm")
    storm.begin()
    try:
        passes = game.service.stats.passes
        await until(lambda: min(storm.done.values()) > 200 and game.service.stats.passes > passes + 3)
    finally:
        storm.end()
    began = time.monotonic()
    await game.agree()
    agreed = time.monotonic() - began
    assert "npc.smith" not in {event.module_id for event in game.heard(ModuleDeleted)}
    for path in game.saved():
        save(path, text(f"After the storm: {path}"))
    await game.agree()
    await until(lambda: game.service.health().status == "ok")
    stats = game.service.stats

    def untold() -> int:
        return stats.reloads_total - len(game.heard(ModuleChanged))

    # Subscribers hear on later turns; one that is a thousand events behind, as here may be, is told how many it lost.
    await until(lambda: 0 <= untold() <= sum(event.count for event in game.heard(EventsDropped)))
    acts = ", ".join(f"{count:,} {word}" for word, count in storm.done.items())
    seen(f"after {acts} and {stats.passes} passes what is served is what is there, {agreed:.1f} s after the storm")


@row(20)
@pytest_twisted.ensureDeferred
async def test_row_20_a_subscriber_raises_and_one_never_returns(play: Play, save: Save, seen: Seen) -> None:
    """Whatever a subscriber does, the others hear of every reload, and what it raised is counted and logged."""
    save("npc/smith.json", text("Version 0."))
    game = await play()
    raised: list[HotReloadEvent] = []
    stuck: list[HotReloadEvent] = []

    def raises(event: HotReloadEvent) -> None:
        raised.append(event)
        raise ValueError("no sword")

    async def raises_later(event: HotReloadEvent) -> None:
        await deferLater(reactor, 0, lambda: None)
        raises(event)

    def never(event: HotReloadEvent) -> Deferred[None]:
        stuck.append(event)
        return Deferred()

    heard: list[HotReloadEvent] = []
    for subscriber in (raises, raises_later, never, heard.append):
        game.service.subscribe(subscriber)
    with capturedLogs() as logs:
        for number in range(1, 6):
            save("npc/smith.json", text(f"Version {number}."))
            await until(lambda number=number: len(heard) == number)  # type: ignore[misc]
            assert game.engine["npc.smith"].instruction == f"Version {number}."
        await until(lambda: game.service.stats.subscriber_errors == 10)
    assert [event.generation for event in heard] == [2, 3, 4, 5, 6]
    assert sorted(event.generation for event in raised) == sorted([2, 3, 4, 5, 6] * 2)
    assert stuck == heard[:1]
    assert game.service.stats.reloads_total == 5
    lines = [entry for entry in logs if "log_failure" in entry]
    assert len(lines) == 10
    assert {formatEvent(entry) for entry in lines} == {"a subscriber raised at ModuleChanged; the others go on"}
    began = time.monotonic()
    await game.service.stopService().addTimeout(LIMIT, reactor)
    stopped = time.monotonic() - began
    assert stopped < STOP_LIMIT
    seen(f"5 reloads, heard by the others; {game.service.stats.subscriber_errors} errors counted and logged")
    seen(f"stopped in {stopped * 1e3:.0f} ms")


class Gate:
    """Blocks the reads of passes, as a dead network drive does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        self._read = os.read
        monkeypatch.setattr("dspyreload.disk.reading.os.read", self._blocked)

    def _blocked(self, handle: int, length: int) -> bytes:
        if threading.current_thread().name == PASS:
            self.reached.set()
            assert self.opened.wait(2 * LIMIT)
        return self._read(handle, length)


@pytest.fixture
def left() -> Callable[[], Left]:
    """Return what is there that was not there before the test: threads, descriptors, delayed calls."""
    before, calls = Before(), set(reactor.getDelayedCalls())
    return lambda: (before.threads(), before.descriptors(), set(reactor.getDelayedCalls()) - calls)


@row(21)
@pytest.mark.parametrize("released", ["within the limit", "after the limit"])
@pytest_twisted.ensureDeferred
async def test_row_21_stop_in_the_middle_of_a_pass(
    modules: Path,
    save: Save,
    monkeypatch: pytest.MonkeyPatch,
    left: Callable[[], Left],
    released: str,
    seen: Seen,
) -> None:
    """A pass that is stuck in a read keeps ``stopService`` for its limit at most, and what it reads is never live."""
    save("npc/smith.json", text("Before."))
    engine = DSPyEngine(modules)
    service = HotReloadService(engine, HotReloadConfig(debounce=0.05))
    service.startService()
    await service.when_ready().addTimeout(LIMIT, reactor)
    gate = Gate(monkeypatch)
    save("npc/smith.json", text("After."))
    await until(gate.reached.is_set)
    changed = service.next_event(ModuleChanged)
    stopped = service.stopService()
    assert changed.called
    changed.addErrback(lambda failure: None)
    with capturedLogs() as logs:
        began = time.monotonic()
        if released == "within the limit":
            gate.opened.set()
        await stopped.addTimeout(LIMIT, reactor)
        took = time.monotonic() - began
    assert took < STOP_LIMIT
    words = [formatEvent(entry) for entry in logs]
    if released == "after the limit":
        assert f"the thread {PASS} did not end within 3.0 s; what it finds will not be used" in words
        ((stuck,), _descriptors, calls) = left()
        assert (stuck.name, stuck.daemon, calls) == (PASS, True, set())
        gate.opened.set()
        await until(lambda: not stuck.is_alive())
        await deferLater(reactor, 0, lambda: None)
    else:
        assert not any("did not end" in line for line in words)
    assert left() == (set(), set(), set())
    assert engine["npc.smith"].instruction == "Before."
    assert (engine.snapshot.generation, service.stats.reloads_total) == (1, 0)
    seen(f"released {released}: stopped in {took:.2f} s, no thread, timer or descriptor left")
