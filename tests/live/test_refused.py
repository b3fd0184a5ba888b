"""What the kernel does not watch, and threads of watchdog that end: each is noticed, said, and made good for."""

from __future__ import annotations

import errno
import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.logger import capturedLogs, formatEvent
from watchdog.observers.inotify_c import InotifyFD

from dspyreload.live.burst import Interest
from dspyreload.live.health import Health, HealthBoard
from dspyreload.live.watcher import WatcherService
from dspyreload.reactor import IReactor
from dspyreload.testing import FakeObserver, ReactorClock
from tests.left import Before
from tests.live.test_watcher import EVERYTHING, Rig, finish, identity


class Kernel:
    """Stands in for watchdog's thread that asks the kernel.

    :ivar left: how many watches there still are.
    """

    def __init__(self, observer: FakeObserver, left: int) -> None:
        self._observer, self.left = observer, left
        self._watch_for_wd: dict[int, object] = {}

    def is_alive(self) -> bool:
        """Say whether it runs: as long as its observer does."""
        return self._observer.running

    def add_callback(self, path: bytes) -> None:
        """Watch one directory."""
        self._watch_for_wd[self._get_or_create_watch(path, 0)] = path

    def _get_or_create_watch(self, path: bytes, _mask: int) -> int:
        if path.endswith(b"gone"):
            raise OSError(errno.ENOENT, "No such file or directory")
        if not self.left:
            raise OSError(errno.ENOSPC, "inotify watch limit reached")
        self.left -= 1
        return self.left


class Watchdog(FakeObserver):
    """Watches a directory and a folder in it; as watchdog does, it swallows what the kernel says of the folder."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self._inotify_fd = Kernel(self, left)

    def start(self) -> None:
        super().start()
        self.add("")
        self.add("npc")
        self.add("gone")

    def add(self, folder: str) -> None:
        """Watch one more."""
        try:
            self._inotify_fd.add_callback(f"{self.root}/{folder}".encode())
        except OSError:
            if not folder:
                raise


class WatchdogRig(Rig):
    """A rig with such observers, and every change of health.

    :ivar left: the watches that an observer finds.
    """

    left = 3

    def __init__(self, root: Path) -> None:
        self.changes: list[Health] = []
        super().__init__(root, board=HealthBoard(self.changes.append, self.now))

    def now(self) -> float:
        """Return the seconds of the clock, which is not there yet while the rig is made."""
        return self.clock.seconds() if hasattr(self, "clock") else 0.0

    def make(self, polling: bool) -> Any:
        self.asked.append(polling)
        self.observers.append(FakeObserver() if polling else Watchdog(self.left))  # type: ignore[arg-type]
        return self.observers[-1]

    @property
    def statuses(self) -> list[str]:
        """The statuses that there were since the start."""
        return [health.status for health in self.changes]


@pytest.fixture
def rig(modules: Path) -> Iterator[WatchdogRig]:
    """A watcher that has not started; nothing of it is left at the end."""
    rig = WatchdogRig(modules)
    yield rig
    finish(rig)


def test_a_folder_that_the_kernel_does_not_watch_makes_all_polled(rig: WatchdogRig) -> None:
    """watchdog tells nobody, and nothing in that folder would ever be an event: the whole tree is polled, and why."""
    rig.left = 1
    with capturedLogs() as logs:
        rig.start()
    assert (rig.asked, rig.watcher.method) == ([False, True], "polling")
    assert [observer.running for observer in rig.observers] == [False, True]
    (health,) = rig.changes
    assert health.status == "degraded"
    assert "is polled, since the kernel can't be asked: the kernel has no inotify watches left" in health.reasons[0]
    assert [formatEvent(entry) for entry in logs] == [f"{health.reasons[0]}; health is degraded"]


def test_a_folder_that_vanished_while_it_was_to_be_watched_is_no_reason_to_poll(rig: WatchdogRig) -> None:
    """A tree changes while it is walked."""
    rig.start()
    assert (rig.watcher.method, rig.watcher.degraded, rig.statuses) == ("watchdog", "", [])


def test_a_folder_that_comes_later_and_is_not_watched_makes_all_polled(rig: WatchdogRig) -> None:
    """The watches may run out at any time, to this process or another: then it is as if they had at the start."""
    first = rig.start()
    assert isinstance(first, Watchdog)
    rig.left = first._inotify_fd.left = 0
    for _ in range(3):
        first.add("creatures")
    rig.clock.run_calls()
    rig.work()
    assert (rig.asked, rig.watcher.method, rig.statuses) == ([False, False, True], "polling", ["degraded"])
    assert rig.hints == [EVERYTHING], "what the folder holds is looked at"


def test_watches_that_were_short_for_a_moment_are_asked_for_once_more(rig: WatchdogRig) -> None:
    """When another process has let go of its watches, there is nothing to say."""
    first = rig.start()
    assert isinstance(first, Watchdog)
    first._inotify_fd.left = 0
    first.add("creatures")
    rig.clock.run_calls()
    rig.work()
    assert (rig.asked, rig.watcher.method, rig.statuses) == ([False, False], "watchdog", [])


def test_a_refusal_while_the_watch_arrives_is_not_lost(rig: WatchdogRig) -> None:
    """The reactor does not know the observer yet, and hears of the refusal all the same."""
    rig.watcher.startService()
    ((_name, work),) = rig.waiting
    rig.waiting.clear()
    work()
    first = rig.observers[0]
    assert isinstance(first, Watchdog)
    rig.left = first._inotify_fd.left = 0
    first.add("creatures")
    rig.clock.run_calls()
    rig.work()
    assert (rig.asked, rig.watcher.method, rig.statuses) == ([False, False, True], "polling", ["degraded"])


def test_a_refusal_after_the_stop_arms_nothing(rig: WatchdogRig) -> None:
    """What was on its way to the reactor is let go."""
    first = rig.start()
    assert isinstance(first, Watchdog)
    first._inotify_fd.left = 0
    first.add("creatures")
    rig.watcher.stopService()
    rig.work()
    assert rig.asked == [False]


def test_inotify_is_tried_again_every_thirty_seconds(rig: WatchdogRig, modules: Path) -> None:
    """While there are no watches it is polled; when there are, the kernel is asked again and all is well."""
    rig.left = 0
    rig.start()
    tried: list[float] = []
    began = rig.clock.seconds()
    for second in range(1, 96):
        rig.clock.advance(1)
        if second == 80:
            rig.left = 3
        asked = len(rig.asked)
        rig.watcher.check(identity(modules))
        rig.work()
        if len(rig.asked) > asked:
            tried.append(rig.clock.seconds() - began)
    assert tried == [30, 60, 90]
    assert (rig.watcher.method, rig.watcher.degraded, rig.statuses) == ("watchdog", "", ["degraded", "ok"])
    assert rig.changes[-1].since == began + 90


def test_a_dead_thread_is_failing_until_it_is_replaced_with_back_off(rig: WatchdogRig, modules: Path) -> None:
    """The first time at once, then after 1, 2, 4, 8 seconds and so on: what kills it may well kill the next.

    Nothing need happen meanwhile: that time has come is a hint by itself, and a pass follows.
    """
    rig.start()
    began = rig.clock.seconds()
    replaced: list[float] = []
    with capturedLogs() as logs:
        while len(replaced) < 8:
            rig.observers[-1].running = False
            rig.hints.clear()
            for _ in range(3):
                rig.watcher.check(identity(modules))
            assert rig.changes[-1].status == "failing"
            if not rig.waiting:
                while not rig.hints:
                    rig.clock.advance(0.5)
                assert rig.hints == [EVERYTHING]
                rig.watcher.check(identity(modules))
            assert rig.waiting
            replaced.append(rig.clock.seconds() - began)
            rig.work()
    waits = [after - before for before, after in itertools.pairwise(replaced)]
    assert replaced[0] == 0
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert rig.statuses == ["failing", "ok"] * 8
    words = {str(formatEvent(entry)).split(": ")[-1].split(" is watched ")[-1] for entry in logs}
    assert words == {
        "watchdog's thread has died; it is replaced; health is failing",
        "with watchdog again; health is ok",
    }


def test_a_stop_while_a_replacement_is_waited_for_leaves_no_timer(rig: WatchdogRig, modules: Path) -> None:
    """Nor does it hint at anything later."""
    rig.start()
    for _ in range(2):
        rig.observers[-1].running = False
        rig.watcher.check(identity(modules))
        rig.work()
    assert len(rig.clock.getDelayedCalls()) == 1
    finish(rig)


def test_one_that_lasted_is_replaced_at_once_again(rig: WatchdogRig, modules: Path) -> None:
    """Back-off is for what dies again and again."""
    rig.start()
    for _ in range(3):
        rig.observers[-1].running = False
        rig.watcher.check(identity(modules))
        assert rig.waiting, "it was not replaced at once"
        rig.work()
        rig.clock.advance(31)
        rig.watcher.check(identity(modules))
        assert not rig.waiting


class Ended:
    """A thread of watchdog's for one watch, which ended since the directory was deleted."""

    def __init__(self) -> None:
        self.stopped_event = threading.Event()
        self.stopped_event.set()

    def is_alive(self) -> bool:
        """Say that it has ended."""
        return False


@pytest.mark.parametrize("what", ["its thread ended by itself", "the kernel dropped every watch"])
def test_a_directory_that_is_gone_is_watched_anew_and_no_failure(rig: WatchdogRig, modules: Path, what: str) -> None:
    """Deleted and made again, or unmounted and mounted, it may have the same number as before."""
    first = rig.start()
    assert isinstance(first, Watchdog)
    if what == "the kernel dropped every watch":
        first._inotify_fd._watch_for_wd.clear()
    else:
        first.emitters = {Ended()}
    rig.watcher.check(identity(modules))
    rig.work()
    assert len(rig.observers) == 2
    assert rig.statuses == []


def test_a_watch_that_ended_and_can_not_begin_again_is_a_hint(rig: WatchdogRig, modules: Path) -> None:
    """The directory was deleted while a pass ended that had seen it: a pass must follow that finds it missing."""
    first = rig.start()
    first.emitters = {Ended()}
    seen = identity(modules)
    modules.rmdir()
    rig.watcher.check(seen)
    rig.work()
    assert rig.watcher.method == ""
    assert rig.hints == [EVERYTHING]
    modules.mkdir()
    rig.clock.advance(1)
    rig.watcher.check(identity(modules))
    rig.work()
    assert rig.watcher.method == "watchdog"
    assert rig.hints == [EVERYTHING, EVERYTHING]


@pytest.mark.parametrize("ended", ["before its first look", "by an error"])
def test_what_watchdog_forgets_to_close_is_closed(modules: Path, monkeypatch: pytest.MonkeyPatch, ended: str) -> None:
    """Its thread that reads from the kernel closes what it reads from: not where it is stopped first, or died."""

    def run(kernel: InotifyFD) -> None:
        if ended == "before its first look":
            assert kernel.stopped_event.wait(10)
            read(kernel)

    read = InotifyFD.run
    monkeypatch.setattr(InotifyFD, "run", run)
    before = Before()
    clock = ReactorClock()
    watcher = WatcherService(
        str(modules), lambda paths: None, Interest((), lambda path: False), cast("IReactor", clock)
    )
    watcher.startService()
    clock.wait()
    assert any("inotify" in target for _number, target in before.descriptors())
    stopped = watcher.stopService()
    while not stopped.called:
        clock.wait()
    assert before.descriptors() == set()


def test_what_watchdog_warns_of_is_warned_of_in_its_own_name(modules: Path) -> None:
    """It does so in storms of directories, at length; servers keep what it warns of off their logs by that name."""
    clock = ReactorClock()
    watcher = WatcherService(
        str(modules), lambda paths: None, Interest((), lambda path: False), cast("IReactor", clock)
    )
    watcher.startService()
    clock.wait()
    assert watcher._observer is not None
    (emitter,) = watcher._observer.emitters
    with pytest.warns(RuntimeWarning, match="already exists for watch") as warned:
        emitter._inotify._add_callback(os.fsencode(modules))
    stopped = watcher.stopService()
    while not stopped.called:
        clock.wait()
    assert [Path(warning.filename).parent.name for warning in warned if warning.category is RuntimeWarning] == [
        "observers"
    ]
