"""Passes wait for whoever changes many files at once, and not for ever."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, capturedLogs, formatEvent

from dspyreload import HotReloadConfig, ModuleChanged
from dspyreload.disk.holds import HOLD, Held, Locks
from dspyreload.disk.scan import look
from dspyreload.live.holding import Holding
from dspyreload.testing import ReactorClock
from tests.conftest import Save, module_text
from tests.live.test_service import CASE, Rig, advance, ours, settle

LOCK = frozenset({("/game/.git/index.lock", (1, 2, 3, 4, 5))})
OTHER = frozenset({("/game/.git/index.lock", (1, 2, 3, 9, 9))})
CONFIG = HotReloadConfig(debounce=0.125, max_wait=0.5, rescan_interval=1000.0)  # 7.5 s at most


@pytest.fixture
def clock() -> Iterator[ReactorClock]:
    """The reactor; at the end there is no delayed call and no thread of ours."""
    clock = ReactorClock()
    yield clock
    settle(clock)
    assert clock.getDelayedCalls() == []
    assert ours() == []


@pytest.fixture
def rig(modules: Path, save: Save, clock: ReactorClock) -> Iterator[Rig]:
    """A service that is ready, with one module."""
    save("smith.json", module_text())
    rig = Rig(modules, clock, CONFIG)
    rig.start()
    yield rig
    if rig.service.running:
        rig.stop()


def lines(events: Sequence[LogEvent], word: str = "") -> list[str]:
    return [line for line in map(str, map(formatEvent, events)) if word in line]


def change(rig: Rig, save: Save, instruction: str) -> None:
    """Save a change of the module and let the quiet window be over, and some looks more."""
    save("smith.json", module_text(instruction=instruction))
    rig.tell("smith.json")


class TestHolding:
    """The waiting itself: values in, values out, and two lines of the log."""

    def test_it_waits_until_the_limit(self) -> None:
        """``max_wait`` times 15 after the first look that was held."""
        holding = Holding()
        assert all(holding.wait(Held(LOCK), 100.0 + second, 2.0) for second in range(30))
        assert not holding.wait(Held(LOCK), 130.0, 2.0)

    def test_a_look_that_was_not_held_begins_it_anew(self) -> None:
        """The limit is for each time that passes wait."""
        holding = Holding()
        assert holding.wait(Held(LOCK), 100.0, 2.0)
        holding.over()
        assert holding.wait(Held(LOCK), 129.0, 2.0)
        assert holding.wait(Held(LOCK), 158.0, 2.0)
        assert not holding.wait(Held(LOCK), 159.0, 2.0)

    def test_what_was_waited_for_too_long_is_waited_for_no_more(self) -> None:
        """One look waits for nobody; from then on, for nobody but those."""
        holding = Holding()
        assert holding.overdue == frozenset()
        holding.wait(Held(LOCK), 0.0, 2.0)
        holding.wait(Held(LOCK | OTHER), 30.0, 2.0)
        assert holding.overdue is None
        holding.over()
        assert holding.overdue == LOCK | OTHER

    @pytest.mark.parametrize("locks", [OTHER, frozenset()])
    def test_nor_is_it_when_another_is(self, locks: Locks) -> None:
        """Two that are left behind one after the other would otherwise take turns to hold each pass up."""
        holding = Holding()
        for held in (LOCK, locks):
            holding.wait(Held(held), 0.0, 2.0)
            assert not holding.wait(Held(held), 30.0, 2.0)
            holding.over()
        assert holding.overdue == LOCK | locks

    def test_a_short_wait_is_not_worth_a_word(self) -> None:
        """Most commits of git take a fraction of a second."""
        holding = Holding()
        with capturedLogs() as logged:
            holding.wait(Held(LOCK), 0.0, 2.0)
            holding.wait(Held(LOCK), 0.9, 2.0)
        assert lines(logged) == []

    def test_a_long_one_is_said_once(self) -> None:
        """With whom it waits for, and how long at most."""
        holding = Holding()
        with capturedLogs() as logged:
            for second in range(30):
                holding.wait(Held(LOCK), second, 2.0)
        assert lines(logged) == ["waiting for /game/.git/index.lock to be gone, 30 s at most"]

    def test_the_end_of_the_patience_is_said_once(self) -> None:
        """A crashed git leaves its lock behind; who reads the log removes it."""
        holding = Holding()
        holding.wait(Held(LOCK), 0.0, 2.0)
        with capturedLogs() as logged:
            holding.wait(Held(LOCK), 30.0, 2.0)
            holding.over()
        assert lines(logged) == [
            "waited 30 s for /game/.git/index.lock; looking all the same; delete it: it is not waited for again"
        ]

    def test_a_name_from_the_disk_is_made_harmless(self) -> None:
        """A folder above may have any name."""
        holding = Holding()
        held = Held(frozenset({("/game\x1b[2J/.dspyreload-hold", (1, 2, 3, 4, 5))}))
        with capturedLogs() as logged:
            holding.wait(held, 0.0, 2.0)
            holding.wait(held, 2.0, 2.0)
            holding.wait(held, 30.0, 2.0)
        assert len(lines(logged)) == 2
        assert all(line.isprintable() for line in lines(logged))


class TestPasses:
    """A service whose modules directory is held."""

    def test_nothing_goes_live_while_it_is_held(self, rig: Rig, modules: Path, save: Save) -> None:
        """And all at once when it is not."""
        hold = modules / HOLD
        hold.touch()
        change(rig, save, "first half")
        save("cook.json", module_text("npc.cook"))
        rig.tell("cook.json")
        advance(rig.clock, 3)
        assert (rig.engine.snapshot.generation, list(rig.engine.snapshot)) == (1, ["npc.smith"])
        hold.unlink()
        advance(rig.clock, 0.5)
        assert rig.engine.snapshot.generation == 2
        assert sorted(rig.engine.snapshot) == ["npc.cook", "npc.smith"]

    def test_a_hold_that_is_never_removed_holds_for_its_time_only(self, rig: Rig, modules: Path, save: Save) -> None:
        """Passes go on afterwards, and say so; the hold that stays is not waited for again."""
        (modules / HOLD).touch()
        change(rig, save, "first")
        advance(rig.clock, 6.5)
        assert rig.engine.snapshot.generation == 1
        with capturedLogs() as logged:
            advance(rig.clock, 1.5)
            assert (rig.engine.snapshot.generation, rig.instruction()) == (2, "first")
            change(rig, save, "second")
        assert rig.instruction() == "second"
        assert lines(logged, "wait") == [
            f"waited 7.5 s for {modules / HOLD}; looking all the same; delete it: it is not waited for again"
        ]

    def test_a_new_hold_after_that_is_waited_for(self, rig: Rig, modules: Path, save: Save) -> None:
        """By that name, but of another deploy."""
        (modules / HOLD).touch()
        change(rig, save, "first")
        advance(rig.clock, 8)
        (modules / HOLD).write_text("of another deploy")
        change(rig, save, "second")
        advance(rig.clock, 2)
        assert rig.instruction() == "first"
        (modules / HOLD).unlink()
        advance(rig.clock, 0.5)
        assert rig.instruction() == "second"

    def test_who_asks_for_a_reload_waits_too(self, rig: Rig, modules: Path, save: Save) -> None:
        """The Deferreds of an operator fire with what is whole, after the hold."""
        (modules / HOLD).touch()
        save("smith.json", module_text(instruction="new"))
        one: Deferred[Any] = rig.engine.reload_module("npc.smith")
        every: Deferred[Any] = rig.engine.reload_all()
        advance(rig.clock, 3)
        CASE.assertNoResult(one)
        CASE.assertNoResult(every)
        (modules / HOLD).unlink()
        advance(rig.clock, 0.5)
        assert isinstance(CASE.successResultOf(one), ModuleChanged)
        assert CASE.successResultOf(every) is not None
        assert rig.instruction() == "new"

    def test_a_stop_while_it_is_held_is_a_stop(self, rig: Rig, modules: Path, save: Save) -> None:
        """Nothing goes live afterwards, no timer is left, and a start later waits anew."""
        (modules / HOLD).touch()
        change(rig, save, "new")
        rig.stop()
        assert rig.clock.getDelayedCalls() == []
        (modules / HOLD).unlink()
        settle(rig.clock)
        assert rig.engine.snapshot.generation == 1

    def test_a_service_that_starts_again_while_it_is_held_waits(self, rig: Rig, modules: Path, save: Save) -> None:
        """What served before serves on; it is ready when the hold is gone."""
        rig.stop()
        (modules / HOLD).touch()
        save("smith.json", module_text(instruction="new"))
        rig.service.startService()
        settle(rig.clock)
        ready = rig.service.when_ready()
        advance(rig.clock, 2)
        CASE.assertNoResult(ready)
        assert rig.instruction() == "You are a smith."
        (modules / HOLD).unlink()
        advance(rig.clock, 0.5)
        CASE.successResultOf(ready)
        assert rig.instruction() == "new"

    def test_where_nothing_serves_yet_what_is_good_serves(self, modules: Path, save: Save, clock: ReactorClock) -> None:
        """A first start is not held: half of a tree is more than none. The rest of the change is one generation."""
        save("smith.json", module_text())
        (modules / HOLD).touch()
        rig = Rig(modules, clock, CONFIG, load=False)
        rig.start()
        assert rig.engine.snapshot.generation == 1
        change(rig, save, "half")
        save("cook.json", module_text("npc.cook"))
        rig.tell("cook.json")
        assert rig.engine.snapshot.generation == 1
        (modules / HOLD).unlink()
        advance(rig.clock, 0.5)
        assert rig.engine.snapshot.generation == 2
        rig.stop()

    def test_half_of_a_change_that_comes_and_goes_within_a_look_is_not_served(
        self, rig: Rig, modules: Path, save: Save, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """There is no lock before and none after; git's index was renewed, and it is looked at again."""
        (modules / ".git").mkdir()
        index = modules / ".git" / "index"
        index.write_text("1")
        looks = []

        def look_and_checkout(*arguments: Any) -> Any:
            seen = look(*arguments)
            looks.append(seen)
            if len(looks) == 1:
                save("smith.json", module_text(instruction="second half"))
                index.with_name("index.lock").write_text("2")
                os.replace(index.with_name("index.lock"), index)
            return seen

        monkeypatch.setattr("dspyreload.live.one_pass.look", look_and_checkout)
        events: list[Any] = []
        rig.service.subscribe(events.append)
        change(rig, save, "first half")
        advance(rig.clock, 1)
        assert [event.generation for event in events if isinstance(event, ModuleChanged)] == [2]
        assert rig.instruction() == "second half"
        assert len(looks) >= 2

    def test_health_is_ok_while_it_is_held(self, rig: Rig, modules: Path, save: Save) -> None:
        """A deploy is no fault."""
        (modules / HOLD).touch()
        change(rig, save, "new")
        advance(rig.clock, 2)
        assert rig.service.health().status == "ok"
        (modules / HOLD).unlink()

    def test_the_time_before_a_failure_does_not_count(self, rig: Rig, modules: Path, save: Save) -> None:
        """A hold, then no directory for a while, then a hold again: it is waited for as long as any."""
        (modules / HOLD).touch()
        change(rig, save, "first")
        modules.rename(modules.with_name("away"))
        advance(rig.clock, 20)
        modules.with_name("away").rename(modules)
        (modules / HOLD).write_text("of another deploy")
        advance(rig.clock, 5)
        change(rig, save, "second")
        assert rig.engine.snapshot.generation == 1
        (modules / HOLD).unlink()
        advance(rig.clock, 20)
        assert rig.instruction() == "second"

    def two(self, rig: Rig, save: Save) -> None:
        """Have two modules whose files' times prove that they did not change since."""
        save("cook.json", module_text("npc.cook"))
        time.sleep(0.05)  # what changed in the clock tick of its look is read again whatever is heard
        rig.engine.reload_all()
        advance(rig.clock, 0.5)

    def test_after_a_hold_everything_is_looked_at(self, rig: Rig, modules: Path, save: Save) -> None:
        """Word of the last files of a change may still be under way when the lock is gone; they belong together."""
        self.two(rig, save)
        (modules / HOLD).touch()
        change(rig, save, "new")
        save("cook.json", module_text("npc.cook", instruction="new"))
        (modules / HOLD).unlink()
        advance(rig.clock, 0.5)
        assert {rig.engine[name].instruction for name in rig.engine.snapshot} == {"new"}
        assert rig.engine.snapshot.generation == 3

    def test_after_a_checkout_that_no_look_saw_everything_is_looked_at(
        self, rig: Rig, modules: Path, save: Save
    ) -> None:
        """Its lock came and went before the first word of it was heard."""
        self.two(rig, save)
        (modules / ".git").mkdir()
        (modules / ".git" / "index").write_text("renewed")
        save("cook.json", module_text("npc.cook", instruction="new"))
        change(rig, save, "new")
        assert {rig.engine[name].instruction for name in rig.engine.snapshot} == {"new"}
        assert rig.engine.snapshot.generation == 3
