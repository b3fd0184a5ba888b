"""A service stops, and leaves nothing; what does not start leaves nothing half started."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.application.service import MultiService, Service
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import capturedLogs, formatEvent

from dspyreload import DSPyEngine, HotReloadConfig, HotReloadService
from dspyreload.disk.scan import look
from dspyreload.errors import AlreadyRunning, ServiceStopped
from dspyreload.testing import FakeObserver, ReactorClock
from tests.conftest import Save, module_text
from tests.faults.game import until
from tests.freed import freed_in_reactor
from tests.left import Before
from tests.live.test_service import CASE, Rig, ours, settle

reactor: Any = installed
TIMES = 100
LIMIT = 60.0
KERNEL = logging.getLogger("watchdog.observers.inotify_c")


class All(Before):
    """Timers and handlers of loggers as well."""

    def __init__(self) -> None:
        super().__init__()
        self._calls = set(reactor.getDelayedCalls())
        self._handlers = list(KERNEL.handlers)

    def more(self) -> list[object]:
        """Return what is there now and was not."""
        calls = set(reactor.getDelayedCalls()) - self._calls
        handlers = [handler for handler in KERNEL.handlers if handler not in self._handlers]
        return [*self.threads(), *self.descriptors(), *calls, *handlers]


async def all_of(*deferreds: Deferred[Any]) -> None:
    await DeferredList(list(deferreds), fireOnOneErrback=True, consumeErrors=True).addTimeout(LIMIT, reactor)


async def run_two(folder: Path, *, until_ready: bool) -> list[weakref.ref[Any]]:
    """Start two services and stop them, and return what should be gone by then."""
    engines = [DSPyEngine(folder / name) for name in ("one", "two")]
    services = [
        HotReloadService(engine, HotReloadConfig(debounce=0.01), state=folder / f"{number}.sqlite3")
        for number, engine in enumerate(engines)
    ]
    for service in services:
        service.startService()
    if until_ready:
        await all_of(*(service.when_ready() for service in services))
        assert sorted(engines[0].snapshot) == ["npc.smith"]
    await all_of(*(service.stopService() for service in services))
    await all_of(*(engine.close() for engine in engines))
    return [weakref.ref(part) for part in (*engines, *services, *(engine.passes for engine in engines))]


@pytest_twisted.ensureDeferred
async def test_two_services_started_and_stopped_100_times_leave_nothing(tmp_path: Path) -> None:
    """No thread, descriptor, timer, handler of a logger, and none of the objects themselves."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "smith.json").write_text(module_text())
    gone: list[weakref.ref[Any]] = []
    for number in range(2):  # what is imported when it is first needed, is there by then
        gone += await run_two(tmp_path, until_ready=bool(number % 2))
    before = All()
    for number in range(2, TIMES):  # each other time they are stopped while they start
        gone += await run_two(tmp_path, until_ready=bool(number % 2))
    assert await freed_in_reactor(*gone)
    await until(lambda: not before.more())


@pytest_twisted.ensureDeferred
async def test_one_service_started_and_stopped_again_and_again_leaves_nothing(tmp_path: Path, modules: Path) -> None:
    """The same object, the same engine, and the same state file."""
    (modules / "smith.json").write_text(module_text())
    engine = DSPyEngine(modules)
    service = HotReloadService(engine, HotReloadConfig(debounce=0.01), state=tmp_path / "state.sqlite3")
    before: All | None = None
    for _ in range(20):
        service.startService()
        await all_of(service.when_ready())
        assert service.health().status == "ok"
        await all_of(service.stopService())
        assert service.health().reasons == ("the service is not running",)
        before = before or All()
        await until(lambda before=before: not before.more())  # type: ignore[misc]
    await all_of(engine.close())


# With a clock, and threads that a test holds up


@pytest.fixture
def clock() -> Iterator[ReactorClock]:
    """The reactor; at the end there is no delayed call and no thread of ours."""
    clock = ReactorClock()
    yield clock
    settle(clock)
    assert clock.getDelayedCalls() == []
    assert ours() == []


@pytest.fixture
def rig(modules: Path, save: Save, clock: ReactorClock) -> Rig:
    """A service that is not started, of one module."""
    save("smith.json", module_text())
    return Rig(modules, clock)


class Refuses(Service):
    """A child of a game's that does not start, or fails when its privileges are still there."""

    def __init__(self, *, privileged: bool = False) -> None:
        self.privileged = privileged

    def privilegedStartService(self) -> None:
        if self.privileged:
            raise OSError("port 23 is taken")

    def startService(self) -> None:
        super().startService()
        raise OSError("port 4000 is taken")


class Counted(Service):
    """A child that starts, and counts its stops."""

    stops = 0

    def stopService(self) -> None:
        super().stopService()
        self.stops += 1


def nothing_runs(rig: Rig) -> None:
    """Neither passes nor watcher nor timer are there, and the engine may be had by another."""
    assert not rig.service.running
    assert not rig.engine.passes.active
    assert rig.observer.running is False
    assert rig.clock.getDelayedCalls() == []
    assert ours() == []
    assert KERNEL.handlers == []


def test_a_child_of_the_service_that_fails_to_start_leaves_nothing_half_started(rig: Rig) -> None:
    """Its siblings that have started are stopped, and the failure is the caller's; a later start is whole."""
    first, refuses = Counted(), Refuses()
    first.setServiceParent(rig.service)
    refuses.setServiceParent(rig.service)
    with pytest.raises(OSError, match="port 4000"):
        rig.service.startService()
    assert (first.running, first.stops) == (0, 1)
    assert not refuses.running
    nothing_runs(rig)
    refuses.disownServiceParent()
    rig.start()
    assert first.running
    rig.stop()
    nothing_runs(rig)


def test_a_sibling_that_fails_before_leaves_nothing_of_ours_started(rig: Rig) -> None:
    """The host's collection ends its start; our part of it has not begun."""
    host = MultiService()
    Refuses().setServiceParent(host)
    rig.service.setServiceParent(host)
    with pytest.raises(OSError, match="port 4000"):
        host.startService()
    nothing_runs(rig)
    host.stopService()
    nothing_runs(rig)


def test_a_sibling_that_fails_after_is_stopped_with_us(rig: Rig) -> None:
    """What runs by then runs until the host is stopped, and is gone then."""
    host = MultiService()
    rig.service.setServiceParent(host)
    Refuses().setServiceParent(host)
    with pytest.raises(OSError, match="port 4000"):
        host.startService()
    settle(rig.clock)
    assert rig.service.running
    stopped = host.stopService()
    settle(rig.clock)
    CASE.successResultOf(stopped)
    nothing_runs(rig)


def test_a_sibling_that_fails_with_privileges_leaves_nothing_of_ours_started(rig: Rig) -> None:
    """Nothing of ours is done with them."""
    host = MultiService()
    rig.service.setServiceParent(host)
    Refuses(privileged=True).setServiceParent(host)
    with pytest.raises(OSError, match="port 23"):
        host.privilegedStartService()
    nothing_runs(rig)


def test_a_second_service_that_is_refused_touches_nothing_of_the_first(rig: Rig) -> None:
    """Not when it is stopped, either."""
    rig.start()
    second = HotReloadService(rig.engine, make_observer=lambda polling: FakeObserver())  # type: ignore[arg-type, return-value]
    host = MultiService()
    host.startService()
    with pytest.raises(AlreadyRunning):
        second.setServiceParent(host)
    assert not second.running
    assert rig.service.health().status == "ok"
    CASE.successResultOf(host.stopService())
    assert (rig.service.running, rig.engine.passes.active, rig.observer.running) == (1, True, True)
    rig.stop()


@pytest.mark.parametrize("held_up", ["the pass", "watching", "the end of watching"])
def test_a_stop_fires_within_5_seconds(rig: Rig, modules: Path, monkeypatch: pytest.MonkeyPatch, held_up: str) -> None:
    """Whatever is stuck in the kernel; the thread's name is in the log, and its result is thrown away."""
    gate = threading.Event()

    def waits(*arguments: Any) -> Any:
        assert gate.wait(LIMIT)
        return look(*arguments)

    if held_up == "the pass":
        rig.start()
        monkeypatch.setattr("dspyreload.live.one_pass.look", waits)
        (modules / "smith.json").write_text(module_text(instruction="Late."))
        rig.engine.reload_all().addErrback(lambda failure: failure.trap(ServiceStopped))
    elif held_up == "watching":
        monkeypatch.setattr(rig.observer, "start", lambda: gate.wait(LIMIT))
        rig.service.startService()
    else:
        rig.start()
        monkeypatch.setattr(rig.observer, "stop", lambda: gate.wait(LIMIT))
    with capturedLogs() as logs:
        stopped = rig.service.stopService()
        CASE.assertNoResult(stopped)
        for _ in range(5):
            rig.clock.advance(1)
        CASE.successResultOf(stopped)
    lines = [text for text in map(formatEvent, logs) if text is not None and "did not end" in text]
    if held_up == "the pass":  # what ends the watching has a thread too, and these seconds take no time
        lines = [line for line in lines if "dspyreload-pass" in line]
    (line,) = lines
    assert "thread" in line
    gate.set()
    settle(rig.clock)
    assert rig.engine.snapshot.generation == 1


def test_a_stop_fires_within_5_seconds_though_what_arrives_late_does_not_end(rig: Rig, monkeypatch: Any) -> None:
    """Watching begins two seconds after the stop, and its end is stuck: the limit is for both together."""
    begin, end = threading.Event(), threading.Event()
    start = rig.observer.start

    def late() -> None:
        assert begin.wait(LIMIT)
        start()

    monkeypatch.setattr(rig.observer, "start", late)
    monkeypatch.setattr(rig.observer, "stop", lambda: end.wait(LIMIT))
    rig.service.startService()
    stopped = rig.service.stopService()
    rig.clock.advance(2)
    begin.set()
    while not [thread for thread in ours() if thread.name == "dspyreload-disarm"]:
        rig.clock.run_calls()
    for _ in range(3):
        CASE.assertNoResult(stopped) if rig.clock.seconds() < 3 else None
        rig.clock.advance(1)
    CASE.successResultOf(stopped)
    end.set()
    settle(rig.clock)


def test_health_after_a_stop_is_since_the_stop(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is failing, and says why; a start makes it well again."""
    before = rig.service.health()
    assert (before.status, before.reasons) == ("failing", ("the service is not running",))
    rig.start()
    assert rig.service.health().status == "ok"
    monkeypatch.setattr("dspyreload.live.service.time.time", lambda: 2e9)
    rig.stop()
    health = rig.service.health()
    assert (health.status, health.since) == ("failing", 2e9)
    assert health.reasons == ("the service is not running",)
    assert rig.service.health().since == 2e9
    monkeypatch.setattr("dspyreload.live.service.time.time", lambda: 3e9)
    rig.start()
    assert (rig.service.health().status, rig.service.health().since) == ("ok", 3e9)
    rig.stop()


def test_a_directory_that_is_gone_is_no_news_after_a_stop(rig: Rig, modules: Path) -> None:
    """Whether it lasts, nobody knows any more."""
    rig.start()
    modules.rename(modules.with_name("away"))
    rig.engine.reload_all().addErrback(lambda failure: None)
    settle(rig.clock)
    assert "the modules directory can't be looked at" in rig.service.health().reasons[0]
    rig.stop()
    assert rig.service.health().reasons == ("the service is not running",)


def test_it_is_ready_only_when_it_watches_though_the_directory_comes_late(modules: Path, clock: ReactorClock) -> None:
    """No change falls between reading and watching, as with a directory that was there."""
    modules.rmdir()
    rig = Rig(modules, clock, load=False)
    rig.service.startService()
    settle(clock)
    ready = rig.service.when_ready()
    for _ in range(40):
        clock.advance(0.5)
        settle(clock)
    CASE.assertNoResult(ready)
    watched: list[bool] = []

    def is_ready(service: HotReloadService) -> HotReloadService:
        watched.append(rig.observer.running)
        return service

    ready.addCallback(is_ready)
    modules.mkdir()
    (modules / "smith.json").write_text(module_text())
    for _ in range(40):
        clock.advance(0.5)
        settle(clock)
    assert CASE.successResultOf(ready) is rig.service
    assert watched == [True]
    assert list(rig.engine.snapshot) == ["npc.smith"]
    rig.stop()
