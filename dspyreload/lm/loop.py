"""One asyncio loop in one daemon thread for LM calls; its tasks are Deferreds on the reactor's side.

It works the same under every reactor. The thread begins with the first call and ends with ``close``.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure

from dspyreload.errors import EngineClosed
from dspyreload.reactor import IReactor

__all__ = ["LMLoop"]

_log = Logger(namespace="dspyreload")

T = TypeVar("T")

_CLOSE_LIMIT = 5.0


class LMLoop:
    """Runs coroutines in an asyncio loop of its own. All methods are for the reactor thread.

    :param reactor: gives the reactor when it is first needed.
    :param at_end: awaited in the loop before it ends, to close what lives in it.
    """

    def __init__(self, reactor: Callable[[], IReactor], at_end: Callable[[], Awaitable[None]]) -> None:
        self._reactor, self._at_end = reactor, at_end
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing: list[Deferred[None]] | None = None
        self._limit: IDelayedCall | None = None

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closing is not None

    def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> Deferred[T]:
        """Run a coroutine; it is made in the loop, and sees the caller's context variables.

        :return: fires with what it returns or raises; cancelling it cancels the task.
        """
        if self.closed:
            raise EngineClosed("the engine is closed")
        loop = self._loop or self._start()
        reactor = self._reactor()
        task: asyncio.Task[T] | None = None
        cancelled = False

        def cancel(_deferred: Deferred[T]) -> None:
            nonlocal cancelled
            cancelled = True
            self.soon(lambda: task.cancel() if task is not None else None)

        deferred: Deferred[T] = Deferred(cancel)

        def begin() -> None:
            nonlocal task
            if cancelled:
                return
            task = loop.create_task(_contained(make))
            self._tasks.add(task)
            task.add_done_callback(done)

        def done(finished: asyncio.Task[T]) -> None:
            self._tasks.discard(finished)
            outcome: T | Failure
            if finished.cancelled():
                outcome = Failure(EngineClosed("the call was cancelled: the engine is closing"))
            elif (error := finished.exception()) is not None:
                outcome = Failure(error)
            else:
                outcome = finished.result()
            reactor.callFromThread(fire, outcome)

        def fire(outcome: T | Failure) -> None:
            if not deferred.called:
                if isinstance(outcome, Failure):
                    deferred.errback(outcome)
                else:
                    deferred.callback(outcome)

        loop.call_soon_threadsafe(begin, context=contextvars.copy_context())
        return deferred

    def soon(self, call: Callable[[], object]) -> None:
        """Call something in the loop, if there is one that has not ended."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended meanwhile
                self._loop.call_soon_threadsafe(call)

    def close(self) -> Deferred[None]:
        """Cancel all calls and end the thread.

        :return: fires when it has ended, or after 5 s, with a line in the log.
        """
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            self._closing = []
            return succeed(None)
        deferred: Deferred[None] = Deferred()
        if self._closing is not None:
            if not thread.is_alive():
                return succeed(None)
            self._closing.append(deferred)
            return deferred
        self._closing = [deferred]
        loop.call_soon_threadsafe(loop.stop)
        self._limit = self._reactor().callLater(_CLOSE_LIMIT, self._late)
        return deferred

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._work, args=(loop, self._reactor()), name="dspyreload-lm", daemon=True
        )
        self._thread.start()
        return loop

    def _work(self, loop: asyncio.AbstractEventLoop, reactor: IReactorFromThreads) -> None:
        asyncio.set_event_loop(loop)
        failure: Failure | None = None
        try:
            loop.run_forever()
            failure = loop.run_until_complete(self._wind_up(loop))
        finally:
            loop.close()
            reactor.callFromThread(self._closed, failure)

    async def _wind_up(self, loop: asyncio.AbstractEventLoop) -> Failure | None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        failure = None
        try:
            await self._at_end()
        except Exception:
            failure = Failure()
        await loop.shutdown_asyncgens()
        await loop.shutdown_default_executor()
        return failure

    def _closed(self, failure: Failure | None) -> None:
        assert self._thread is not None
        self._thread.join(1.0)  # it is past its last line
        if self._limit is not None and self._limit.active():
            self._limit.cancel()
        if failure is not None:
            _log.failure("closing a language model failed", failure)
        self._settle()

    def _late(self) -> None:
        assert self._thread is not None
        _log.warn("the thread {thread} did not end within {limit} s", thread=self._thread.name, limit=_CLOSE_LIMIT)
        self._settle()

    def _settle(self) -> None:
        waiting, self._closing = self._closing or [], []
        for deferred in waiting:
            if not deferred.called:
                deferred.callback(None)


async def _contained(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine; one that would end the process ends its own call."""
    try:
        return await make()
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"the call raised {type(error).__name__}") from error
