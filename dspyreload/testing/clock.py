"""A clock that stands in for the reactor."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from zope.interface import implementer

from dspyreload.reactor import IReactor

__all__ = ["ReactorClock"]


@implementer(IReactor)
class ReactorClock(Clock):
    """A ``task.Clock`` that also has ``callFromThread``: what threads asked for runs when you say so."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:
        """Keep a call until :meth:`advance` or :meth:`wait`. Any thread."""
        self._calls.put(lambda: callable(*args, **kwargs))

    def advance(self, amount: float) -> None:
        """Run what threads asked for, then let ``amount`` seconds pass."""
        self.run_calls()
        super().advance(amount)
        self.run_calls()

    def run_calls(self) -> int:
        """Run what threads have asked for so far; returns how many calls that were."""
        count = 0
        while True:
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                return count
            call()
            count += 1

    def wait(self, timeout: float = 10.0) -> None:
        """Wait for a thread to ask for something, and run that.

        :param timeout: real seconds.
        :raises TimeoutError: where none does.
        """
        try:
            call = self._calls.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"no thread called within {timeout:g} s") from None
        call()
        self.run_calls()
