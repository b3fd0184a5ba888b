"""What is needed of a reactor, its thread, and the threads that work for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.python import threadable

from dspyreload.errors import WrongThread

__all__ = ["IReactor", "Joinable", "StartThread", "check_thread", "start_thread"]


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


def check_thread(what: str) -> None:
    """Refuse to go on where the reactor runs, and runs on another thread than this.

    :raises WrongThread: naming ``what`` was called.
    """
    running_in = threadable.ioThread
    if running_in is not None and running_in != threading.get_ident():
        raise WrongThread(
            f"{what} was called on the thread {threading.current_thread().name}; use reactor.callFromThread"
        )
