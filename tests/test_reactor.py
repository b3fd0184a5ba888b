"""The threads that work for the reactor."""

from __future__ import annotations

import threading

from zope.interface.verify import verifyObject

from dspyreload.reactor import IReactor, start_thread
from dspyreload.testing import ReactorClock


def test_a_worker_is_a_daemon_with_a_name() -> None:
    """One that is stuck in the kernel can't keep the process, and an operator finds it by name."""
    seen: list[tuple[str, bool]] = []

    def work() -> None:
        thread = threading.current_thread()
        seen.append((thread.name, thread.daemon))

    start_thread(work, "dspyreload-pass").join(10)
    assert seen == [("dspyreload-pass", True)]


def test_a_worker_does_not_hold_up_who_starts_it() -> None:
    """start_thread returns while the work goes on."""
    go, done = threading.Event(), threading.Event()

    def work() -> None:
        go.wait(10)
        done.set()

    thread = start_thread(work, "dspyreload-pass")
    assert not done.is_set()
    go.set()
    thread.join(10)
    assert done.is_set()


def test_the_public_clock_has_all_that_is_needed_of_a_reactor() -> None:
    """What a game tests with can stand where a reactor is asked for."""
    verifyObject(IReactor, ReactorClock(), tentative=True)
