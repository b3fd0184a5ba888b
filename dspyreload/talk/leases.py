"""A hold on one snapshot: :class:`Lease`."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall

from dspyreload.errors import EngineClosed, LeaseEnded
from dspyreload.lm.reply import Chunk, Reply
from dspyreload.model.snapshot import Snapshot
from dspyreload.reactor import IReactor, check_seconds, check_thread
from dspyreload.talk.calls import Calls, Options
from dspyreload.talk.replies import ReplyStream

if TYPE_CHECKING:
    from dspyreload.lm.programs import Program

__all__ = ["Lease", "Leases"]


class Lease:
    """Keeps one snapshot for who holds it: each turn of a conversation is of the same versions, whatever is saved.

    Use it in a ``with`` block, or call :meth:`end`. After its time is over, or one of its versions was revoked, the
    next turn is of what is live then. All methods are for the reactor thread.
    """

    def __init__(
        self,
        live: Callable[[], Snapshot],
        calls: Calls,
        reactor: IReactor,
        timers: set[IDelayedCall],
        max_age: float | None,
        idle: float | None,
    ) -> None:
        self._live, self._calls, self._reactor, self._timers = live, calls, reactor, timers
        self._max_age, self._idle = max_age, idle
        self._held: Snapshot | None = None
        self._programs: dict[str, Program] = {}
        self._timer: IDelayedCall | None = None
        self._since = self._used = 0.0
        self._ended = False
        self.refresh()

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot that the next turn is of."""
        return self._held if self._held is not None else self._live()

    @property
    def generation(self) -> int:
        """That snapshot's."""
        return self.snapshot.generation

    @property
    def stale(self) -> bool:
        """Whether a newer snapshot is live than the one that is held."""
        return self.generation != self._live().generation

    def invoke(
        self, module_id: str, inputs: Mapping[str, Any] | None = None, /, **options_and_fields: Any
    ) -> Deferred[Reply]:
        """Run a module of the held snapshot; see ``DSPyEngine.invoke``. It also fails with ``LeaseEnded``."""
        check_thread("lease.invoke")
        options, fields = Options.taken_from(inputs, options_and_fields)
        if self._ended:
            return fail(LeaseEnded("the lease has ended"))
        self._turn()
        return self._calls.invoke(self.snapshot, self._programs, module_id, fields, options)

    def stream(
        self,
        module_id: str,
        inputs: Mapping[str, Any] | None = None,
        /,
        *,
        on_chunk: Callable[[Chunk], object] | None = None,
        **options_and_fields: Any,
    ) -> ReplyStream:
        """Run a module of the held snapshot and hear it speak; see ``DSPyEngine.stream``.

        :raises LeaseEnded: after :meth:`end`.
        """
        check_thread("lease.stream")
        options, fields = Options.taken_from(inputs, options_and_fields)
        if self._ended:
            raise LeaseEnded("the lease has ended")
        self._turn()
        return self._calls.stream(self.snapshot, self._programs, module_id, fields, options, on_chunk)

    def refresh(self) -> None:
        """Move on to the live snapshot; calls under way stay on theirs.

        :raises LeaseEnded: after :meth:`end`.
        """
        check_thread("lease.refresh")
        if self._ended:
            raise LeaseEnded("the lease has ended")
        self._held, self._programs = self._live(), {}
        self._since = self._used = self._reactor.seconds()
        self._set_timer()

    def let_go(self) -> None:
        """Hold nothing until the next turn."""
        self._held, self._programs = None, {}
        self._stop_timer()

    def end(self) -> None:
        """Let go for good. Twice does no harm."""
        self._ended = True
        self.let_go()

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def _turn(self) -> None:
        if self._held is None or self._held.generation == 0 or self._left() <= 0:
            self.refresh()
        self._used = self._reactor.seconds()

    def _left(self) -> float:
        ends = [] if self._max_age is None else [self._since + self._max_age]
        ends += [] if self._idle is None else [self._used + self._idle]
        return min(ends, default=float("inf")) - self._reactor.seconds()

    def _set_timer(self) -> None:
        self._stop_timer()
        left = self._left()
        if left == float("inf"):
            return
        alive = weakref.ref(self)  # a lease that nobody ends goes with who held it

        timers = self._timers

        def look() -> None:
            timers.discard(timer)
            if (lease := alive()) is not None and lease._held is not None:
                lease._look()

        timer = self._timer = self._reactor.callLater(max(left, 0.0), look)
        timers.add(timer)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            self._timers.discard(timer)
            timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if self._left() <= 0:
            self.let_go()
        else:  # it was used meanwhile
            self._set_timer()

    def holds(self, module_id: str, version: str) -> bool:
        """Say whether a version of a module is held, by its SHA-256 or the beginning of that."""
        held = self._held.get(module_id) if self._held is not None else None
        return held is not None and held.version.startswith(version)


class Leases:
    """All leases of an engine.

    :param live: gives the live snapshot.
    """

    def __init__(self, live: Callable[[], Snapshot], calls: Calls, reactor: Callable[[], IReactor]) -> None:
        self._live, self._calls, self._reactor = live, calls, reactor
        self._all: weakref.WeakSet[Lease] = weakref.WeakSet()
        self._timers: set[IDelayedCall] = set()

    def begin(self, max_age: float | None, idle: float | None) -> Lease:
        """Return a lease on the live snapshot.

        :raises EngineClosed: after ``engine.close()``.
        """
        for name, seconds in (("max_age", max_age), ("idle", idle)):
            check_seconds(name, seconds, or_none=True)
        if self._calls.closed:
            raise EngineClosed("the engine is closed")
        lease = Lease(self._live, self._calls, self._reactor(), self._timers, max_age, idle)
        self._all.add(lease)
        return lease

    def revoke(self, module_id: str, version: str) -> int:
        """Have each lease that holds a version let go; return how many did."""
        holding = [lease for lease in self._all if lease.holds(module_id, version)]
        for lease in holding:
            lease.let_go()
        return len(holding)

    def end_all(self) -> None:
        """End every lease."""
        for lease in tuple(self._all):
            lease.end()
        for timer in tuple(self._timers):  # of leases that nobody ended, and nobody holds
            timer.cancel()
        self._timers.clear()
