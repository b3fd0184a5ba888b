"""The service: watcher, timer and passes together, with threads, real files, and a clock and an observer of ours."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import Application, IServiceCollection, MultiService
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.python import threadable
from twisted.trial import unittest as trial

from dspyreload import DSPyEngine, HotReloadConfig, HotReloadHandle, HotReloadService
from dspyreload.disk.scan import look
from dspyreload.errors import AlreadyRunning, ServiceStopped, WrongThread
from dspyreload.model.events import HotReloadEvent, ModuleChanged, ModuleDeleted, ReloadError
from dspyreload.testing import FakeObserver, ReactorClock
from tests.conftest import Save, module_text
from tests.left import Before

CASE = trial.SynchronousTestCase()


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("dspyreload-")]


def settle(clock: ReactorClock) -> None:
    """Let our threads end, and run what they asked for, until there is none."""
    ran = 1
    while ran:  # what they asked for may have begun another
        for thread in ours():
            thread.join(10)
            assert not thread.is_alive(), f"{thread.name} does not end"
        ran = clock.run_calls()


def advance(clock: ReactorClock, seconds: float, step: float = 0.125) -> None:
    """Let time pass in steps (that floats can add up), and each pass that begins come to its end."""
    for _ in range(round(seconds / step)):
        clock.advance(step)
        settle(clock)


@pytest.fixture
def clock() -> Iterator[ReactorClock]:
    """The reactor; at the end there is no delayed call and no thread of ours."""
    clock = ReactorClock()
    yield clock
    settle(clock)
    assert clock.getDelayedCalls() == []
    assert ours() == []


class Rig:
    """An engine with one module in ``smith.json``, and its service."""

    def __init__(self, root: Path, clock: ReactorClock, config: HotReloadConfig | None = None, **options: Any) -> None:
        self.clock, self.observer = clock, FakeObserver()
        self.engine = DSPyEngine(root, reactor=clock, **options)
        self.service = HotReloadService(self.engine, config, make_observer=lambda polling: self.observer)  # type: ignore[arg-type, return-value]

    def start(self) -> None:
        self.service.startService()
        settle(self.clock)
        assert CASE.successResultOf(self.service.when_ready()) is self.service
        advance(self.clock, 0.375)

    def stop(self) -> None:
        stopped = self.service.stopService()
        settle(self.clock)
        CASE.successResultOf(stopped)

    def tell(self, *paths: str) -> None:
        """Tell of saves, and let the quiet window and the pass be over."""
        for path in paths:
            self.observer.tell(path)
        self.clock.run_calls()
        advance(self.clock, 0.375)

    def instruction(self) -> str:
        return self.engine["npc.smith"].instruction


MakeRig = Callable[..., Rig]


@pytest.fixture
def make(modules: Path, save: Save, clock: ReactorClock) -> Iterator[MakeRig]:
    """Make rigs, and stop those that run at the end."""
    save("smith.json", module_text())
    made: list[Rig] = []

    def make(config: HotReloadConfig | None = None, root: Path = modules, **options: Any) -> Rig:
        made.append(Rig(root, clock, config, **options))
        return made[-1]

    yield make
    for rig in made:
        if rig.service.running:
            rig.stop()


@pytest.fixture
def rig(make: MakeRig) -> Rig:
    """A service that is ready."""
    rig = make()
    rig.start()
    return rig


class Gate:
    """Holds up a pass in its thread, after it has read the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        monkeypatch.setattr("dspyreload.live.one_pass.look", self.look)

    def look(self, *args: Any) -> object:
        found = look(*args)
        self.reached.set()
        assert self.opened.wait(10)
        return found


# Running


def test_making_a_service_starts_nothing(make: MakeRig) -> None:
    """No thread, no timer, no observer before it is started."""
    rig = make()
    assert (ours(), rig.clock.getDelayedCalls(), rig.observer.root) == ([], [], "")
    assert not rig.service.is_running


def test_ready_means_watching_and_looked_at(make: MakeRig, save: Save) -> None:
    """What was saved between the reading and the watching is live when the service is ready."""
    rig = make()
    save("smith.json", module_text(instruction="Saved in between."))
    rig.service.startService()
    ready = rig.service.when_ready()
    CASE.assertNoResult(ready)
    settle(rig.clock)
    assert CASE.successResultOf(ready) is rig.service
    assert rig.instruction() == "Saved in between."
    assert rig.observer.running
    assert rig.service.is_running


def test_a_saved_file_is_live(rig: Rig, save: Save) -> None:
    """An event, the quiet window, a pass: one commit, counted."""
    save("smith.json", module_text(instruction="New."))
    rig.tell("smith.json")
    assert rig.instruction() == "New."
    assert rig.engine.snapshot.generation == 2
    assert rig.service.stats.reloads_total == 1


def test_a_thousand_events_are_one_commit(rig: Rig, save: Save) -> None:
    """Fifty files, twenty events each: one generation."""
    for number in range(50):
        save(f"n{number}.json", module_text(f"npc.n{number}"))
    rig.tell(*[f"n{number}.json" for number in range(50)] * 20)
    assert rig.engine.snapshot.generation == 2
    assert len(rig.engine.snapshot) == 51


def test_the_timer_finds_what_no_event_told_of(make: MakeRig, save: Save) -> None:
    """Every rescan_interval the whole tree is looked at."""
    rig = make(HotReloadConfig(rescan_interval=5.0))
    rig.start()
    passes = rig.service.stats.passes
    save("smith.json", module_text(instruction="Saved in silence."))
    advance(rig.clock, 4)
    assert rig.instruction() == "You are a smith."
    advance(rig.clock, 1)
    assert rig.instruction() == "Saved in silence."
    advance(rig.clock, 20)
    assert rig.service.stats.passes == passes + 5


def test_a_quiet_window_wakes_the_reactor_once(rig: Rig, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many saves fall into it: watchdog's threads call the reactor at the first; the window asks for more."""
    calls: list[object] = []
    call = rig.clock.callFromThread

    def counted(function: Callable[..., Any], *arguments: object) -> None:
        calls.append(function)
        call(function, *arguments)

    for again in range(2):
        monkeypatch.setattr(rig.clock, "callFromThread", counted)
        for number in range(50):
            save(f"n{number}.json", module_text(f"npc.n{number}", instruction=f"Version {again}."))
            rig.observer.tell(f"n{number}.json")
            rig.clock.advance(0.01)
        monkeypatch.setattr(rig.clock, "callFromThread", call)
        assert len(calls) == 1
        calls.clear()
        assert rig.engine.snapshot.generation == 1 + again
        advance(rig.clock, 0.375)
        assert rig.engine.snapshot.generation == 2 + again
        assert len(rig.engine.snapshot) == 51


def test_the_timer_does_not_keep_somebody_waiting_who_has_just_saved(make: MakeRig, save: Save) -> None:
    """His file is looked at when his window is over; all of them are looked at after that."""
    rig = make(HotReloadConfig(debounce=0.5, rescan_interval=5.0))
    rig.start()
    save("silent.json", module_text("npc.silent"))
    advance(rig.clock, 4.375)
    save("smith.json", module_text(instruction="Saved."))
    rig.observer.tell("smith.json")
    advance(rig.clock, 0.5)
    assert rig.instruction() == "Saved."
    assert "npc.silent" not in rig.engine.snapshot
    advance(rig.clock, 1)
    assert "npc.silent" in rig.engine.snapshot


def test_the_timer_looks_though_saves_go_on_without_a_pause(make: MakeRig, save: Save) -> None:
    """It is put off for another interval at most."""
    rig = make(HotReloadConfig(debounce=0.5, max_wait=1000, rescan_interval=5.0))
    rig.start()
    save("silent.json", module_text("npc.silent"))
    for _ in range(44):
        rig.observer.tell("smith.json")
        advance(rig.clock, 0.25)
    assert "npc.silent" in rig.engine.snapshot


def test_every_tenth_timer_pass_reads_all_bytes(make: MakeRig, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only that one finds a change behind the same stat signature."""
    monkeypatch.setattr("dspyreload.disk.reading.stamp_of", lambda info: (1, 2, 3, 4, 5))
    monkeypatch.setattr("dspyreload.disk.tree.stamp_of", lambda info: (1, 2, 3, 4, 5))
    rig = make(HotReloadConfig(rescan_interval=1.0))
    rig.start()
    save("smith.json", module_text(instruction="Behind the same signature."))
    advance(rig.clock, 9)
    assert rig.instruction() == "You are a smith."
    advance(rig.clock, 1)
    assert rig.instruction() == "Behind the same signature."


def test_the_config_reaches_the_scan(make: MakeRig, save: Save) -> None:
    """Endings, file size and number of files are those of the service."""
    save("smith.npc", module_text("npc.other_ending"))
    save("large.npc", module_text("npc.large", instruction="x" * 3000))
    rig = make(HotReloadConfig(watch_extensions=(".npc",), max_file_size=2000), load=False)
    with capturedLogs() as logs:
        rig.start()
    assert list(rig.engine.snapshot) == ["npc.other_ending"]
    assert any("2,000 are allowed" in formatEvent(entry) for entry in logs)


def test_max_files_leaves_the_rest_out_with_a_line(make: MakeRig, save: Save) -> None:
    """A directory that is far too large is not read for ever."""
    for number in range(10):
        save(f"n{number}.json", module_text(f"npc.n{number}"))
    rig = make(HotReloadConfig(max_files=5), load=False)
    with capturedLogs() as logs:
        rig.start()
    assert len(rig.engine.snapshot) == 5
    assert any("more than 5 files" in formatEvent(entry) for entry in logs)


def test_a_manifest_is_hinted_at_whatever_the_endings_are(make: MakeRig, save: Save, modules: Path) -> None:
    """manifest.json keeps its name where modules have another ending: a saved one is live without the timer."""
    (modules / "smith.json").rename(modules / "smith.npc")
    entry = {"path": "smith.npc"}
    save("manifest.json", json.dumps({"version": "1.0", "modules": {"npc.smith": entry}}))
    rig = make(HotReloadConfig(watch_extensions=(".npc",)), load=False)
    rig.start()
    save("manifest.json", json.dumps({"version": "1.0", "modules": {"npc.smith": {**entry, "tags": ["forge"]}}}))
    rig.tell("manifest.json")
    assert rig.engine.modules_with_tag("forge") == ("npc.smith",)


def test_without_watch_manifest_the_first_one_stays_in_force(make: MakeRig, save: Save) -> None:
    """A changed manifest is left alone; module files are reloaded as ever."""
    save("manifest.json", json.dumps({"version": "1.0", "modules": {"npc.smith": {"path": "smith.json"}}}))
    rig = make(HotReloadConfig(watch_manifest=False))
    rig.start()
    save("manifest.json", json.dumps({"version": "1.0", "modules": {}}))
    save("smith.json", module_text(instruction="New."))
    rig.tell("manifest.json", "smith.json")
    advance(rig.clock, 20)
    assert rig.instruction() == "New."
    assert rig.engine.snapshot.manifest is not None
    assert list(rig.engine.snapshot.manifest) == ["npc.smith"]


# Who listens


def test_a_subscriber_hears_of_changes_rejections_and_deletions(rig: Rig, save: Save, modules: Path) -> None:
    """In the order in which they happened, and nothing more after it unsubscribed."""
    seen: list[HotReloadEvent] = []
    unsubscribe = rig.service.subscribe(seen.append)
    save("smith.json", module_text(instruction="New."))
    rig.tell("smith.json")
    save("smith.json", "{")
    rig.tell("smith.json")
    (modules / "smith.json").unlink()
    rig.tell("smith.json")
    assert [type(event) for event in seen] == [ModuleChanged, ReloadError, ModuleDeleted]
    unsubscribe()
    save("smith.json", module_text())
    rig.tell("smith.json")
    assert len(seen) == 3


def test_a_subscriber_that_raises_is_counted_in_the_services_stats(rig: Rig, save: Save) -> None:
    """Reloads go on beside one that raises and one that never returns."""

    def bad(event: HotReloadEvent) -> None:
        raise ValueError("my own fault")

    rig.service.subscribe(bad)
    rig.service.subscribe(lambda event: Deferred())
    with capturedLogs():
        for number in range(3):
            save("smith.json", module_text(instruction=f"Version {number}."))
            rig.tell("smith.json")
    assert rig.instruction() == "Version 2."
    assert rig.service.stats.subscriber_errors == 3


def test_next_event_gives_the_next_of_a_kind(rig: Rig, save: Save) -> None:
    """It fires once, with the event."""
    changed = rig.service.next_event(ModuleChanged)
    save("smith.json", module_text(instruction="New."))
    rig.tell("smith.json")
    assert CASE.successResultOf(changed).module_id == "npc.smith"


def test_a_subscriber_may_stop_the_service_inside_its_callback(rig: Rig, save: Save) -> None:
    """The stop comes to its end, and all others who listened were told."""
    stopped: list[Deferred[Any]] = []
    seen: list[HotReloadEvent] = []
    rig.service.subscribe(lambda event: stopped.append(rig.service.stopService()))
    rig.service.subscribe(seen.append)
    save("smith.json", module_text(instruction="New."))
    rig.tell("smith.json")
    CASE.successResultOf(stopped[0])
    assert len(seen) == 1
    assert not rig.service.is_running


def test_a_subscriber_may_reload_inside_its_callback(rig: Rig, save: Save) -> None:
    """Its own request is one more pass."""
    answers: list[object] = []

    def on_event(event: HotReloadEvent) -> None:
        if isinstance(event, ModuleChanged):
            rig.engine.reload_module("npc.smith").addCallback(answers.append)

    rig.service.subscribe(on_event)
    save("smith.json", module_text(instruction="New."))
    rig.tell("smith.json")
    advance(rig.clock, 0.375)
    assert [type(answer).__name__ for answer in answers] == ["ModuleSkipped"]


def test_one_that_waits_for_ready_may_cancel_another(make: MakeRig) -> None:
    """A callback that cancels its sibling keeps nobody from hearing of it."""
    rig = make()
    rig.service.startService()
    first, second, third = (rig.service.when_ready() for _ in range(3))
    first.addCallback(lambda service: second.cancel())
    second.addErrback(lambda failure: failure.trap(CancelledError))
    settle(rig.clock)
    assert CASE.successResultOf(third) is rig.service


def test_cancelling_when_ready_detaches(make: MakeRig) -> None:
    """The service goes on to be ready."""
    rig = make()
    rig.service.startService()
    ready = rig.service.when_ready()
    ready.cancel()
    CASE.failureResultOf(ready, CancelledError)
    settle(rig.clock)
    CASE.successResultOf(rig.service.when_ready())


@pytest.mark.parametrize("what", ["subscribe", "next_event", "events", "when_ready", "startService", "stopService"])
def test_from_another_thread_it_says_so(rig: Rig, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Once the reactor runs, all that is not a look-up belongs to its thread, and raises WrongThread elsewhere."""
    monkeypatch.setattr(threadable, "ioThread", threading.get_ident())
    arguments: dict[str, tuple[Any, ...]] = {"subscribe": (print,), "next_event": (ModuleChanged,)}
    raised: list[BaseException] = []

    def call() -> None:
        try:
            getattr(rig.service, what)(*arguments.get(what, ()))
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert [type(error) for error in raised] == [WrongThread]


# Stopping


def test_what_waits_fails_with_service_stopped(make: MakeRig) -> None:
    """when_ready, next_event and reloads fail; the iterator ends."""
    rig = make()
    rig.service.startService()
    seen: list[HotReloadEvent] = []

    async def consume() -> None:
        async for event in rig.service.events():
            seen.append(event)

    waiting = [rig.service.when_ready(), rig.service.next_event(ModuleChanged)]
    reading = Deferred.fromCoroutine(consume())
    asked = [rig.engine.reload_all(), rig.engine.reload_module("npc.smith")]
    rig.stop()
    for deferred in (*waiting, *asked):
        CASE.failureResultOf(deferred, ServiceStopped)
    CASE.successResultOf(reading)


def test_a_stop_in_the_middle_of_a_pass_commits_nothing(rig: Rig, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stop waits for the thread, and throws away what it brings."""
    gate = Gate(monkeypatch)
    save("smith.json", module_text(instruction="New."))
    rig.observer.tell("smith.json")
    rig.clock.advance(0)
    rig.clock.advance(0.2)
    assert gate.reached.wait(10)
    stopped = rig.service.stopService()
    CASE.assertNoResult(stopped)
    gate.opened.set()
    settle(rig.clock)
    CASE.successResultOf(stopped)
    assert rig.instruction() == "You are a smith."


def test_a_stop_while_arming_starts_no_pass(make: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that is stopped at once does not begin to look at the disk."""
    looked: list[int] = []

    def counting(*args: Any) -> object:
        looked.append(1)
        return look(*args)

    rig = make()
    monkeypatch.setattr("dspyreload.live.one_pass.look", counting)
    rig.service.startService()
    rig.stop()
    assert looked == []
    assert rig.observer.stops == 1


def test_starting_and_stopping_again_and_again_leaves_nothing(make: MakeRig, save: Save) -> None:
    """Twenty times: each start reloads, each stop leaves no thread, timer or descriptor."""
    rig = make()
    for number in range(20):
        rig.start()
        save("smith.json", module_text(instruction=f"Version {number}."))
        rig.tell("smith.json")
        assert rig.instruction() == f"Version {number}."
        rig.stop()
        assert (ours(), rig.clock.getDelayedCalls()) == ([], [])
    assert rig.observer.stops == 20


def test_the_real_observer_leaves_no_descriptor(modules: Path, save: Save, clock: ReactorClock) -> None:
    """With watchdog itself, five starts and stops leave the process as it was."""
    save("smith.json", module_text())
    engine = DSPyEngine(modules, reactor=clock)
    before = None
    for _ in range(5):
        service = HotReloadService(engine)
        service.startService()
        while not service.when_ready().called:
            clock.wait()
        stopped = service.stopService()
        while not stopped.called:
            clock.wait()
        settle(clock)
        before = before or Before()  # importing watchdog may open something for good
        assert (before.threads(), before.descriptors()) == (set(), set())


def test_a_stopped_service_hears_nothing_and_the_engine_serves_on(rig: Rig, save: Save) -> None:
    """After the stop neither events nor time lead to a pass; a reload that is asked for does."""
    rig.stop()
    save("smith.json", module_text(instruction="New."))
    rig.observer.tell("smith.json")
    advance(rig.clock, 30)
    assert rig.instruction() == "You are a smith."
    asked = rig.engine.reload_module("npc.smith")
    settle(rig.clock)
    assert isinstance(CASE.successResultOf(asked), ModuleChanged)


def test_a_service_stops_with_its_parent(make: MakeRig) -> None:
    """It is a child like any other."""
    rig, parent = make(), MultiService()
    rig.service.setServiceParent(parent)
    parent.startService()
    settle(rig.clock)
    CASE.successResultOf(rig.service.when_ready())
    stopped = parent.stopService()
    settle(rig.clock)
    CASE.successResultOf(stopped)
    assert not rig.service.is_running


# Several


def test_a_second_service_for_one_engine_is_refused(rig: Rig) -> None:
    """AlreadyRunning; the first goes on, and when it has stopped another may start."""
    second = HotReloadService(rig.engine, make_observer=lambda polling: FakeObserver())  # type: ignore[arg-type, return-value]
    with pytest.raises(AlreadyRunning):
        second.startService()
    second.stopService()
    assert rig.service.is_running
    assert rig.observer.running
    rig.stop()
    second.startService()
    settle(rig.clock)
    CASE.successResultOf(second.when_ready())
    stopped = second.stopService()
    settle(rig.clock)
    CASE.successResultOf(stopped)


def test_another_service_may_start_while_a_stopped_ones_thread_is_stuck(
    rig: Rig, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the old pass brings is thrown away, even though passes run again by then."""
    gate = Gate(monkeypatch)
    save("smith.json", module_text(instruction="Read by the old pass."))
    rig.engine.reload_all().addErrback(lambda failure: failure.trap(ServiceStopped))
    assert gate.reached.wait(10)
    stopped = rig.service.stopService()
    save("smith.json", module_text(instruction="Read by the new pass."))
    monkeypatch.setattr("dspyreload.live.one_pass.look", look)
    second = HotReloadService(rig.engine, make_observer=lambda polling: FakeObserver())  # type: ignore[arg-type, return-value]
    second.startService()
    while not second.when_ready().called:
        rig.clock.wait()
    assert rig.instruction() == "Read by the new pass."
    gate.opened.set()
    settle(rig.clock)
    CASE.successResultOf(stopped)
    assert rig.instruction() == "Read by the new pass."
    ended = second.stopService()
    settle(rig.clock)
    CASE.successResultOf(ended)


def test_two_engines_live_side_by_side(make: MakeRig, save: Save, tmp_path: Path) -> None:
    """Each has its own directory, generation, counters and subscribers."""
    other_root = tmp_path / "other"
    other_root.mkdir()
    (other_root / "smith.json").write_text(module_text(instruction="Another smith."))
    one, two = make(), make(root=other_root)
    one.start()
    two.start()
    seen: list[HotReloadEvent] = []
    two.service.subscribe(seen.append)
    save("smith.json", module_text(instruction="New."))
    one.tell("smith.json")
    assert (one.instruction(), two.instruction()) == ("New.", "Another smith.")
    assert (one.engine.snapshot.generation, two.engine.snapshot.generation) == (2, 1)
    assert (two.service.stats.reloads_total, seen) == (0, [])
    one.stop()
    assert two.service.is_running


# When the disk fails


def test_a_missing_root_keeps_the_last_good_and_is_watched_again_when_it_is_back(
    rig: Rig, modules: Path, save: Save
) -> None:
    """rmtree and mkdir: one line in the log, everything serves on, and the new directory is watched."""
    modules.rename(modules.with_name("away"))
    with capturedLogs() as logs:
        rig.tell("smith.json")
        advance(rig.clock, 40, step=1.0)
    assert rig.instruction() == "You are a smith."
    assert len([entry for entry in logs if entry["log_namespace"] == "dspyreload"]) == 1
    modules.mkdir()
    save("smith.json", module_text(instruction="Back again."))
    rig.observer.stops = 0
    advance(rig.clock, 40, step=1.0)
    assert rig.instruction() == "Back again."
    assert rig.observer.stops == 1, "the old directory is still watched"
    assert rig.observer.running
    rig.stop()


def test_a_missing_root_at_the_start_is_reported_and_raises_nothing(make: MakeRig, modules: Path, save: Save) -> None:
    """startService never raises for what the disk does; the service is ready once there is something to look at."""
    (modules / "smith.json").unlink()
    modules.rmdir()
    rig = make(load=False)
    with capturedLogs():
        rig.service.startService()
        ready = rig.service.when_ready()
        settle(rig.clock)
        advance(rig.clock, 30, step=1.0)
        CASE.assertNoResult(ready)
        modules.mkdir()
        save("smith.json", module_text())
        advance(rig.clock, 30, step=1.0)
    assert CASE.successResultOf(ready) is rig.service
    assert rig.instruction() == "You are a smith."
    assert rig.observer.running


def test_a_kernel_without_watches_is_polled_instead(rig: Rig, save: Save) -> None:
    """The service is ready all the same, and says so in the log."""
    rig.stop()
    kernel, polling = FakeObserver(OSError(28, "No space left on device")), FakeObserver()
    service = HotReloadService(rig.engine, make_observer=lambda poll: polling if poll else kernel)  # type: ignore[arg-type, return-value]
    with capturedLogs() as logs:
        service.startService()
        settle(rig.clock)
    CASE.successResultOf(service.when_ready())
    said = " ".join(str(formatEvent(entry)) for entry in logs)
    assert "max_user_watches" in said
    assert "polling" in said
    stopped = service.stopService()
    settle(rig.clock)
    CASE.successResultOf(stopped)


# The handle


def test_a_handle_is_a_view_of_its_service(make: MakeRig) -> None:
    """Counters, state and events are the service's; stop ends it, twice does no harm."""
    rig = make()
    handle = HotReloadHandle(rig.service)
    assert not handle.is_running
    rig.start()
    assert handle.is_running
    assert handle.service is rig.service
    assert handle.stats is rig.service.stats
    stopped = handle.stop()
    settle(rig.clock)
    CASE.successResultOf(stopped)
    CASE.successResultOf(handle.stop())
    assert not handle.is_running


def test_a_handle_iterates_over_the_services_events(rig: Rig, save: Save) -> None:
    """async for over handle.events() gets what is saved, and ends with the service."""
    seen: list[str] = []

    async def consume() -> None:
        async for event in HotReloadHandle(rig.service).events():
            seen.append(type(event).__name__)

    reading = Deferred.fromCoroutine(consume())
    save("smith.json", module_text(instruction="New."))
    rig.tell("smith.json")
    assert seen == ["ModuleChanged"]
    rig.stop()
    CASE.successResultOf(reading)


def test_two_services_live_under_one_application(modules: Path, tmp_path: Path) -> None:
    """Each engine has its own; an application takes them all."""
    (tmp_path / "other").mkdir()
    application = Application("game")
    for directory in (modules, tmp_path / "other"):
        HotReloadService(DSPyEngine(directory)).setServiceParent(application)
    assert len(list(IServiceCollection(application))) == 2
