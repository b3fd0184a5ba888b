"""A storm of events: the watch is dropped, everything is looked at, and it is watched again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from watchdog.events import FileModifiedEvent

from dspyreload.disk.identity import identity
from dspyreload.live.burst import Burst, Interest
from dspyreload.testing import FakeObserver
from tests.live.test_watcher import EVERYTHING, KernelObserver, Rig, finish

INTEREST = Interest((".json",), lambda path: False)


@pytest.fixture
def rig(modules: Path) -> Iterator[Rig]:
    """A watcher for which a fourth event within a window is a storm."""
    with mock.patch("dspyreload.live.burst._STORM", 3):
        rig = Rig(modules)
        yield rig
        finish(rig)


def change(rig: Rig, observer: FakeObserver, times: int = 1) -> None:
    """Have the kernel tell of a file, several times in one turn of the reactor."""
    for _ in range(times):
        observer.tell("smith.json")
    rig.clock.run_calls()


def stormy(observer: KernelObserver) -> None:
    """Start an observer that has very much to tell at once."""
    FakeObserver.start(observer)
    for _ in range(10):
        observer.tell("smith.json")


def watched(rig: Rig) -> int:
    """Return how many observers run."""
    rig.work()
    return sum(observer.running for observer in rig.observers)


def test_a_few_events_are_heard_one_by_one(rig: Rig) -> None:
    """Each is a hint at its file, and the watch goes on."""
    observer = rig.start()
    change(rig, observer, 3)
    assert rig.hints == [["smith.json"]]
    assert watched(rig) == 1


def test_a_storm_is_a_hint_at_everything_and_ends_the_watch(rig: Rig) -> None:
    """What comes after it is not heard; half a second later it is watched again, which ends with a look."""
    observer = rig.start()
    change(rig, observer, 10)
    assert rig.hints == [EVERYTHING]
    assert watched(rig) == 0
    rig.clock.advance(0.4)
    assert watched(rig) == 0
    rig.clock.advance(0.7)
    assert watched(rig) == 1
    assert rig.hints == [EVERYTHING] * 2
    change(rig, rig.observers[-1])
    assert rig.hints[2:] == [["smith.json"]]


def test_a_storm_that_goes_on_is_sheltered_from_for_longer(rig: Rig) -> None:
    """Up to two seconds; after a calm time it is half a second again."""
    rig.start()
    rig.clock.advance(60)
    for seconds in (0.5, 1.0, 2.0, 2.0):
        change(rig, rig.observers[-1], 10)
        assert watched(rig) == 0
        rig.clock.advance(seconds - 0.1)
        assert watched(rig) == 0
        rig.clock.advance(0.1)
        assert watched(rig) == 1
    rig.clock.advance(60)
    change(rig, rig.observers[-1], 10)
    rig.clock.advance(0.5)
    assert watched(rig) == 1


def test_a_storm_before_the_watch_has_arrived_ends_it_too(rig: Rig) -> None:
    """The thread that arms it is slow in a storm; of 1,700 watches that began in one, one was deaf for good."""
    with mock.patch.object(KernelObserver, "start", stormy):
        rig.start()
        assert watched(rig) == 0
    rig.clock.advance(2.0)
    assert watched(rig) == 1
    rig.hints.clear()
    change(rig, rig.observers[-1])
    assert rig.hints == [["smith.json"]]


def test_a_pass_that_comes_by_does_not_end_the_shelter(rig: Rig, modules: Path) -> None:
    """It finds the same directory, and it is not yet time."""
    rig.start()
    change(rig, rig.observers[-1], 10)
    rig.watcher.check(identity(str(modules)))
    assert watched(rig) == 0


def test_a_stop_in_the_shelter_leaves_nothing(rig: Rig) -> None:
    """No timer that would watch again."""
    rig.start()
    change(rig, rig.observers[-1], 10)
    finish(rig)
    rig.clock.advance(5)
    assert watched(rig) == 0


def test_polling_weathers_every_storm(modules: Path) -> None:
    """Its one thread is ours to have, and there is nothing to watch with instead."""
    with mock.patch("dspyreload.live.burst._STORM", 3):
        rig = Rig(modules, polling=True)
        change(rig, rig.start(), 10)
        assert rig.hints == [["smith.json"]]
        assert watched(rig) == 1
        finish(rig)


def test_many_events_in_a_long_time_are_no_storm() -> None:
    """Only what comes within a fifth of a second counts together: a log that is written all the time is none."""
    now = [0.0]
    burst = Burst("/modules", INTEREST, lambda: None, clock=lambda: now[0])
    for _ in range(2000):
        now[0] += 0.001
        burst.dispatch(FileModifiedEvent("/modules/smith.json"))
    assert not burst.storm
    for _ in range(600):
        burst.dispatch(FileModifiedEvent("/modules/smith.json"))
    assert burst.storm
    assert burst.take(listen=True).paths is None
