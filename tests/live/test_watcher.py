"""Watching a directory: with watchdog stood in for, and, at the end, with watchdog itself."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.logger import capturedLogs, formatEvent
from twisted.trial import unittest as trial

from dspyreload.disk import identity as disk
from dspyreload.live.burst import Interest
from dspyreload.live.watcher import WatcherService, make_observer
from dspyreload.reactor import IReactor
from dspyreload.testing import FakeObserver, ReactorClock
from tests.left import Before

CASE = trial.SynchronousTestCase()
QUEUE_LOG = logging.getLogger("watchdog.observers.inotify_c")
EVERYTHING = "everything"


class NoThread:
    """Stands in for a thread whose work is done by the test."""

    def join(self, timeout: float | None = None) -> None:
        """Return at once."""


class KernelObserver(FakeObserver):
    """A fake that also keeps how it was scheduled."""

    options: dict[str, Any]

    def schedule(self, handler: Any, path: str, **options: Any) -> None:
        self.options = options
        super().schedule(handler, path, **options)


class Rig:
    """A watcher of a real directory with fake observers, and threads whose work waits for :meth:`work`."""

    def __init__(self, root: Path, **options: Any) -> None:
        self.clock = ReactorClock()
        self.waiting: list[tuple[str, Callable[[], None]]] = []
        self.observers: list[KernelObserver] = []
        self.asked: list[bool] = []
        self.faults: list[Exception] = []
        self.hints: list[str | list[str]] = []
        self.watcher = WatcherService(
            str(root),
            self.hint,
            Interest((".json",), lambda path: False),
            cast("IReactor", self.clock),
            **{"make_observer": self.make, "start_thread": self.start_thread, **options},
        )

    def start_thread(self, target: Callable[[], None], name: str) -> NoThread:
        self.waiting.append((name, target))
        return NoThread()

    def hint(self, paths: Iterable[str] | None) -> None:
        self.hints.append(EVERYTHING if paths is None else sorted(paths))

    def make(self, polling: bool) -> Any:
        self.asked.append(polling)
        self.observers.append(KernelObserver(None if polling or not self.faults else self.faults[0]))
        return self.observers[-1]

    def work(self, name: str = "") -> None:
        """Do what threads were started for."""
        while todo := [pair for pair in self.waiting if pair[0].startswith(name)]:
            self.waiting.remove(todo[0])
            todo[0][1]()
            self.clock.run_calls()

    def start(self) -> KernelObserver:
        """Start, and return the observer that runs then."""
        self.watcher.startService()
        self.work()
        self.hints.clear()
        return self.observers[-1]


def identity(root: Path) -> tuple[int, int]:
    return disk.identity(str(root))


@pytest.fixture
def rig(modules: Path) -> Iterator[Rig]:
    """A watcher that has not started; nothing of it is left at the end."""
    rig = Rig(modules)
    yield rig
    finish(rig)


def finish(rig: Rig) -> None:
    """Stop, and check that no timer, observer or log handler is left."""
    stopped = rig.watcher.stopService() if rig.watcher.running else None
    rig.work()
    if stopped is not None:
        CASE.successResultOf(stopped)
    assert rig.clock.getDelayedCalls() == []
    assert not any(observer.running for observer in rig.observers)
    assert QUEUE_LOG.handlers == []


def test_nothing_is_built_before_the_service_starts(rig: Rig) -> None:
    """Under twistd the process forks after the service is made; an observer from before is dead after it."""
    assert (rig.observers, rig.waiting) == ([], [])
    rig.watcher.startService()
    assert rig.observers == [], "watchdog was built on the reactor thread"
    assert [name for name, _work in rig.waiting] == ["dspyreload-arm"]


def test_the_real_path_is_watched(modules: Path, tmp_path: Path) -> None:
    """A symlink as root gives no events by itself."""
    link = tmp_path / "link"
    link.symlink_to(modules)
    rig = Rig(link)
    assert rig.start().root == os.path.realpath(modules)
    assert rig.watcher.method == "kernel"
    finish(rig)


def test_what_changed_before_the_watch_is_hinted_at_when_it_begins(rig: Rig) -> None:
    """Arming ends with a look at everything."""
    rig.watcher.startService()
    armed = rig.watcher.when_armed()
    CASE.assertNoResult(armed)
    rig.work()
    CASE.successResultOf(armed)
    assert rig.hints == [EVERYTHING]


def test_only_kinds_of_events_that_tell_of_a_change_are_asked_for(rig: Rig) -> None:
    """Opening and closing a file to read it is no event: our own reads would start passes without end."""
    names = {kind.__name__ for kind in rig.start().options["event_filter"]}
    assert {"FileCreatedEvent", "FileModifiedEvent", "FileMovedEvent", "FileDeletedEvent", "FileClosedEvent"} <= names
    assert {"FileAttribEvent", "DirCreatedEvent", "DirMovedEvent", "DirDeletedEvent"} <= names
    assert not names & {"FileOpenedEvent", "FileClosedNoWriteEvent", "FileSystemEvent"}
    assert rig.observers[-1].options["recursive"] is True


def test_a_burst_of_hundreds_of_events_wakes_the_reactor_once(rig: Rig) -> None:
    """The reactor is called once, and hears of every file."""
    observer = rig.start()
    for number in range(200):
        observer.tell(f"m{number % 100}.json")
    assert rig.clock.run_calls() == 1
    assert rig.hints == [sorted(f"m{number}.json" for number in range(100))]


def test_the_destination_of_a_rename_is_hinted_at(rig: Rig) -> None:
    """A save by rename shows the module only there."""
    rig.start().tell("smith.json.tmp", "moved", dest="smith.json")
    rig.clock.run_calls()
    assert rig.hints == [["smith.json"]]


def test_a_directory_event_hints_at_everything(rig: Rig) -> None:
    """A tree that was moved in brings files that no event names."""
    rig.start().tell("npc", "moved", dest="creatures", directory=True)
    rig.clock.run_calls()
    assert rig.hints == [EVERYTHING]


def test_a_configmap_swap_hints_at_everything(rig: Rig) -> None:
    """Kubernetes renames ..data_tmp to ..data, and that is all."""
    rig.start().tell("..data_tmp", "moved", dest="..data")
    rig.clock.run_calls()
    assert rig.hints == [EVERYTHING]


def test_editors_temporary_files_wake_nobody(rig: Rig) -> None:
    """vim's swap file and its test file 4913 are no hint."""
    observer = rig.start()
    for name in (".smith.json.swp", "4913", "smith.json~", ".#smith.json", "#smith.json#"):
        observer.tell(name, "created")
    assert rig.clock.run_calls() == 0


def test_an_overflow_in_watchdogs_log_hints_at_everything_until_the_stop(rig: Rig) -> None:
    """watchdog tells of lost events in its log only; our handler there is removed with the watch."""
    rig.start()
    QUEUE_LOG.warning("Inotify queue overflowed; filesystem events were lost")
    rig.clock.run_calls()
    assert rig.hints == [EVERYTHING]
    stopped = rig.watcher.stopService()
    rig.work()
    CASE.successResultOf(stopped)
    assert QUEUE_LOG.handlers == []


def test_events_after_the_stop_hint_at_nothing(rig: Rig) -> None:
    """What was on its way to the reactor is let go."""
    observer = rig.start()
    observer.tell("smith.json")
    rig.watcher.stopService()
    rig.clock.run_calls()
    observer.tell("smith.json")
    rig.clock.run_calls()
    assert rig.hints == []


# What the kernel refuses


@pytest.mark.parametrize(("number", "word"), [(28, "max_user_watches"), (24, "max_user_instances")])
def test_without_watches_or_instances_it_polls_and_says_why(rig: Rig, number: int, word: str) -> None:
    """ENOSPC and EMFILE: degraded, with the sysctl to raise in the log, and the observer that failed is stopped."""
    rig.faults = [OSError(number, os.strerror(number))]
    with capturedLogs() as logs:
        rig.start()
    assert rig.asked == [False, True]
    assert rig.watcher.method == "polling"
    assert word in rig.watcher.degraded
    assert [formatEvent(entry) for entry in logs if word in formatEvent(entry)]
    assert rig.observers[0].stops == 1, "an observer that never started keeps a thread and three descriptors"


def test_the_kernel_is_tried_again_later(rig: Rig, modules: Path) -> None:
    """Not at each pass; after half a minute; and when it gives watches again, that is said and polling ends."""
    rig.faults = [OSError(28, "No space left on device")]
    rig.start()
    rig.watcher.check(identity(modules))
    assert rig.waiting == []
    rig.clock.advance(60)
    with capturedLogs() as logs:
        rig.watcher.check(identity(modules))
        rig.work()
    assert rig.watcher.method == "polling"
    assert logs == [], "the same reason is said once"
    rig.faults = []
    rig.clock.advance(60)
    with capturedLogs() as logs:
        rig.watcher.check(identity(modules))
        rig.work()
    assert rig.watcher.method == "kernel"
    assert rig.watcher.degraded == ""
    assert len(logs) == 1
    assert [observer.running for observer in rig.observers].count(True) == 1


def test_polling_that_was_asked_for_is_not_degraded(modules: Path) -> None:
    """With polling=True the kernel is never asked."""
    rig = Rig(modules, polling=True)
    rig.start()
    assert (rig.asked, rig.watcher.method, rig.watcher.degraded) == ([True], "polling", "")
    finish(rig)


def test_a_missing_directory_raises_nothing(modules: Path) -> None:
    """Nothing can be watched, which passes tell of; once it is there a look at it arms the watch."""
    modules.rmdir()
    rig = Rig(modules)
    with capturedLogs() as logs:
        rig.watcher.startService()
        rig.work()
    assert rig.watcher.method == ""
    assert logs == []
    rig.watcher.check(None)
    assert rig.waiting == []
    modules.mkdir()
    rig.watcher.check(identity(modules))
    rig.work()
    assert rig.watcher.method == "kernel"
    finish(rig)


def test_no_thread_for_arming_is_a_failed_attempt(modules: Path) -> None:
    """Where no thread can be started the next look arms the watch."""
    threads = False

    def start(target: Callable[[], None], name: str) -> NoThread:
        if not threads:
            raise RuntimeError("can't start new thread")
        return machine.start_thread(target, name)

    machine = Rig(modules, start_thread=start)
    with contextlib.suppress(RuntimeError):
        machine.watcher.startService()
    threads = True
    machine.watcher.check(identity(modules))
    assert [name for name, _work in machine.waiting] == ["dspyreload-arm"]
    machine.work()
    finish(machine)


# What happens to the directory and to watchdog


def test_as_long_as_all_is_well_a_check_does_nothing(rig: Rig, modules: Path) -> None:
    """Each pass checks; the same directory and a living observer are left alone."""
    rig.start()
    for _ in range(100):
        rig.clock.advance(10)
        rig.watcher.check(identity(modules))
    assert rig.waiting == []


def test_another_directory_under_the_name_is_watched_in_its_place(rig: Rig, modules: Path) -> None:
    """The root was deleted and made again, renamed, or mounted over: the old observer reports of the old inode."""
    old = rig.start()
    modules.rename(modules.with_name("old"))
    modules.mkdir()
    rig.watcher.check(None)
    assert rig.waiting == []
    rig.watcher.check(identity(modules))
    rig.work()
    new = rig.observers[-1]
    assert (old.running, new.running) == (False, True)
    assert rig.hints == [EVERYTHING]
    old.tell("smith.json")
    rig.clock.run_calls()
    assert rig.hints == [EVERYTHING]


@pytest.mark.parametrize("part", ["observer", "emitter"])
def test_a_dead_thread_of_watchdog_is_replaced(rig: Rig, modules: Path, part: str) -> None:
    """The next pass sees that the observer, or one of its emitters, does not live any more."""
    observer = rig.start()
    if part == "observer":
        observer.running = False
    else:
        observer.emitters = {FakeObserver()}
    rig.watcher.check(identity(modules))
    rig.work()
    assert len(rig.observers) == 2
    assert rig.observers[-1].running


def test_a_check_while_arming_does_not_arm_twice(rig: Rig, modules: Path) -> None:
    """One attempt at a time."""
    rig.watcher.startService()
    rig.watcher.check(identity(modules))
    assert len(rig.waiting) == 1


# Stopping


def test_stopping_while_arming_ends_what_the_attempt_brings(rig: Rig) -> None:
    """The observer that arrives after the stop is stopped, and only then is the stop done."""
    rig.watcher.startService()
    stopped = rig.watcher.stopService()
    CASE.assertNoResult(stopped)
    rig.work("dspyreload-arm")
    rig.work("dspyreload-disarm")
    CASE.successResultOf(stopped)
    assert rig.observers[-1].stops == 1
    assert rig.hints == []


def test_an_attempt_that_is_stuck_is_named_after_a_time_limit(rig: Rig) -> None:
    """Walking a dead network mount never ends: the stop does, with a line in the log that names the thread."""
    rig.watcher.startService()
    stopped = rig.watcher.stopService()
    with capturedLogs() as logs:
        rig.clock.advance(10)
    CASE.successResultOf(stopped)
    assert any("dspyreload-arm" in formatEvent(entry) for entry in logs)


def test_watchdog_that_does_not_end_is_named_after_a_time_limit(rig: Rig) -> None:
    """join has no end of its own; the stop has."""
    rig.start()
    stopped = rig.watcher.stopService()
    with capturedLogs() as logs:
        rig.clock.advance(10)
    CASE.successResultOf(stopped)
    assert any("fake-observer" in formatEvent(entry) for entry in logs)


def test_a_stop_waits_for_an_observer_that_was_being_replaced(rig: Rig, modules: Path) -> None:
    """The old observer's thread may take its time; until it has ended the stop is not done."""
    old = rig.start()
    modules.rename(modules.with_name("old"))
    modules.mkdir()
    rig.watcher.check(identity(modules))
    slow = [pair for pair in rig.waiting if pair[0] == "dspyreload-disarm"]
    rig.waiting = [pair for pair in rig.waiting if pair not in slow]
    rig.work()
    stopped = rig.watcher.stopService()
    rig.work()
    assert old.running
    CASE.assertNoResult(stopped)
    rig.waiting = slow
    rig.work()
    CASE.successResultOf(stopped)


def test_starting_and_stopping_again_and_again_leaves_nothing(rig: Rig) -> None:
    """Each observer is stopped once; no timer and no log handler stays."""
    for _ in range(20):
        rig.start()
        stopped = rig.watcher.stopService()
        rig.work()
        CASE.successResultOf(stopped)
        assert rig.clock.getDelayedCalls() == []
    assert [observer.stops for observer in rig.observers] == [1] * 20


# watchdog itself


@pytest.mark.parametrize("polling", [False, True])
def test_watchdog_tells_of_a_save_and_leaves_no_thread(modules: Path, polling: bool) -> None:
    """A file that is made in a watched directory is hinted at; after the stop all threads are as before."""
    before = Before()
    clock = ReactorClock()
    hints: list[object] = []
    watcher = WatcherService(
        str(modules),
        lambda paths: hints.append(None if paths is None else sorted(paths)),
        Interest((".json",), lambda path: False),
        cast("IReactor", clock),
        polling=polling,
        make_observer=make_observer,
    )
    watcher.startService()
    armed = watcher.when_armed()
    clock.wait()
    CASE.successResultOf(armed)
    assert watcher.degraded == ""
    hints.clear()
    (modules / "smith.json").write_text("{}")
    while not hints:
        clock.wait()
    assert hints[0] in (["smith.json"], None)
    stopped = watcher.stopService()
    while not stopped.called:
        clock.wait()
    assert clock.getDelayedCalls() == []
    for thread in before.threads():
        thread.join(5)
    assert before.threads() == set()


def test_reading_a_module_is_no_event(modules: Path) -> None:
    """Ten reads wake nobody; the save that follows is the first that is heard of."""
    (modules / "smith.json").write_text("{}")
    clock = ReactorClock()
    hints: list[Any] = []
    watcher = WatcherService(
        str(modules),
        lambda paths: hints.append(paths),
        Interest((".json",), lambda path: False),
        cast("IReactor", clock),
    )
    watcher.startService()
    clock.wait()
    hints.clear()
    for _ in range(10):
        (modules / "smith.json").read_text()
    (modules / "baker.json").write_text("{}")
    while not hints:
        clock.wait()
    assert hints[0] == {"baker.json"}
    stopped = watcher.stopService()
    while not stopped.called:
        clock.wait()


def test_an_event_while_the_watch_is_armed_does_not_make_it_deaf(modules: Path) -> None:
    """watchdog reports before the reactor knows of the observer: that wake-up is not the last one."""

    class Early(KernelObserver):
        def start(self) -> None:
            super().start()
            self.tell("smith.json")

    rig = Rig(modules, make_observer=lambda polling: Early())
    rig.watcher.startService()
    rig.work()
    rig.hints.clear()
    assert rig.watcher._observer is not None
    cast("Early", rig.watcher._observer).tell("smith.json")
    rig.clock.run_calls()
    assert rig.hints == [["smith.json"]]
    finish(rig)


def test_arming_that_fails_is_tried_again_with_back_off_and_said_once(modules: Path) -> None:
    """Passes check often; a directory that can't be watched is not walked at each of them."""
    tries: list[bool] = []

    def broken(polling: bool) -> Any:
        tries.append(polling)
        raise OSError("no")

    rig = Rig(modules, make_observer=broken)
    with capturedLogs() as logs:
        rig.watcher.startService()
        rig.work()
        for _ in range(600):
            rig.clock.advance(0.1)
            rig.watcher.check(identity(modules))
            rig.work()
    assert 4 <= len(tries) // 2 <= 9
    assert len([entry for entry in logs if "can't be watched" in formatEvent(entry)]) == 1
    assert 2 <= len(rig.hints) <= len(tries) // 2, "a pass comes by when it is time for the next attempt"
    finish(rig)
