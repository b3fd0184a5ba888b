"""Events for a loop: :class:`EventStream`."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred, succeed

from dspyreload.model.events import EventsDropped, HotReloadEvent

__all__ = ["QUEUE", "EventStream"]

QUEUE = 1000
"""How many events wait for a slow one before the oldest are dropped."""


class EventStream:
    """An async iterator over events; it ends when the service stops. ``aclose`` ends it sooner.

    :param subscribe: calls a function for each event, and returns one that ends it.
    :param at_stop: calls a function when the service stops, and returns one that forgets it.
    """

    def __init__(
        self,
        subscribe: Callable[[Callable[[HotReloadEvent], object]], Callable[[], None]],
        at_stop: Callable[[Callable[[], None]], Callable[[], None]],
    ) -> None:
        self._queue: deque[HotReloadEvent] = deque()
        self._dropped = 0
        self._waiting: deque[Deferred[HotReloadEvent]] = deque()
        self._over = False
        # Held weakly, so that one whose loop was left with ``break`` is gone, and not fed for ever.
        alive = weakref.ref(self)

        def put(event: HotReloadEvent) -> None:
            if (stream := alive()) is not None:
                stream._put(event)
            else:
                unsubscribe()
                forget()

        def end() -> None:
            if (stream := alive()) is not None:
                stream.close()

        self._unsubscribe, self._forget = unsubscribe, forget = subscribe(put), at_stop(end)

    def __aiter__(self) -> EventStream:
        return self

    def __anext__(self) -> Awaitable[HotReloadEvent]:
        if self._dropped:
            count, self._dropped = self._dropped, 0
            return succeed(EventsDropped(generation=self._queue[0].generation, count=count))
        if self._queue:
            return succeed(self._queue.popleft())
        if self._over:
            raise StopAsyncIteration
        waiting: Deferred[HotReloadEvent] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def close(self) -> None:
        """End the iteration once what is queued was read."""
        self._over = True
        self._unsubscribe()
        self._forget()
        while self._waiting:
            self._waiting.popleft().errback(StopAsyncIteration())

    async def aclose(self) -> None:
        """End the iteration, as an async generator would."""
        self.close()

    def _put(self, event: HotReloadEvent) -> None:
        if self._waiting:
            self._waiting.popleft().callback(event)
            return
        self._queue.append(event)
        if len(self._queue) > QUEUE:
            self._queue.popleft()
            self._dropped += 1
