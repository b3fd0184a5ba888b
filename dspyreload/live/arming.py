"""Starting and stopping what watches: watchdog's observers, on threads of their own. Knows no service."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Callable, Collection
from typing import Any, Literal, Protocol

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from dspyreload.disk.identity import identity
from dspyreload.live.burst import Burst, Interest
from dspyreload.model.faults import shown
from dspyreload.reactor import IReactor, StartThread

__all__ = ["JOIN_LIMIT", "STOP_LIMIT", "Armed", "Arming", "Condition", "MakeObserver", "Observer", "condition", "stop"]

_log = Logger(namespace="dspyreload")


class Observer(Protocol):
    """What is needed of watchdog's observers."""

    name: str

    @property
    def emitters(self) -> Collection[Any]:
        """One thread for each watch."""

    def schedule(self, event_handler: Any, path: str, *, recursive: bool, event_filter: list[type[Any]]) -> object:
        """Watch a directory from the start on."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End, without waiting for it."""

    def join(self) -> None:
        """Wait for the end."""

    def is_alive(self) -> bool:
        """Say whether its thread runs."""


MakeObserver = Callable[[bool], Observer]
"""Makes an observer that is not started: ``make_observer(polling)``."""

Condition = Literal["well", "gone", "dead"]
"""Of an observer: it watches; what it watched is there no more; or a thread of it has died."""

JOIN_LIMIT = 1.0  # seconds; the thread is past its last line
STOP_LIMIT = 3.0
_LOGGER = logging.getLogger("watchdog.observers")
"""What watchdog says there is heard by us, until it has ended; with no handler Python itself would print it."""

_NONE_LEFT = (errno.ENOSPC, errno.ENOMEM)


@attrs.frozen
class Armed:
    """An observer that runs, or why there is none; ``missing``: there is no directory.

    :ivar refused: what the kernel did not watch; it grows on watchdog's thread.
    """

    observer: Observer | None
    burst: Burst | None = None
    identity: tuple[int, int] | None = None
    method: str = ""
    degraded: str = ""
    missing: bool = False
    refused: list[OSError] = attrs.field(factory=list)


@attrs.frozen
class Arming:
    """How a directory is to be watched.

    :ivar root: the directory; its real path is looked up whenever it is armed.
    :ivar event_filter: gives the kinds of watchdog's events that are wanted.
    :ivar wake: called on watchdog's threads once for each burst of hints.
    :ivar refused: called on watchdog's thread when the kernel does not watch a directory that has come.
    :ivar clock: seconds; asked on watchdog's threads.
    """

    root: str
    interest: Interest
    polling: bool
    make_observer: MakeObserver
    event_filter: Callable[[], list[type[Any]]]
    wake: Callable[[Burst], None]
    refused: Callable[[Burst], None]
    clock: Callable[[], float]

    def arm(self) -> Armed:
        """Start an observer, with the kernel's help if it gives any. On a worker thread; never raises."""
        reason, missing = "", False
        for polling in (True,) if self.polling else (False, True):
            try:
                armed = self._watch(os.path.realpath(self.root), polling)
            except Exception as error:
                reason = reason or _why(error)
                missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
            else:
                return attrs.evolve(armed, degraded=reason)
        words = f"{shown(self.root)} can't be watched: {reason}; the timer looks at it all the same"
        return Armed(None, degraded=words, missing=missing)

    def _watch(self, root: str, polling: bool) -> Armed:
        watched = identity(root)
        burst = Burst(root, self.interest, lambda: self.wake(burst), weathers=polling, clock=self.clock)
        observer = self.make_observer(polling)
        refused: list[OSError] = []
        _hear_refusals(observer, refused, lambda: self.refused(burst))
        try:
            observer.schedule(burst, root, recursive=True, event_filter=self.event_filter())
            observer.start()
        except BaseException:
            _end(observer)
            raise
        if refused:
            _end(observer)
            raise refused[0]
        _LOGGER.addHandler(burst)
        method = "polling" if polling else type(observer).__name__.removesuffix("Observer").lower()
        return Armed(observer, burst, watched, method, refused=refused)


def _hear_refusals(observer: Observer, refused: list[OSError], tell: Callable[[], None]) -> None:
    """Keep what the kernel refuses to watch, and tell of the first: of a subdirectory watchdog itself says nothing."""
    kernel: Any = getattr(observer, "_inotify_fd", None)
    # Not the public add_callback: it warns in the name of who calls it, and that must stay watchdog.
    create = getattr(kernel, "_get_or_create_watch", None)
    if create is None:
        return

    def get_or_create_watch(*arguments: Any) -> Any:
        try:
            return create(*arguments)
        except OSError as error:
            if error.errno in _NONE_LEFT:
                refused.append(error)
                if len(refused) == 1:
                    with contextlib.suppress(Exception):  # the reactor is gone
                        tell()
            raise

    kernel._get_or_create_watch = get_or_create_watch


def condition(observer: Observer) -> Condition:
    """Say how an observer does: by its own thread, one for each watch, and the one that reads from the kernel."""
    kernel: Any = getattr(observer, "_inotify_fd", observer)
    ended = [thread for thread in (observer, *tuple(observer.emitters), kernel) if not thread.is_alive()]
    if not ended:
        return "well" if getattr(kernel, "_watch_for_wd", True) else "gone"
    by_itself = all(hasattr(thread, "stopped_event") and thread.stopped_event.is_set() for thread in ended)
    return "gone" if by_itself else "dead"


def _why(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number == errno.ENOSPC:
        return "the kernel has no inotify watches left; raise fs.inotify.max_user_watches with sysctl"
    if number == errno.EMFILE and not _has_descriptors():
        return "this process has no file descriptors left; raise its limit (ulimit -n, LimitNOFILE)"
    if number == errno.EMFILE:
        return "the kernel has no inotify instances left; raise fs.inotify.max_user_instances with sysctl"
    return shown(str(error) or type(error).__name__)


def _has_descriptors() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _end(observer: Observer) -> None:
    """Stop an observer, started or not, and wait for its threads. On a worker thread."""
    watched = [getattr(emitter, "_inotify", None) for emitter in tuple(observer.emitters)]
    try:
        observer.stop()
    except Exception:  # in a storm of directories watchdog loses count of what it watches, and stops half way
        for group in watched:
            if group is not None:
                group._move_event_grouper.close()  # its thread would wait there for ever, and we for the thread
        observer.stop()
    if observer.is_alive():
        observer.join()
    kernel: Any = getattr(observer, "_inotify_fd", None)
    if getattr(kernel, "_is_reading", False) and not kernel.is_alive():
        # It ended before its first look, or by an error; watchdog thinks that it will yet close what it reads from.
        kernel._is_reading = False
        with contextlib.suppress(OSError):
            kernel._close_resources()


def stop(armed: Armed, reactor: IReactor, start_thread: StartThread) -> Deferred[None]:
    """Stop an observer in a thread; fires when it has ended, or after a time limit."""
    burst, observer = armed.burst, armed.observer
    if burst is not None:
        burst.end()
    if observer is None:
        return succeed(None)
    done: Deferred[None] = Deferred()
    if burst is not None:
        done.addCallback(lambda _ended: _LOGGER.removeHandler(burst))  # under load it has a last word

    def give_up() -> None:
        _log.warn("watchdog's thread {thread} did not end within {limit} s", thread=observer.name, limit=STOP_LIMIT)
        done.callback(None)

    limit = reactor.callLater(STOP_LIMIT, give_up)

    def ended() -> None:
        thread.join(JOIN_LIMIT)
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
        done.callback(None)
    return done
