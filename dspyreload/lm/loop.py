"""One asyncio loop in one daemon thread for LM calls; its tasks are Deferreds on the reactor's side.

It works the same under every reactor. The thread begins with the first call and ends with ``close``.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from dspyreload.errors import EngineClosed, LoopNotStarted
from dspyreload.lm.executor import DaemonLoop
from dspyreload.reactor import IReactor

__all__ = ["LMLoop"]

_log = Logger(namespace="dspyreload")

T = TypeVar("T")

_CLOSE_LIMIT = 5.0
_SLICE = 0.005  # seconds of one turn of the reactor, or the loop, that letters may take


class _Letters:
    """Calls from one thread to another: one wake-up for each burst, whatever its size.

    :param wake: has the other thread call a function.
    """

    def __init__(self, wake: Callable[[Callable[[], None]], object]) -> None:
        self._wake = wake
        self._calls: deque[Callable[[], object]] = deque()
        self._woken = False

    def put(self, call: Callable[[], object]) -> None:
        """Have the other thread make a call, after those that were put before."""
        self._calls.append(call)
        if not self._woken:
            self._woken = True
            self._wake(self._deliver)

    def _deliver(self) -> None:
        self._woken = False  # before the first is taken: what comes from now on wakes again
        until = time.perf_counter() + _SLICE
        while self._calls:
            try:
                self._calls.popleft()()
            except Exception:
                _log.failure("a call between the reactor and the LM loop failed")
            if time.perf_counter() > until and self._calls:
                if not self._woken:  # else who put one meanwhile has woken us
                    self._woken = True
                    self._wake(self._deliver)
                return


class LMLoop:
    """Runs coroutines in an asyncio loop of its own. All methods are for the reactor thread.

    :param reactor: gives the reactor when it is first needed.
    :param at_end: awaited in the loop before it ends, to close what lives in it.
    """

    def __init__(self, reactor: Callable[[], IReactor], at_end: Callable[[], Awaitable[None]]) -> None:
        self._reactor, self._at_end = reactor, at_end
        self._loop: DaemonLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._calls: set[Deferred[Any]] = set()  # that have not fired
        self._closing: list[Deferred[None]] | None = None
        self._limit: IDelayedCall | None = None
        self._to_reactor = _Letters(lambda deliver: self._reactor().callFromThread(deliver))
        self._to_loop = _Letters(self.soon)

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closing is not None

    def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> Deferred[T]:
        """Run a coroutine; it is made in the loop, and sees the caller's context variables.

        :return: fires with what it returns or raises; cancelling it cancels the task.
        :raises EngineClosed: after ``close``.
        :raises LoopNotStarted: where the machine has no thread or no descriptor left.
        """
        if self.closed:
            raise EngineClosed("the engine is closed")
        loop = self._loop or self._start()
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
            task = loop.create_task(_contained(make), context=context)
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
            self._to_reactor.put(lambda: fire(outcome))

        def fire(outcome: T | Failure) -> None:
            if not deferred.called:
                if isinstance(outcome, Failure):
                    deferred.errback(outcome)
                else:
                    deferred.callback(outcome)

        def over(outcome: Any) -> Any:
            self._calls.discard(deferred)
            return outcome

        context = contextvars.copy_context()
        self._calls.add(deferred)
        self._to_loop.put(begin)
        return deferred.addBoth(over)

    def on_reactor(self, function: Callable[[], Any]) -> asyncio.Future[Any]:
        """Run a function on the reactor thread; it may be plain, ``async def``, or return a Deferred.

        To be called in the loop. It sees the context variables of the task that asks. Cancelling the future cancels its
        Deferred.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()
        started: list[Deferred[Any]] = []

        def start() -> None:
            if not future.cancelled():
                started.append(context.run(maybeDeferred, function))
                started[0].addBoth(finish)

        def finish(outcome: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
                loop.call_soon_threadsafe(settle, outcome)

        def settle(outcome: Any) -> None:
            if future.done():
                return
            if isinstance(outcome, Failure):
                error = outcome.value
                # No future takes a StopIteration, and what is no Exception would end the loop.
                if not isinstance(error, Exception) or isinstance(error, StopIteration):
                    error = RuntimeError(f"it raised {type(error).__name__}: {error}")
                future.set_exception(error)
            else:
                future.set_result(outcome)

        def cancel(done: asyncio.Future[Any]) -> None:
            if done.cancelled():
                self._to_reactor.put(lambda: started[0].cancel() if started else None)

        future.add_done_callback(cancel)
        self._to_reactor.put(start)
        return future

    def tell(self, call: Callable[[], object]) -> None:
        """Have the reactor make a call, in order with the others. To be called in the loop."""
        self._to_reactor.put(call)

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
            if self._limit is None or not self._limit.active():  # the first one's time is over
                self._limit = self._reactor().callLater(_CLOSE_LIMIT, self._late)
            return deferred
        self._closing = [deferred]
        self._to_loop.put(loop.stop)  # after all that was begun
        self._limit = self._reactor().callLater(_CLOSE_LIMIT, self._late)
        return deferred

    def _start(self) -> DaemonLoop:
        try:
            loop = DaemonLoop()
        except OSError as error:  # no descriptor is left
            raise LoopNotStarted(error.strerror or str(error)) from None
        thread = threading.Thread(target=self._work, args=(loop,), name="dspyreload-lm", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            loop.close()
            raise LoopNotStarted(str(error)) from None
        self._loop, self._thread = loop, thread
        return loop

    def _work(self, loop: DaemonLoop) -> None:
        asyncio.set_event_loop(loop)
        failure: Failure | None = None
        try:
            loop.run_forever()
            failure = loop.run_until_complete(self._wind_up(loop))
        finally:
            loop.executor.shutdown()
            loop.close()
            self._to_reactor.put(lambda: self._closed(failure))  # after what the calls came to

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
        for call in tuple(self._calls):
            if not call.called:
                call.errback(EngineClosed("the engine is closed, and the call did not end"))
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
