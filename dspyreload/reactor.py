"""What is needed of a reactor, its thread, and the threads that work for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.python import threadable
from twisted.python.failure import Failure

from dspyreload.errors import WrongThread

__all__ = [
    "REST",
    "AtShutdown",
    "IReactor",
    "Joinable",
    "StartThread",
    "check_seconds",
    "check_thread",
    "in_thread",
    "is_other_thread",
    "start_thread",
]

T = TypeVar("T")

REST = 0.00005
"""Seconds that a thread sleeps to let the reactor on: what counts is that it sleeps, and not for how long."""

_JOIN_LIMIT = 1.0  # seconds; the thread is past its last line


class IReactor(IReactorTime, IReactorFromThreads):
    """The features of a reactor that dspyreload uses; ``testing.ReactorClock`` has them too."""


class Joinable(Protocol):
    """What is needed of a thread."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""


StartThread = Callable[[Callable[[], None], str], Joinable]
"""Runs a function somewhere else than on the reactor thread: ``start_thread(target, name)``."""


def start_thread(target: Callable[[], None], name: str) -> Joinable:
    """Start a daemon thread: one that is stuck in the kernel must not keep the process.

    Its last act is a ``callFromThread``; who is called there joins it, so that it is gone when that is known.
    """
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


def in_thread(
    reactor: IReactor, start_thread: StartThread, name: str, work: Callable[[], T], then: Callable[[T | Failure], None]
) -> None:
    """Do some work beside the reactor, then say on the reactor thread what came of it; the thread has ended by then.

    Where the machine has no thread left, that is what came of it, at once: a ``RuntimeError``.
    """

    def target() -> None:
        outcome: T | Failure
        try:
            outcome = work()
        except BaseException:
            outcome = Failure()
        time.sleep(REST)  # what is due on the reactor comes before what we have for it
        reactor.callFromThread(finished, outcome)

    def finished(outcome: T | Failure) -> None:
        thread.join(_JOIN_LIMIT)
        then(outcome)

    try:
        thread = start_thread(target, name)
    except RuntimeError:
        outcome = Failure()
    else:
        return
    then(outcome)


class AtShutdown:
    """Calls a function when the reactor shuts down, if it is one that can: a clock never does.

    :param call: may return a Deferred, which the reactor waits for.
    """

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._reactor: Any = None
        self._trigger: Any = None

    def expect(self, reactor: object) -> None:
        """Call when this reactor shuts down; once, however often this is said."""
        if self._trigger is None and hasattr(reactor, "addSystemEventTrigger"):
            self._reactor = reactor
            self._trigger = self._reactor.addSystemEventTrigger("before", "shutdown", self._shut_down)

    def cancel(self) -> None:
        """Call no more."""
        if self._trigger is not None:
            self._reactor.removeSystemEventTrigger(self._trigger)
            self._trigger = None

    def _shut_down(self) -> object:
        self._trigger = None  # it is being fired: there is none to remove
        return self._call()


def check_seconds(name: str, seconds: object, *, or_none: bool = False) -> None:
    """Refuse what is no time to wait.

    :raises ValueError: for anything but a number above 0.
    """
    if or_none and seconds is None:
        return
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not number or not seconds > 0:  # type: ignore[operator]  # it is a number; NaN is not above 0
        raise ValueError(f"{name} must be a number of seconds above 0{', or None' * or_none}, not {seconds!r}")


def is_other_thread() -> bool:
    """Say whether the reactor runs, and runs on another thread than this."""
    running_in = threadable.ioThread
    return running_in is not None and running_in != threading.get_ident()


def check_thread(what: str) -> None:
    """Refuse to go on where the reactor runs, and runs on another thread than this.

    :raises WrongThread: naming ``what`` was called.
    """
    if is_other_thread():
        raise WrongThread(
            f"{what} was called on the thread {threading.current_thread().name}; use reactor.callFromThread"
        )
