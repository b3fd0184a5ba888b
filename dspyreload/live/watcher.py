"""Word from the file system: the only importer of watchdog.

watchdog calls on threads of its own. Those calls put a path into a set and wake the reactor once for each burst; what
is on the disk is looked at by others, so nothing here needs to be true, in order, or complete.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.logger import Logger

from dspyreload.errors import WatcherError
from dspyreload.live.burst import Burst, Interest
from dspyreload.model.faults import shown
from dspyreload.reactor import IReactor, StartThread, start_thread

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

__all__ = ["MakeObserver", "WatcherService"]

_log = Logger(namespace="dspyreload")

MakeObserver = Callable[[bool], "BaseObserver"]
"""Makes an observer that is not started: ``make_observer(polling)``."""

_STOP_LIMIT = 3.0
_JOIN_LIMIT = 1.0  # the thread is past its last line
_RETRY_KERNEL = 30.0
_QUEUE_LOGGER = "watchdog.observers.inotify_c"


def make_observer(polling: bool) -> BaseObserver:
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
    ) -> None:
        self.root, self.method, self.degraded = root, "", ""
        self._hint, self._interest, self._reactor = hint, interest, reactor
        self._polling, self._make_observer, self._start_thread = polling, make_observer, start_thread
        self._observer: BaseObserver | None = None
        self._burst: Burst | None = None
        self._identity: tuple[int, int] | None = None
        self._arming: object | None = None
        self._tried_at = 0.0
        self._armed: list[Deferred[None]] = []
        self._late: dict[object, Deferred[None]] = {}
        self._ending: list[Deferred[None]] = []
        self._tried_for: tuple[int, int] | None = None
        self._attempts = 0

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
        self._settle()
        self._disarm()
        if arming is not None:
            # An attempt to watch is under way in a thread: what it brings is stopped when it arrives.
            late: Deferred[None] = Deferred()
            self._late[arming] = late
            limit = self._reactor.callLater(_STOP_LIMIT, self._give_up, arming)
            late.addBoth(lambda _result: limit.cancel() if limit.active() else None)
            self._ending.append(late)
        ending, self._ending = self._ending, []
        return DeferredList(ending).addCallback(lambda _results: None)

    def _give_up(self, arming: object) -> None:
        _log.warn("the thread dspyreload-arm did not end within {limit} s", limit=_STOP_LIMIT)
        self._late.pop(arming).callback(None)

    def check(self, identity: tuple[int, int] | None) -> None:
        """Arm again where that is needed: another directory under the name, a dead thread, a better way to watch.

        :param identity: (device, inode) of the directory as the last pass saw it; None where it is missing.
        """
        if not self.running or self._arming is not None or identity is None:
            return
        observer = self._observer
        if observer is None and identity == self._tried_for and not self._due_again():
            return
        self._tried_for = identity
        dead = observer is None or not observer.is_alive() or not all(e.is_alive() for e in tuple(observer.emitters))
        retry = bool(self.degraded) and self._reactor.seconds() - self._tried_at >= _RETRY_KERNEL
        if dead or retry or identity != self._identity:
            self.arm()

    def _due_again(self) -> bool:
        """Say whether it is time to try again what failed, after 1, 2, 4 ... and at most 30 seconds."""
        return self._reactor.seconds() - self._tried_at >= min(_RETRY_KERNEL, 2.0 ** min(self._attempts, 10) / 2)

    def arm(self) -> None:
        """Watch the directory that has the name now, in place of what was watched."""
        token = self._arming = object()
        self._disarm()
        self._tried_at = self._reactor.seconds()

        def work() -> None:
            outcome = _arm(self.root, self._interest, self._polling, self._make_observer, self._wake)
            self._reactor.callFromThread(arrived, outcome)

        def arrived(outcome: _Armed) -> None:
            thread.join(_JOIN_LIMIT)
            self._arrived(token, outcome)

        try:
            thread = self._start_thread(work, "dspyreload-arm")
        except RuntimeError as error:  # the machine has no thread left; the next pass tries again
            self._arrived(token, _Armed(None, degraded=f"{shown(self.root)} can't be watched: {error}"))

    def _wake(self, burst: Burst) -> None:
        self._reactor.callFromThread(self._empty, burst)

    def _empty(self, burst: Burst) -> None:
        if burst is self._burst and self.running:
            self._hint(burst.take())

    def _arrived(self, token: object, outcome: _Armed) -> None:
        if token is not self._arming:  # stopped meanwhile, or armed anew
            stopped = _stop(outcome, self._reactor, self._start_thread)
            late = self._late.pop(token, None)
            if late is not None:
                stopped.chainDeferred(late)
            return
        self._arming = None
        self._observer, self._burst, self._identity = outcome.observer, outcome.burst, outcome.identity
        if outcome.burst is not None:
            outcome.burst.take()  # what came while the watch was armed: the hint below says it all
        before, self.method, self.degraded = self.degraded, outcome.method, outcome.degraded
        self._attempts = self._attempts + 1 if outcome.observer is None else 0
        if outcome.observer is None and self._attempts > 1:
            self._settle()
            return  # said once; the timer looks meanwhile
        if outcome.observer is None:
            _log.error("{error}", error=str(WatcherError(outcome.degraded)))
        elif outcome.degraded and not before:
            _log.warn("watching is degraded, polling instead: {reason}", reason=outcome.degraded)
        elif before and not outcome.degraded:
            _log.info("watching with {method} again", method=outcome.method)
        self._hint(None)  # whatever changed before the watch began
        self._settle()

    def _settle(self) -> None:
        armed, self._armed = self._armed, []
        for deferred in armed:
            deferred.callback(None)

    def _disarm(self) -> None:
        outcome = _Armed(self._observer, self._burst)
        self._observer = self._burst = self._identity = None
        self.method = ""
        self._ending = [ending for ending in self._ending if not ending.called]
        self._ending.append(_stop(outcome, self._reactor, self._start_thread))


@attrs.frozen
class _Armed:
    """An observer that runs, or why there is none."""

    observer: BaseObserver | None
    burst: Burst | None = None
    identity: tuple[int, int] | None = None
    method: str = ""
    degraded: str = ""


def _arm(name: str, interest: Interest, polling: bool, make: MakeObserver, wake: Callable[[Burst], None]) -> _Armed:
    """Start an observer, with the kernel's help if it gives any. On a worker thread; never raises."""
    reason = ""
    for poll in (True,) if polling else (False, True):
        try:
            armed = _watch(os.path.realpath(name), interest, poll, make, wake)
        except Exception as error:
            reason = reason or _why(error)
        else:
            return attrs.evolve(armed, degraded=reason)
    return _Armed(None, degraded=f"{shown(name)} can't be watched: {reason}; the timer looks at it all the same")


def _watch(root: str, interest: Interest, polling: bool, make: MakeObserver, wake: Callable[[Burst], None]) -> _Armed:
    info = os.stat(root)
    burst = Burst(root, interest, lambda: wake(burst))
    observer = make(polling)
    try:
        observer.schedule(burst, root, recursive=True, event_filter=_event_filter())  # type: ignore[arg-type]
        observer.start()
    except BaseException:
        _end(observer)
        raise
    logging.getLogger(_QUEUE_LOGGER).addHandler(burst)
    method = "polling" if polling else type(observer).__name__.removesuffix("Observer").lower()
    return _Armed(observer, burst, (info.st_dev, info.st_ino), method)


def _why(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number == errno.ENOSPC:
        return "the kernel has no inotify watches left; raise fs.inotify.max_user_watches with sysctl"
    if number == errno.EMFILE:
        return "the kernel has no inotify instances left; raise fs.inotify.max_user_instances with sysctl"
    return shown(str(error) or type(error).__name__)


def _end(observer: BaseObserver) -> None:
    """Stop an observer, started or not, and wait for its threads. On a worker thread."""
    observer.stop()
    if observer.is_alive():
        observer.join()


def _stop(armed: _Armed, reactor: IReactor, start_thread: StartThread) -> Deferred[None]:
    """Stop an observer in a thread; fires when it has ended, or after a time limit."""
    if armed.burst is not None:
        armed.burst.end()
        logging.getLogger(_QUEUE_LOGGER).removeHandler(armed.burst)
    observer = armed.observer
    if observer is None:
        return succeed(None)
    done: Deferred[None] = Deferred()

    def give_up() -> None:
        _log.warn("watchdog's thread {thread} did not end within {limit} s", thread=observer.name, limit=_STOP_LIMIT)
        done.callback(None)

    limit = reactor.callLater(_STOP_LIMIT, give_up)

    def ended() -> None:
        thread.join(_JOIN_LIMIT)
        if limit.active():
            limit.cancel()
            done.callback(None)

    def work() -> None:
        try:
            _end(observer)
        finally:
            reactor.callFromThread(ended)

    try:
        thread = start_thread(work, "dspyreload-disarm")
    except RuntimeError:  # the machine has no thread left: told to stop, and not waited for
        limit.cancel()
        observer.stop()
        return succeed(None)
    return done
