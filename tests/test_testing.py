"""The public fakes behave as what they stand in for."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.trial import unittest as trial
from zope.interface.verify import verifyObject

from dspyreload import DSPyEngine
from dspyreload.errors import LMFailed
from dspyreload.testing import FakeObserver, Prompt, ReactorClock, ScriptedLM
from tests.conftest import Save, module_text

CASE = trial.SynchronousTestCase()


def in_thread(target: Any) -> None:
    thread = threading.Thread(target=target)
    thread.start()
    thread.join()


def test_the_clock_has_what_is_needed_of_a_reactor() -> None:
    """It keeps both interfaces, as zope sees it."""
    verifyObject(IReactorTime, ReactorClock())
    verifyObject(IReactorFromThreads, ReactorClock())


def test_calls_from_threads_wait_until_they_are_run() -> None:
    """In the order in which they came, with their arguments, on the thread that runs them."""
    clock = ReactorClock()
    seen: list[Any] = []

    def note(*args: object, **kwargs: object) -> None:
        seen.append((args, kwargs, threading.current_thread() is threading.main_thread()))

    in_thread(lambda: clock.callFromThread(note, 1))
    in_thread(lambda: clock.callFromThread(note, a=2))
    assert seen == []
    assert clock.run_calls() == 2
    assert seen == [((1,), {}, True), ((), {"a": 2}, True)]
    assert clock.run_calls() == 0


def test_advance_runs_calls_before_and_after_the_time_passes() -> None:
    """What a thread asked for may make a timer that is due in the same step."""
    clock = ReactorClock()
    seen: list[str] = []
    in_thread(lambda: clock.callFromThread(clock.callLater, 1, clock.callFromThread, seen.append, "late"))
    clock.advance(1)
    assert seen == ["late"]


def test_wait_waits_for_a_thread() -> None:
    """It returns when a thread has called, and has run that."""
    clock = ReactorClock()
    seen: list[str] = []
    go = threading.Event()

    def work() -> None:
        go.wait(10)
        clock.callFromThread(seen.append, "done")

    thread = threading.Thread(target=work)
    thread.start()
    go.set()
    clock.wait()
    assert seen == ["done"]
    thread.join()


def test_wait_does_not_wait_for_ever() -> None:
    """Where no thread calls, the test fails instead of hanging."""
    with pytest.raises(TimeoutError):
        ReactorClock().wait(timeout=0.01)


class Handler:
    """Keeps events as watchdog's handler gets them."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def dispatch(self, event: Any) -> None:
        self.events.append(event)


def test_the_observer_tells_its_handler_what_the_test_says() -> None:
    """The events look like watchdog's: type, both paths, and whether it is a directory."""
    observer, handler = FakeObserver(), Handler()
    observer.schedule(handler, "/mods", recursive=True, event_filter=[])
    observer.start()
    observer.tell("a.json")
    observer.tell("b", "moved", dest="c", directory=True)
    assert [(e.event_type, e.src_path, e.dest_path, e.is_directory) for e in handler.events] == [
        ("modified", "/mods/a.json", "", False),
        ("moved", "/mods/b", "/mods/c", True),
    ]


def test_the_observer_lives_from_start_to_stop() -> None:
    """And counts how often it was stopped."""
    observer = FakeObserver()
    assert not observer.is_alive()
    observer.start()
    assert observer.is_alive()
    observer.stop()
    observer.join()
    assert (observer.is_alive(), observer.stops) == (False, 1)


def test_the_observer_fails_as_a_kernel_does() -> None:
    """start raises what the test says."""
    observer = FakeObserver(OSError(28, "No space left on device"))
    with pytest.raises(OSError, match="No space"):
        observer.start()
    assert not observer.is_alive()


def test_a_prompt_shows_all_of_its_text() -> None:
    """The system text first, then the turns."""
    assert Prompt("System.", (("user", "Hello"), ("assistant", "Hi"))).text == "System.\n\nHello\n\nHi"


def test_the_scripted_model_says_what_was_written_and_remembers_what_it_was_asked(modules: Path, save: Save) -> None:
    """Fields, then a function of the prompt, then an exception, and the last is repeated."""
    pytest.importorskip("dspy")
    save("smith.json", module_text())
    clock = ReactorClock()
    script = ScriptedLM(
        {"response": "Aye.", "emotion": "calm"},
        lambda prompt: {"response": prompt.turns[-1][0], "emotion": "odd"},
        RuntimeError("no connection"),
    )
    engine = DSPyEngine(modules, lm=script.lm, reactor=clock)

    def ask() -> Any:
        reply = engine.invoke("npc.smith", player_message="Good evening!")
        while not reply.called:
            clock.wait()
        return reply

    assert dict(CASE.successResultOf(ask())) == {"response": "Aye.", "emotion": "calm"}
    assert CASE.successResultOf(ask())["response"] == "user"
    for _ in range(2):
        assert "no connection" in str(CASE.failureResultOf(ask(), LMFailed).value)
    assert len(script.prompts) >= 4
    assert "You are a smith." in script.prompts[0].system
    assert "Good evening!" in script.prompts[0].text
    closed = engine.close()
    while not closed.called:
        clock.wait()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dspyreload-")]
