"""Word from the file system: the only importer of watchdog.

watchdog calls on threads of its own. Those calls put a path into a set and wake the reactor once for each burst; what
is on the disk is looked at by others, so nothing here needs to be true, in order, or complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from dspyreload.errors import WatcherError
from dspyreload.live.arming import JOIN_LIMIT, STOP_LIMIT, Armed, Arming, MakeObserver, Observer, condition, stop
from dspyreload.live.back_off import BackOff
from dspyreload.live.burst import Burst, Gathered, Interest
from dspyreload.live.health import HealthBoard
from dspyreload.model.faults import shown
from dspyreload.reactor import IReactor, StartThread, start_thread

__all__ = ["MakeObserver", "WatcherService"]

_log = Logger(namespace="dspyreload")

_RETRY_KERNEL = 30.0
_SHELTER = 0.5  # seconds without a watch, after a storm of events; twice as long where the next one follows at once
_LONGEST_SHELTER = 2.0
_SOURCE = "watcher"


def make_observer(polling: bool) -> Observer:
    """Make the platform's observer, or one that polls every second."""
    if polling:
        from watchdog.observers.polling import PollingObserver

        return PollingObserver(timeout=1.0)
    from watchdog.observers import Observer

    return Observer()


def _event_filter() -> list[type[Any]]:
    from watchdog import events

    return [
        events.FileCreatedEvent, events.FileModifiedEvent, events.FileMovedEvent, events.FileDeletedEvent,
        events.FileClosedEvent, events.FileAttribEvent, events.DirCreatedEvent, events.DirMovedEvent,
        events.DirDeletedEvent, events.DirAttribEvent,
    ]  # fmt: skip


class WatcherService(Service):
    """Watches a directory with watchdog, and hints at what may have changed.

    :param root: the directory; its real path is watched, and looked up anew whenever it is armed.
    :param hint: called on the reactor thread with paths relative to it, or None for the whole tree.
    :param board: is told when the kernel can't be asked, and when watchdog's thread has died.
    :ivar method: "inotify" (or what the platform has), "polling", or "" while nothing is watched.
    :ivar degraded: why the kernel can't be asked, or "".
    """

    name = "dspyreload-watcher"

    def __init__(
        self,
        root: str,
        hint: Callable[[Iterable[str] | None], None],
        interest: Interest,
        reactor: IReactor,
        *,
        polling: bool = False,
        make_observer: MakeObserver = make_observer,
        start_thread: StartThread = start_thread,
        board: HealthBoard | None = None,
    ) -> None:
        self.root, self.method, self.degraded = root, "", ""
        self._hint, self._reactor = hint, reactor
        self._board = board or HealthBoard()
        self._start_thread = start_thread
        self._how = Arming(
            root, interest, polling, make_observer, _event_filter, self._wake, self._is_refused, reactor.seconds
        )
        self._observer: Observer | None = None
        self._burst: Burst | None = None
        self._identity: tuple[int, int] | None = None
        self._arming: object | None = None
        self._tried_at = 0.0
        self._armed: list[Deferred[None]] = []
        self._late: dict[object, Deferred[None]] = {}
        self._ending: list[Deferred[None]] = []
        self._tried_for: tuple[int, int] | None = None
        self._again = BackOff(lambda: reactor, lambda: self._hint(None))
        self._storm: IDelayedCall | None = None  # after which it is watched again
        self._shelter = _SHELTER
        self._in_vain = False  # the last attempt to watch
        self._attempts = 0  # to watch, one after the other, that came to nothing or did not last

    def startService(self) -> None:
        """Begin to watch, in a thread: scheduling walks the tree."""
        super().startService()
        self.arm()

    def when_armed(self) -> Deferred[None]:
        """Return a Deferred that fires when the present attempt to watch has come out, well or not."""
        if self._arming is None:
            return succeed(None)
        deferred: Deferred[None] = Deferred()
        self._armed.append(deferred)
        return deferred

    def stopService(self) -> Deferred[None]:
        """Stop watching. Fires when watchdog's threads have ended, or after some seconds, with a line in the log."""
        super().stopService()
        arming, self._arming = self._arming, None
        self._forget()
        self._settle()
        self._disarm()
        if arming is not None:
            # An attempt to watch is under way in a thread: what it brings is stopped when it arrives.
            late: Deferred[None] = Deferred()
            self._late[arming] = late
            limit = self._reactor.callLater(STOP_LIMIT, self._give_up, arming)
            late.addBoth(lambda _result: limit.cancel() if limit.active() else None)
            self._ending.append(late)
        ending, self._ending = self._ending, []
        return DeferredList(ending).addCallback(lambda _results: None)

    def _give_up(self, arming: object) -> None:
        _log.warn("the thread dspyreload-arm did not end within {limit} s", limit=STOP_LIMIT)
        self._over(arming)

    def _over(self, arming: object) -> None:
        if (late := self._late.pop(arming, None)) is not None:
            late.callback(None)

    def check(self, identity: tuple[int, int] | None) -> None:
        """Arm again where that is needed: another directory under the name, a dead thread, a better way to watch.

        :param identity: of the directory as the last pass saw it (``disk.identity``); None where it is missing.
        """
        if not self.running or self._arming is not None or self._storm is not None or identity is None:
            return
        same = identity == self._identity
        how = condition(self._observer) if self._observer is not None and same else "well"
        lasts = self._reactor.seconds() - self._tried_at >= _RETRY_KERNEL
        if how == "dead":
            self._board.report(_SOURCE, "failing", f"{shown(self.root)}: watchdog's thread has died; it is replaced")
        elif lasts and self._observer is not None:
            self._attempts = 0
        failed = how != "well" or (self._observer is None and identity == self._tried_for)
        if failed and (left := self._left()) > 0:
            self._again.after(left)  # while nothing is watched, it may be long until the next pass comes by
            return
        self._tried_for = identity
        if how != "well" or not same or (lasts and self.degraded):
            self._attempts += how != "well"
            self.arm()

    def _left(self) -> float:
        """Return the seconds until what failed is tried again: at once, then after 1, 2, 4 ... and at most 30."""
        wait = 2.0 ** min(self._attempts, 10) / 2 if self._attempts else 0.0
        return self._tried_at + min(_RETRY_KERNEL, wait) - self._reactor.seconds()

    def _forget(self) -> None:
        self._again.cancel()
        if self._storm is not None:
            self._storm.cancel()
            self._storm = None

    def arm(self) -> None:
        """Watch the directory that has the name now, in place of what was watched."""
        token = self._arming = object()
        self._forget()
        self._disarm()
        self._tried_at = self._reactor.seconds()

        def work() -> None:
            self._reactor.callFromThread(arrived, self._how.arm())

        def arrived(outcome: Armed) -> None:
            thread.join(JOIN_LIMIT)
            self._arrived(token, outcome)

        try:
            thread = self._start_thread(work, "dspyreload-arm")
        except RuntimeError as error:  # the machine has no thread left; the next pass tries again
            self._arrived(token, Armed(None, degraded=f"{shown(self.root)} can't be watched: {error}"))

    def _wake(self, burst: Burst) -> None:
        self._reactor.callFromThread(self._empty, burst)

    def _empty(self, burst: Burst) -> None:
        if burst is self._burst and self.running:
            gathered = burst.take(listen=False)
            if gathered.latest is not None:  # else a pass that began meanwhile has taken it
                self._hint(gathered.paths)
            if burst.storm:
                self._take_shelter()

    def take(self, listen: bool) -> Gathered:
        """Return what was heard since a hint was given last: whoever was told of one comes back for the others.

        :param listen: give a hint at the next event again.
        """
        return self._burst.take(listen=listen) if self._burst is not None else Gathered()

    def _take_shelter(self) -> None:
        """Watch nothing for a moment: passes look at the whole tree, before it and when it is watched again."""
        soon = self._reactor.seconds() - self._tried_at < 2 * self._shelter
        self._shelter = min(_LONGEST_SHELTER, 2 * self._shelter) if soon else _SHELTER
        _log.debug("a storm of changes; they are not heard one by one for {seconds} s", seconds=self._shelter)
        self._disarm()
        self._storm = self._reactor.callLater(self._shelter, self._storm_over)

    def _storm_over(self) -> None:
        self._storm = None
        self.arm()

    def _is_refused(self, burst: Burst) -> None:
        self._reactor.callFromThread(self._arm_without, burst)

    def _arm_without(self, burst: Burst) -> None:
        """Watch in another way: the kernel has no watch left for a directory that has come."""
        if burst is self._burst and self.running:
            self.arm()

    def _arrived(self, token: object, outcome: Armed) -> None:
        if token is not self._arming:  # stopped meanwhile, or armed anew
            stopped = stop(outcome, self._reactor, self._start_thread)
            stopped.addCallback(lambda _result: self._over(token))
            return
        self._arming = None
        self._observer, self._burst, self._identity = outcome.observer, outcome.burst, outcome.identity
        if outcome.burst is not None:
            outcome.burst.take(listen=True)  # what came while the watch was armed: the hint below says it all
        self.method, self.degraded = outcome.method, outcome.degraded
        self._attempts += outcome.observer is None and not outcome.missing
        if outcome.observer is None and outcome.missing:
            self._board.solve(
                _SOURCE, f"{shown(self.root)}: there is nothing to watch"
            )  # passes say that it is missing
        elif outcome.observer is None:
            self._board.report(_SOURCE, "degraded", str(WatcherError(outcome.degraded)))
        elif outcome.degraded:
            words = f"{shown(self.root)} is polled, since the kernel can't be asked: {outcome.degraded}"
            self._board.report(_SOURCE, "degraded", words)
        else:
            self._board.solve(_SOURCE, f"{shown(self.root)} is watched with {outcome.method} again")
        if outcome.observer is not None or not self._in_vain:
            self._hint(None)  # whatever changed before the watch began, or since it ended
        self._in_vain = outcome.observer is None
        self._settle()
        if outcome.refused:  # while it arrived
            self.arm()
        elif outcome.burst is not None and outcome.burst.storm:  # of that it told while nobody knew it yet
            self._take_shelter()

    def _settle(self) -> None:
        armed, self._armed = self._armed, []
        for deferred in armed:
            deferred.callback(None)

    def _disarm(self) -> None:
        outcome = Armed(self._observer, self._burst)
        self._observer = self._burst = self._identity = None
        self.method = ""
        self._ending = [ending for ending in self._ending if not ending.called]
        self._ending.append(stop(outcome, self._reactor, self._start_thread))
