"""The live snapshot and its subscribers.

Everything that serves reads :attr:`Live.snapshot`; the one assignment in :meth:`Live.commit` makes a new one live.
Each subscriber has a queue of its own: one that is slow, raises or never fires delays nobody else.
"""

from __future__ import annotations

import inspect
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from dspyreload.errors import ServiceStopped
from dspyreload.live.health import Health, HealthBoard
from dspyreload.live.stats import HotReloadStats, Ledger
from dspyreload.live.stream import QUEUE, EventStream
from dspyreload.model.events import EventsDropped, HealthChanged, HotReloadEvent
from dspyreload.model.snapshot import EMPTY, ModuleVersion, Snapshot
from dspyreload.raised import log_raised

__all__ = ["Live", "OnEvent"]

_log = Logger(namespace="dspyreload")

OnEvent = Callable[[HotReloadEvent], object]
"""``on_event(event)``: plain, ``async def``, or returns a Deferred."""

E = TypeVar("E", bound=HotReloadEvent)

_CHUNK = 200  # events that are put into the queues at a time: a quick subscriber then never falls behind
_SLICE = 0.001  # seconds of one reactor turn that events may take


class _Subscriber:
    """One callback with its queue. ``busy`` while a Deferred that it returned has not fired."""

    def __init__(self, on_event: OnEvent) -> None:
        self.on_event = on_event
        self.queue: deque[HotReloadEvent] = deque(maxlen=QUEUE)
        self.dropped = 0
        self.busy = False
        self.gone = False

    @property
    def idle(self) -> bool:
        return self.gone or self.busy or not self.queue

    def put(self, events: Sequence[HotReloadEvent]) -> None:
        self.dropped += max(0, len(self.queue) + len(events) - QUEUE)
        self.queue.extend(events)

    def take(self) -> HotReloadEvent:
        if self.dropped:
            count, self.dropped = self.dropped, 0
            return EventsDropped(generation=self.queue[0].generation, count=count)
        return self.queue.popleft()


class Live:
    """The snapshot that serves, and who hears of changes.

    :ivar snapshot: read by any thread, assigned on the reactor thread only.
    :ivar stats: where subscribers' errors are counted. ``ledger``: what calls came to.
    :ivar board: what is wrong at present.
    """

    def __init__(self, clock: Callable[[], IReactorTime]) -> None:
        self._clock = clock
        self.snapshot: Snapshot = EMPTY
        self.stats = HotReloadStats()
        self.ledger = Ledger()
        self.board = HealthBoard(self._health_changed)
        self._subscribers: list[_Subscriber] = []
        self._backlog: deque[tuple[Sequence[HotReloadEvent], list[_Subscriber]]] = deque()
        self._ends: list[Callable[[], None]] = []
        self._call: IDelayedCall | None = None
        self._stopped = self._draining = False

    def is_live(self, version: ModuleVersion) -> bool:
        """Say whether a version is the one that serves. Any thread."""
        return self.snapshot.get(version.module_id) is version

    def commit(self, snapshot: Snapshot) -> None:
        """Make a snapshot the live one."""
        self.snapshot = snapshot

    def publish(self, events: tuple[HotReloadEvent, ...]) -> None:
        """Queue events for all subscribers; they are called on a later turn of the reactor."""
        self._stopped = False
        if events and self._subscribers:
            for start in range(0, len(events), _CHUNK):
                self._backlog.append((events[start : start + _CHUNK], self._subscribers))
            self._schedule()

    def subscribe(self, on_event: OnEvent) -> Callable[[], None]:
        """Call ``on_event`` for each event from now on.

        :return: a function that ends it; calling it twice does no harm.
        """
        subscriber = _Subscriber(on_event)
        self._subscribers = [*self._subscribers, subscriber]

        def unsubscribe() -> None:
            subscriber.gone = True
            self._subscribers = [other for other in self._subscribers if other is not subscriber]

        return unsubscribe

    def next_event(self, kind: type[E]) -> Deferred[E]:
        """Return a Deferred that fires once, with the next event of a kind.

        It fails with :class:`ServiceStopped` when :meth:`stop` is called first.
        """
        fired: Deferred[E]

        def forget() -> None:
            unsubscribe()
            if end in self._ends:
                self._ends.remove(end)

        def on_event(event: HotReloadEvent) -> None:
            if isinstance(event, kind):
                forget()
                fired.callback(event)

        def end() -> None:
            forget()
            if not fired.called:  # another's errback may have cancelled it
                fired.errback(ServiceStopped(f"the service stopped before a {kind.__name__}"))

        fired = Deferred(lambda _deferred: forget())
        unsubscribe = self.subscribe(on_event)
        self._ends.append(end)
        return fired

    def events(self) -> EventStream:
        """Return an async iterator over the events from now on, at most the newest 1,000 unread ones."""
        return EventStream(self.subscribe, self.at_stop)

    def at_stop(self, end: Callable[[], None]) -> Callable[[], None]:
        """Call ``end`` once, when :meth:`stop` is called; returns a function that forgets it."""
        self._ends.append(end)
        return lambda: self._ends.remove(end) if end in self._ends else None

    def stop(self) -> None:
        """Deliver what is queued, then end whatever waits for an event. Subscribers stay."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        # Also inside of a callback: the others get what is queued before this returns.
        inside, self._stopped, self._draining = self._draining, True, True
        try:
            while self._step():
                pass
        finally:
            self._draining = inside
        ends, self._ends = self._ends, []
        for end in ends:
            end()

    def _health_changed(self, health: Health) -> None:
        self.publish(
            (
                HealthChanged(
                    generation=self.snapshot.generation,
                    status=health.status,
                    since=health.since,
                    reasons=health.reasons,
                ),
            )
        )

    # Delivery

    def _schedule(self) -> None:
        if self._stopped:  # no timer after a stop: what is left is delivered now
            self._drain()
        elif self._call is None and not self._draining:
            self._call = self._clock().callLater(0, self._turn)

    def _turn(self) -> None:
        self._call = None
        self._drain(time.perf_counter() + _SLICE)

    def _drain(self, until: float | None = None) -> None:
        """Deliver until nothing is left to do now, or it is time to let others on: then go on in a later turn."""
        if self._draining:  # inside of a callback: the loop that called it goes on
            return
        self._draining = True
        more = True
        try:
            while more and (until is None or self._stopped or time.perf_counter() < until):
                more = self._step()
        finally:
            self._draining = False
        if more:
            self._schedule()

    def _step(self) -> bool:
        """Hand each subscriber that can take one an event; say whether there is more to do now."""
        if self._backlog and all(subscriber.idle for subscriber in self._subscribers):
            events, subscribers = self._backlog.popleft()
            for subscriber in subscribers:
                subscriber.put(events)
        for subscriber in self._subscribers:
            self._deliver(subscriber)
        return bool(self._backlog) or not all(subscriber.idle for subscriber in self._subscribers)

    def _deliver(self, subscriber: _Subscriber) -> None:
        if subscriber.idle:
            return
        event = subscriber.take()
        subscriber.busy = True
        try:
            result = subscriber.on_event(event)
            done = _as_deferred(result)
        except Exception:
            self._raised(Failure(), event)
            subscriber.busy = False
        else:
            if done is None:
                subscriber.busy = False
            else:
                done.addErrback(self._raised, event)
                done.addBoth(self._finished, subscriber)

    def _finished(self, _result: object, subscriber: _Subscriber) -> None:
        subscriber.busy = False
        if subscriber.queue and not subscriber.gone:
            self._schedule()

    def _raised(self, failure: Failure, event: HotReloadEvent) -> None:
        self.stats.subscriber_errors += 1
        kind = type(event).__name__
        log_raised(_log, "a subscriber raised at {event_kind}; the others go on", failure, event_kind=kind)


def _as_deferred(result: object) -> Deferred[Any] | None:
    if isinstance(result, Deferred):
        return result
    if inspect.iscoroutine(result):
        return Deferred.fromCoroutine(result)
    return None
