"""A module as a function: :class:`Bound`, for Deferred code and for asyncio code."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from dspyreload.errors import WrongThread
from dspyreload.lm.reply import Reply
from dspyreload.reactor import IReactor, is_other_thread

__all__ = ["Bound"]

_UNSET: Any = object()


class Bound:
    """``npc = engine.bind("npc.smith")``: ``await npc(player_message="Hello")`` runs the live version.

    On the reactor thread a call gives a Deferred, which asyncio tasks can await as well, under Twisted's asyncio
    reactor; in asyncio code of other threads, on any loop, an ``asyncio.Future``. Cancelling either cancels the call.

    :ivar module_id: of the module. It need not be live yet.
    """

    def __init__(self, module_id: str, invoke: Callable[..., Deferred[Reply]], reactor: Callable[[], IReactor]) -> None:
        self.module_id = module_id
        self._invoke, self._reactor = invoke, reactor

    def __repr__(self) -> str:
        return f"<Bound {self.module_id!r}>"

    def __call__(self, inputs: Mapping[str, Any] | None = None, /, **options_and_fields: Any) -> Any:
        """Run the live version; options and fields as for ``DSPyEngine.invoke``.

        :raises WrongThread: on another thread than the reactor's, where no asyncio code calls.
        """

        def invoke() -> Deferred[Reply]:
            return self._invoke(self.module_id, inputs, **options_and_fields)

        if not is_other_thread():
            return _Answer(invoke())
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise WrongThread(
                f"{self!r} was called on a thread that is neither the reactor's nor asyncio's;"
                " use reactor.callFromThread"
            ) from None
        return self._from_other_thread(loop, invoke)

    def _from_other_thread(
        self, loop: asyncio.AbstractEventLoop, invoke: Callable[[], Deferred[Reply]]
    ) -> asyncio.Future[Reply]:
        future: asyncio.Future[Reply] = loop.create_future()
        context = contextvars.copy_context()
        reactor = self._reactor()
        started: list[Deferred[Any]] = []

        def settle(outcome: Any) -> None:
            if future.done():
                return
            if isinstance(outcome, Failure):
                future.set_exception(outcome.value or RuntimeError("the call failed"))
            else:
                future.set_result(outcome)

        def ended(outcome: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
                loop.call_soon_threadsafe(settle, outcome)

        def start() -> None:
            if future.cancelled():
                return
            try:
                started.append(context.run(invoke))
            except Exception:
                ended(Failure())
            else:
                started[0].addBoth(ended)

        def cancelled(done: asyncio.Future[Reply]) -> None:
            if done.cancelled():
                reactor.callFromThread(lambda: started[0].cancel() if started else None)

        future.add_done_callback(cancelled)
        reactor.callFromThread(start)
        return future


class _Answer(Deferred[Reply]):
    """A Deferred that an asyncio task of the same thread can await too.

    Which of the two awaits can't be told beforehand: Deferred code may run inside of a task. What an awaited object
    yields is a Deferred to Twisted, and to asyncio anything with the three names below, on the object itself: were they
    on its class, ``asyncio.gather`` would take it for a future, whose ``result`` is a method.
    """

    def __init__(self, call: Deferred[Reply]) -> None:
        super().__init__(lambda _answer: call.cancel())
        self._asyncio_future_blocking = True
        call.addBoth(self._ended)

    def _ended(self, outcome: Any) -> None:
        if not self.called:
            (self.errback if isinstance(outcome, Failure) else self.callback)(outcome)

    def cancel(self, msg: Any = _UNSET) -> None:
        """Cancel the call; ``msg`` is what asyncio gives, whose task then hears of it by itself."""
        super().cancel()
        if msg is not _UNSET:
            self.addErrback(lambda failure: failure.trap(CancelledError) and None)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop of this thread, for asyncio."""
        return asyncio.get_running_loop()

    def add_done_callback(self, done: Callable[[Any], object], *, context: Any = None) -> None:
        """Have asyncio go on; what came of it is then taken from this object itself."""
        loop = asyncio.get_running_loop()
        self._asyncio_future_blocking = True  # for another task that awaits it too

        def go_on(outcome: Any) -> Any:
            settled = loop.create_future()
            settled.set_result(None)
            loop.call_soon(done, settled, context=context)
            return outcome

        self.addBoth(go_on)
