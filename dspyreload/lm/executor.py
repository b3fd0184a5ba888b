"""A pool of daemon threads for the LM loop: one that hangs in it keeps neither ``close`` nor the process waiting."""

from __future__ import annotations

import asyncio
import concurrent.futures
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["DaemonExecutor", "DaemonLoop"]

_Work = tuple["concurrent.futures.Future[Any]", Callable[[], Any]]

_MOST = 6


class DaemonExecutor(concurrent.futures.Executor):
    """Runs functions in ``most`` daemon threads, started with the first calls.

    Those of the standard library are joined when Python ends.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> concurrent.futures.Future[Any]:
        """Run a function; the future has what it returns or raises.

        :raises RuntimeError: where there is no thread, and the machine has none left.
        """
        if len(self._threads) < self._most:
            self._start()
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._work.put((future, lambda: function(*args, **options)))
        return future

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="dspyreload-work", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the machine has no thread left: those that there are do the work
            if not self._threads:
                raise
        else:
            self._threads.append(thread)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 - the interface
        """End the threads that have nothing to do, and the others when they are done; wait for at most a second."""
        self._work.put(None)
        until = time.monotonic() + 1.0
        for thread in self._threads if wait else ():
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        while True:
            work = self._work.get()
            if work is None:
                self._work.put(None)  # for the others
                return
            future, function = work
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:
                    future.set_exception(error)
            del work, future, function


_PREPARE = ("dspy.clients.execution", "prepare")
"""What DSPy runs in a thread for each request though it only computes: two switches of threads for a tenth of a
millisecond. (It reads files for a ``Request`` with media in it, which no adapter of DSPy makes.)"""

_PRICE = ("dspy.clients.execution", "_price_result")
"""What it runs in a thread for each answer: the first one reads a list of prices, the others look up a word in it."""

_PROVIDER = 4  # among the arguments of that: None of a language model that has no price


def _is_quick(function: Callable[..., Any]) -> bool:
    args = getattr(function, "args", ())  # asyncio.to_thread makes a partial of a context's run
    inner = args[0] if args else None
    name = (getattr(inner, "__module__", None), getattr(inner, "__name__", None))
    if name == _PRICE and len(args) > _PROVIDER:
        return args[_PROVIDER] is None or _has_prices()
    return name == _PREPARE


def _has_prices() -> bool:
    return getattr(sys.modules.get("dspy.clients.model_metadata"), "_data", None) is not None


class DaemonLoop(asyncio.SelectorEventLoop):
    """An event loop whose ``asyncio.to_thread`` uses daemon threads."""

    def __init__(self) -> None:
        super().__init__()
        self.executor = DaemonExecutor()

    def run_in_executor(  # type: ignore[override]  # its types are of Python 3.11 here and others there
        self, executor: Any, function: Callable[..., Any], *args: Any
    ) -> Any:
        """Run a function in the executor that is named, or in ours."""
        if executor is not None:
            return super().run_in_executor(executor, function, *args)
        if _is_quick(function):
            return self._at_once(function, *args)
        return asyncio.wrap_future(self.executor.submit(function, *args), loop=self)

    def _at_once(self, function: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        future = self.create_future()
        try:
            future.set_result(function(*args))
        except Exception as error:
            future.set_exception(error)
        return future
