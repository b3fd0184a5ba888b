"""What is needed of a reactor, and the threads that work for it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from twisted.internet.interfaces import IReactorFromThreads, IReactorTime

__all__ = ["IReactor", "StartThread", "start_thread"]


class IReactor(IReactorTime, IReactorFromThreads):
    """The features of a reactor that dspyreload uses; ``testing.ReactorClock`` has them too."""


StartThread = Callable[[Callable[[], None], str], object]
"""Runs a function somewhere else than on the reactor thread: ``start_thread(target, name)``."""


def start_thread(target: Callable[[], None], name: str) -> object:
    """Start a daemon thread: one that is stuck in the kernel must not keep the process."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread
