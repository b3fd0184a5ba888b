"""The engine: what is served, who may ask where, and how a game gets hot reload at run time."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogEvent, capturedLogs, formatEvent
from twisted.python import threadable
from twisted.trial import unittest as trial

from dspyreload import DSPyEngine, DSPyReloadError, HotReloadConfig, HotReloadHandle, HotReloadService
from dspyreload.errors import (
    AlreadyRunning,
    EngineClosed,
    HotReloadFailed,
    NotReady,
    SignatureRefused,
    UnknownModule,
    WrongThread,
)
from dspyreload.model.events import ModuleChanged, ModuleDeleted, ModuleSkipped, ReloadError
from dspyreload.testing import FakeObserver, ReactorClock
from tests.conftest import Save, module_text

CASE = trial.SynchronousTestCase()


class Field:
    """A field as DSPy's signature classes show it."""

    def __init__(self, annotation: Any = str, default: bool = False) -> None:
        self.annotation, self.default = annotation, default
        self.json_schema_extra = {"desc": "a field"}

    def is_required(self) -> bool:
        return not self.default


class Dialogue:
    """What the engine needs of a ``dspy.Signature`` class, with the fields of the module in conftest."""

    input_fields = {"player_message": Field()}  # noqa: RUF012  # as in DSPy
    output_fields = {"response": Field(), "emotion": Field()}  # noqa: RUF012


class Other(Dialogue):
    """The same with other fields."""

    input_fields = {"question": Field()}  # noqa: RUF012


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


def advance(clock: ReactorClock, seconds: float) -> None:
    """Let time pass in steps (that floats can add up), and each pass that begins come to its end."""
    for _ in range(round(seconds * 8)):
        clock.advance(0.125)
        settle(clock)


def in_thread(call: Callable[[], object]) -> object:
    """Call on another thread; return what comes of it, or what it raises."""
    found: list[object] = []

    def work() -> None:
        try:
            found.append(call())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=work, name="a-game-thread")
    thread.start()
    thread.join(10)
    return found[0]


@pytest.fixture
def clock() -> Iterator[ReactorClock]:
    """The reactor; at the end there is no delayed call and no thread of ours."""
    clock = ReactorClock()
    yield clock
    settle(clock)
    assert clock.getDelayedCalls() == []
    assert ours() == []


@pytest.fixture
def engine(modules: Path, save: Save, clock: ReactorClock) -> DSPyEngine:
    """An engine with ``npc.smith`` in smith.json."""
    save("smith.json", module_text())
    return DSPyEngine(modules, reactor=clock)


@pytest.fixture
def no_watchdog(monkeypatch: pytest.MonkeyPatch) -> FakeObserver:
    """Have services that the engine makes watch with a fake."""
    observer = FakeObserver()
    init: Any = DSPyEngine.enable_hot_reload.__globals__["HotReloadService"].__init__
    monkeypatch.setitem(init.__kwdefaults__, "make_observer", lambda polling: observer)
    return observer


# Reading


def test_the_directory_is_read_at_once_without_a_thread(engine: DSPyEngine) -> None:
    """Generation 1 serves when the constructor returns."""
    assert engine.snapshot.generation == 1
    assert engine["npc.smith"].instruction == "You are a smith."
    assert ours() == []


def test_the_directory_is_made_absolute_at_once(
    modules: Path, save: Save, clock: ReactorClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later change of the working directory changes nothing."""
    save("smith.json", module_text())
    monkeypatch.chdir(modules.parent)
    engine = DSPyEngine("modules", reactor=clock)
    monkeypatch.chdir("/")
    asked = engine.reload_module("npc.smith")
    settle(clock)
    assert isinstance(CASE.successResultOf(asked), ModuleSkipped)
    assert engine.directory == str(modules)


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_a_missing_directory_raises_at_construction(tmp_path: Path, name: str) -> None:
    """HotReloadFailed names the directory."""
    (tmp_path / "file").write_text("")
    with pytest.raises(HotReloadFailed, match=name):
        DSPyEngine(tmp_path / name)


def test_an_empty_directory_is_generation_1(modules: Path) -> None:
    """A game may start before its writers do."""
    engine = DSPyEngine(modules)
    assert engine.snapshot.generation == 1
    assert engine.module_ids() == ()


def test_a_broken_file_at_the_start_keeps_none_of_the_others_from_serving(modules: Path, save: Save) -> None:
    """At the start the good ones serve, and one look decides."""
    save("good.json", module_text("npc.good"))
    save("bad.json", "{")
    with capturedLogs() as logs:
        engine = DSPyEngine(modules)
    assert engine.module_ids() == ("npc.good",)
    assert any(str(formatEvent(entry)).startswith("bad.json:1:") for entry in logs)


def test_load_false_leaves_the_reading_to_the_service(modules: Path, save: Save, clock: ReactorClock) -> None:
    """Until then generation 0 serves nothing, and invoke fails with NotReady."""
    save("smith.json", module_text())
    engine = DSPyEngine(modules, load=False, reactor=clock)
    assert engine.snapshot.generation == 0
    assert len(engine.snapshot) == 0
    CASE.failureResultOf(engine.invoke("npc.smith", player_message="Hello"), NotReady)


def test_load_false_takes_a_directory_that_is_not_there_yet(tmp_path: Path) -> None:
    """Whether it comes is for the service to see."""
    assert DSPyEngine(tmp_path / "nowhere", load=False).snapshot.generation == 0


# What is served


def test_each_look_up_gives_a_fresh_value(engine: DSPyEngine) -> None:
    """Nobody can change what others see."""
    first = engine["npc.smith"]
    first.demos[0].inputs["player_message"] = "changed"
    first.demos[0].outputs.clear()
    second = engine["npc.smith"]
    assert second is not first
    assert second.demos[0].inputs == {"player_message": "Good day!"}
    assert second.demos[0].outputs["emotion"] == "annoyed"


def test_an_unknown_id_is_a_key_error_that_says_what_was_meant(engine: DSPyEngine) -> None:
    """The text is a sentence, and names the nearest id."""
    with pytest.raises(KeyError) as caught:
        engine["npc.smiht"]
    assert isinstance(caught.value, UnknownModule)
    assert caught.value.suggestion == "npc.smith"
    assert "did you mean 'npc.smith'?" in str(caught.value)
    with pytest.raises(UnknownModule) as caught_far:
        engine["quest.dragon"]
    assert "did you mean" not in str(caught_far.value)


def test_looking_up_works_on_any_thread(engine: DSPyEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """engine[id] and engine.snapshot need no lock and no reactor thread."""
    monkeypatch.setattr(threadable, "ioThread", threading.get_ident())
    assert in_thread(lambda: engine["npc.smith"].instruction) == "You are a smith."
    assert in_thread(lambda: engine.snapshot.generation) == 1
    assert in_thread(lambda: "npc.smith" in engine) is True
    assert isinstance(in_thread(lambda: engine["no.such"]), UnknownModule)


CALLS: dict[str, Callable[[DSPyEngine], object]] = {
    "reload_module": lambda engine: engine.reload_module("npc.smith"),
    "reload_all": lambda engine: engine.reload_all(),
    "enable_hot_reload": lambda engine: engine.enable_hot_reload(),
    "invoke": lambda engine: engine.invoke("npc.smith"),
    "stream": lambda engine: engine.stream("npc.smith"),
    "preview": lambda engine: engine.preview("npc.smith"),
    "lease": lambda engine: engine.lease(),
    "revoke": lambda engine: engine.revoke("npc.smith", "0"),
    "warm": lambda engine: engine.warm(),
    "close": lambda engine: engine.close(),
    "signatures.register": lambda engine: engine.signatures.register("npc.dialogue", Dialogue),
    "programs.register": lambda engine: engine.programs.register("npc.dialogue", object()),
    "tools.register": lambda engine: engine.tools.register(object()),
    "validators.add": lambda engine: engine.validators.add(print),
    "reply_filters.add": lambda engine: engine.reply_filters.add(print),
}


@pytest.mark.parametrize("name", CALLS)
def test_all_else_says_so_on_another_thread(engine: DSPyEngine, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Once the reactor runs, WrongThread names the call and the thread, and nothing was done."""
    monkeypatch.setattr(threadable, "ioThread", threading.get_ident())
    error = in_thread(lambda: CALLS[name](engine))
    assert isinstance(error, WrongThread)
    assert name in str(error)
    assert "a-game-thread" in str(error)
    assert ours() == []
    found = (engine.signatures.names(), engine.programs.names(), engine.tools.names(), engine.validators.concerned())
    assert found == ((), (), (), None), "what was refused took effect"
    assert not engine.reply_filters


def test_before_the_reactor_runs_any_thread_may_ask(engine: DSPyEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no reactor thread yet."""
    monkeypatch.setattr(threadable, "ioThread", None)
    in_thread(lambda: engine.signatures.register("npc.dialogue", Dialogue))
    assert engine.signatures.names() == ("npc.dialogue",)


def test_ids_are_sorted_and_tags_are_the_manifests(modules: Path, save: Save) -> None:
    """Both are those of the live snapshot."""
    for name in "cab":
        save(f"{name}.json", module_text(f"npc.{name}"))
    rows = {f"npc.{name}": {"path": f"{name}.json", "tags": ["town"] if name != "b" else []} for name in "cab"}
    save("manifest.json", json.dumps({"version": "1.0", "modules": rows}))
    engine = DSPyEngine(modules)
    assert engine.module_ids() == ("npc.a", "npc.b", "npc.c")
    assert engine.modules_with_tag("town") == ("npc.a", "npc.c")
    assert engine.modules_with_tag("nowhere") == ()


# Reloading without a service


def test_reload_module_gives_that_modules_event(
    engine: DSPyEngine, clock: ReactorClock, save: Save, modules: Path
) -> None:
    """Changed, skipped, rejected, deleted; an unknown id is the only one that fails."""
    kinds: list[type] = []
    for change in (
        lambda: save("smith.json", module_text(instruction="New.")),
        lambda: None,
        lambda: save("smith.json", "{"),
        lambda: (modules / "smith.json").unlink(),
    ):
        change()
        asked = engine.reload_module("npc.smith")
        settle(clock)
        advance(clock, 0.25)
        kinds.append(type(CASE.successResultOf(asked)))
    assert kinds == [ModuleChanged, ModuleSkipped, ReloadError, ModuleDeleted]
    unknown = engine.reload_module("npc.smith")
    settle(clock)
    CASE.failureResultOf(unknown, UnknownModule)


def test_reload_all_gives_the_events_of_its_pass(engine: DSPyEngine, clock: ReactorClock, save: Save) -> None:
    """An operator sees what it did; without changes that is nothing."""
    save("baker.json", module_text("npc.baker"))
    asked = engine.reload_all()
    settle(clock)
    assert [event.generation for event in CASE.successResultOf(asked)] == [2]
    asked = engine.reload_all()
    settle(clock)
    assert CASE.successResultOf(asked) == ()
    assert engine.snapshot.generation == 2


def test_cancelling_a_reload_detaches(engine: DSPyEngine, clock: ReactorClock, save: Save) -> None:
    """What was saved goes live all the same."""
    save("smith.json", module_text(instruction="New."))
    asked = engine.reload_all()
    asked.cancel()
    CASE.failureResultOf(asked, CancelledError)
    settle(clock)
    assert engine["npc.smith"].instruction == "New."


def test_a_reload_of_a_missing_directory_fails_and_removes_nothing(
    engine: DSPyEngine, clock: ReactorClock, modules: Path
) -> None:
    """HotReloadFailed; the last good version serves."""
    shutil.rmtree(modules)
    asked = engine.reload_all()
    with capturedLogs():
        settle(clock)
    CASE.failureResultOf(asked, HotReloadFailed)
    assert engine["npc.smith"].instruction == "You are a smith."


# Signatures


@pytest.fixture
def pending(modules: Path, save: Save, clock: ReactorClock) -> DSPyEngine:
    """Two modules wait for ``npc.dialogue``, and one needs nothing."""
    save("a.json", module_text("npc.a", signature=None))
    save("b.json", module_text("npc.b", signature=None))
    save("c.json", module_text("npc.c", signature_name="quest.text", signature=module()["signature"]))
    with capturedLogs() as logs:
        engine = DSPyEngine(modules, reactor=clock)
    assert waiting(logs) == [], "the game had no time to register anything"
    assert engine.module_ids() == ("npc.c",)
    return engine


def waiting(logs: Sequence[LogEvent]) -> list[str]:
    """Return the lines that tell of modules that wait."""
    return [line for entry in logs if " waits: " in (line := str(formatEvent(entry)))]


def module() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(module_text())
    return found


def test_registering_before_the_service_makes_pending_modules_live_in_one_commit(pending: DSPyEngine) -> None:
    """They serve when register returns, and no line of the log says that they ever waited."""
    with capturedLogs() as logs:
        pending.signatures.register("npc.dialogue", Dialogue)
    assert waiting(logs) == []
    assert pending.module_ids() == ("npc.a", "npc.b", "npc.c")
    assert pending.snapshot.generation == 2


def test_registering_while_the_service_runs_does_so_with_a_pass(
    pending: DSPyEngine, clock: ReactorClock, no_watchdog: FakeObserver
) -> None:
    """Not on the reactor thread: the files are read again by a pass, and go live in one commit.

    What waits is said once, when the service is ready.
    """
    with capturedLogs() as logs:
        started = pending.enable_hot_reload()
        settle(clock)
        handle = CASE.successResultOf(started)
        advance(clock, 0.25)
        pending.signatures.register("npc.dialogue", Dialogue)
        assert pending.snapshot.generation == 1
        advance(clock, 0.25)
    words = 'the signature "npc.dialogue" is not registered, and its file brings none'
    assert waiting(logs) == [f"npc.a waits: {words}", f"npc.b waits: {words}"]
    assert pending.module_ids() == ("npc.a", "npc.b", "npc.c")
    assert pending.snapshot.generation == 2
    handle.stop()
    settle(clock)


def test_what_comes_to_wait_while_the_service_runs_is_said_once(
    pending: DSPyEngine, clock: ReactorClock, save: Save, no_watchdog: FakeObserver
) -> None:
    """With the pass that finds it; later passes say nothing of what is as it was."""
    started = pending.enable_hot_reload()
    settle(clock)
    with capturedLogs() as logs:
        save("d.json", module_text("npc.d", signature=None))
        no_watchdog.tell("d.json")
        advance(clock, 0.25)
        pending.reload_all()
        settle(clock)
    assert [line.partition(" waits: ")[0] for line in waiting(logs)] == ["npc.d"]
    CASE.successResultOf(started).stop()
    settle(clock)


def test_registering_after_the_service_has_stopped_works_as_before(
    pending: DSPyEngine, clock: ReactorClock, no_watchdog: FakeObserver
) -> None:
    """A stopped service keeps nothing from going live."""
    started = pending.enable_hot_reload()
    settle(clock)
    CASE.successResultOf(started).stop()
    settle(clock)
    pending.signatures.register("npc.dialogue", Dialogue)
    assert pending.module_ids() == ("npc.a", "npc.b", "npc.c")


def test_what_registers_before_the_reading_is_used_by_it(modules: Path, save: Save, clock: ReactorClock) -> None:
    """With load=False nothing is read early, and nothing waits later."""
    save("a.json", module_text("npc.a", signature=None))
    engine = DSPyEngine(modules, load=False, reactor=clock)
    engine.signatures.register("npc.dialogue", Dialogue)
    assert engine.snapshot.generation == 0
    engine.reload_all()
    settle(clock)
    assert engine.module_ids() == ("npc.a",)


def test_conflicting_fields_are_a_rejection_that_names_them(
    engine: DSPyEngine, clock: ReactorClock, no_watchdog: FakeObserver
) -> None:
    """The file's own block says player_message, the registered class question; the last good version serves."""
    started = engine.enable_hot_reload()
    settle(clock)
    handle = CASE.successResultOf(started)
    advance(clock, 0.25)
    error = handle.service.next_event(ReloadError)
    with capturedLogs():
        engine.signatures.register("npc.dialogue", Other)
        advance(clock, 0.5)
    event = CASE.successResultOf(error)
    assert '"player_message"' in event.error
    assert '"question"' in event.error
    assert engine["npc.smith"].instruction == "You are a smith."
    handle.stop()
    settle(clock)


def test_conflicting_fields_are_rejected_without_a_service_too(engine: DSPyEngine) -> None:
    """Before any service runs the log says so at once, and the last good version serves."""
    with capturedLogs() as logs:
        engine.signatures.register("npc.dialogue", Other)
    (entry,) = logs
    assert entry["path"] == "smith.json"
    assert '"player_message"' in entry["error"]
    assert '"question"' in entry["error"]
    assert engine["npc.smith"].instruction == "You are a smith."


@pytest.mark.parametrize("bad", [object(), object, "dspy.Signature", None])
def test_what_is_no_signature_is_refused(engine: DSPyEngine, bad: object) -> None:
    """It takes no effect."""
    with pytest.raises(SignatureRefused):
        engine.signatures.register("npc.dialogue", bad)
    assert engine.signatures.names() == ()


def test_registering_while_the_directory_is_away_removes_nothing(engine: DSPyEngine, modules: Path) -> None:
    """If it raises at all, then what callers of dspyreload expect; what is registered is known afterwards."""
    shutil.rmtree(modules)
    with contextlib.suppress(DSPyReloadError), capturedLogs():
        engine.signatures.register("npc.dialogue", Dialogue)
    assert engine["npc.smith"].instruction == "You are a smith."
    assert engine.signatures.names() == ("npc.dialogue",)


# Hot reload at run time


def test_enable_hot_reload_gives_a_handle_when_the_service_is_ready(
    engine: DSPyEngine, clock: ReactorClock, save: Save, no_watchdog: FakeObserver
) -> None:
    """What is saved from then on is live; after stop it may be enabled again."""
    for number in range(3):
        started = engine.enable_hot_reload(HotReloadConfig(debounce=0.25))
        CASE.assertNoResult(started)
        settle(clock)
        handle = CASE.successResultOf(started)
        assert isinstance(handle, HotReloadHandle)
        assert handle.is_running
        save("smith.json", module_text(instruction=f"Version {number}."))
        no_watchdog.tell("smith.json")
        advance(clock, 0.75)
        assert engine["npc.smith"].instruction == f"Version {number}."
        assert handle.stats.reloads_total == 1
        stopped = handle.stop()
        settle(clock)
        CASE.successResultOf(stopped)
        assert clock.getDelayedCalls() == []


def test_enabling_it_twice_is_refused(engine: DSPyEngine, clock: ReactorClock, no_watchdog: FakeObserver) -> None:
    """One service for an engine; the one that runs is not disturbed."""
    started = engine.enable_hot_reload()
    settle(clock)
    handle = CASE.successResultOf(started)
    try:
        second = engine.enable_hot_reload()
    except AlreadyRunning:
        pass
    else:
        CASE.failureResultOf(second, AlreadyRunning)
    assert handle.is_running
    handle.stop()
    settle(clock)


# Closing


def test_close_without_a_call_made_is_done_at_once(engine: DSPyEngine) -> None:
    """There is no loop to end; closing twice does no harm."""
    for _ in range(3):
        CASE.successResultOf(engine.close())
    CASE.failureResultOf(engine.invoke("npc.smith", player_message="Hello"), EngineClosed)


def test_close_ends_the_loop_and_is_idempotent(engine: DSPyEngine, clock: ReactorClock) -> None:
    """Each close fires when the thread has ended; what was under way fails."""
    running: Deferred[Any] = engine._loop.run(_forever)
    closes = [engine.close(), engine.close()]
    while not all(deferred.called for deferred in closes):
        clock.wait()
    CASE.failureResultOf(running, EngineClosed)
    CASE.successResultOf(engine.close())
    assert ours() == []


async def _forever() -> None:
    import asyncio

    await asyncio.sleep(3600)


def test_an_engine_that_is_closed_still_shows_and_reloads_modules(
    engine: DSPyEngine, clock: ReactorClock, save: Save
) -> None:
    """Closing ends calls of language models, and nothing else."""
    engine.close()
    save("smith.json", module_text(instruction="New."))
    engine.reload_all()
    settle(clock)
    assert engine["npc.smith"].instruction == "New."


def test_close_ends_a_reload_that_is_under_way(engine: DSPyEngine, clock: ReactorClock, save: Save) -> None:
    """Neither thread nor timer is left, and what it found is not used; who waits is told."""
    save("smith.json", module_text(instruction="New."))
    asked = engine.reload_all()
    closed = engine.close()
    CASE.failureResultOf(asked, EngineClosed)
    CASE.assertNoResult(closed)
    settle(clock)
    CASE.successResultOf(closed)
    assert clock.getDelayedCalls() == []
    assert engine["npc.smith"].instruction == "You are a smith."


def test_close_ends_waiting_for_a_second_look(engine: DSPyEngine, clock: ReactorClock, save: Save) -> None:
    """A file that is broken is looked at again after the quiet window: not where the engine is closed by then."""
    save("smith.json", "{")
    asked = engine.reload_all()
    settle(clock)
    CASE.assertNoResult(asked)
    assert len(clock.getDelayedCalls()) == 1
    CASE.successResultOf(engine.close())
    CASE.failureResultOf(asked, EngineClosed)
    assert clock.getDelayedCalls() == []


@pytest.mark.usefixtures("no_watchdog")
def test_close_leaves_a_running_service_alone(engine: DSPyEngine, clock: ReactorClock, save: Save) -> None:
    """Its owner stops it."""
    service = HotReloadService(engine)
    service.startService()
    settle(clock)
    save("smith.json", module_text(instruction="New."))
    asked = engine.reload_all()
    engine.close()
    settle(clock)
    assert [type(event) for event in CASE.successResultOf(asked)] == [ModuleChanged]
    service.stopService()
    settle(clock)


def test_invoke_of_an_unknown_id_fails_without_a_thread(engine: DSPyEngine) -> None:
    """The Deferred fails; nothing is raised and no language model is asked."""
    failure = CASE.failureResultOf(engine.invoke("npc.smiht"), UnknownModule)
    assert "npc.smith" in str(failure.value)
    assert ours() == []


class FakeReactor(ReactorClock):
    """A reactor that can shut down."""

    def __init__(self) -> None:
        super().__init__()
        self.triggers: list[Callable[[], object]] = []

    def addSystemEventTrigger(self, phase: str, event: str, call: Callable[[], object]) -> None:
        assert (phase, event) == ("before", "shutdown")
        self.triggers.append(call)


def test_the_engine_closes_when_the_reactor_shuts_down(modules: Path, save: Save) -> None:
    """The loop's thread ends before the process does."""
    save("smith.json", module_text())
    reactor = FakeReactor()
    engine = DSPyEngine(modules, reactor=reactor)
    engine._run(_forever).addErrback(lambda failure: failure.trap(EngineClosed))
    assert len(reactor.triggers) == 1
    closed: Any = reactor.triggers[0]()
    while not closed.called:
        reactor.wait()
    assert ours() == []
    CASE.failureResultOf(engine.invoke("npc.smith"), EngineClosed)
