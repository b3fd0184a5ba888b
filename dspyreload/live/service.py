"""The service that a server adds: :class:`HotReloadService`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from dspyreload.config import HotReloadConfig
from dspyreload.errors import AlreadyRunning, ServiceStopped
from dspyreload.live.burst import Interest
from dspyreload.live.live import EventStream, Live, OnEvent
from dspyreload.live.passes import Passes
from dspyreload.live.stats import HotReloadStats
from dspyreload.live.watcher import MakeObserver, WatcherService, make_observer
from dspyreload.model.events import HotReloadEvent
from dspyreload.model.faults import counted, shown
from dspyreload.reactor import IReactor, check_thread

__all__ = ["Host", "HotReloadHandle", "HotReloadService"]

_log = Logger(namespace="dspyreload")

E = TypeVar("E", bound=HotReloadEvent)

_DEEP_EVERY = 10


class Host(Protocol):
    """What a service needs of its engine."""

    directory: str
    passes: Passes
    live: Live

    def reactor(self) -> IReactor:
        """Return the reactor."""


class HotReloadService(MultiService):
    """Watches an engine's modules directory and makes what is saved there live.

    Add it to any service collection (``setServiceParent``), or start it yourself. An engine takes one at a time.

    :param engine: a ``DSPyEngine``.
    :param config: how to watch.
    :param make_observer: makes watchdog's observer; for tests.
    :ivar stats: what this service has done.
    """

    def __init__(
        self, engine: Host, config: HotReloadConfig | None = None, *, make_observer: MakeObserver = make_observer
    ) -> None:
        super().__init__()
        self.engine, self.config = engine, config or HotReloadConfig()
        ledger = engine.live.ledger
        self.stats = HotReloadStats(calls=ledger.calls, lms=ledger.lms)
        self._make_observer = make_observer
        self._watcher: WatcherService | None = None
        self._timer: IDelayedCall | None = None
        self._trigger: Any = None
        self._ticks = 0
        self._ready = False
        self._waiting: list[Deferred[HotReloadService]] = []

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped."""
        return bool(self.running)

    def startService(self) -> None:
        """Begin to watch, then look at everything once. Reports what the disk does, and never raises for it.

        :raises AlreadyRunning: where another service runs for the same engine.
        """
        check_thread("startService")
        passes = self.engine.passes
        if passes.active:
            raise AlreadyRunning(f"a HotReloadService is already running for {shown(self.engine.directory)}")
        passes.active, passes.config, passes.stats = True, self.config, self.stats
        self.engine.live.stats = self.stats
        passes.on_root = self._root_seen
        self._ready, self._ticks = False, 0
        watcher = WatcherService(
            self.engine.directory,
            passes.hint,
            Interest(self.config.watch_extensions, passes.is_known),
            self.engine.reactor(),
            polling=self.config.polling,
            make_observer=self._make_observer,
        )
        self._watcher = watcher
        watcher.setServiceParent(self)
        super().startService()
        self._timer = self.engine.reactor().callLater(self.config.rescan_interval, self._tick)
        watcher.when_armed().addCallback(self._armed, watcher)
        add_trigger = getattr(self.engine.reactor(), "addSystemEventTrigger", None)
        if self.parent is None and add_trigger is not None:  # nobody else stops it when the reactor shuts down
            self._trigger = add_trigger("before", "shutdown", self._stop_with_reactor)

    def stopService(self) -> Deferred[Any]:
        """Stop watching and looking. What waited fails with ``ServiceStopped``; ``invoke`` goes on working.

        :return: fires when no thread, timer or descriptor is left, or after a time limit with a line in the log.
        """
        check_thread("stopService")
        watcher, self._watcher = self._watcher, None
        stopped: Deferred[Any] = super().stopService()
        if watcher is None:
            return stopped
        watcher.disownServiceParent()
        if self._trigger is not None:
            self.engine.reactor().removeSystemEventTrigger(self._trigger)  # type: ignore[attr-defined]
            self._trigger = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        passes = self.engine.passes
        passes.on_root = lambda root: None
        ended = passes.stop()
        self.engine.live.stop()
        self._settle(lambda deferred: deferred.errback(ServiceStopped("the service stopped before it was ready")))
        return DeferredList([stopped, ended])

    def _stop_with_reactor(self) -> Deferred[Any]:
        self._trigger = None  # it is being fired: there is none to remove
        return self.stopService()

    def _settle(self, fire: Callable[[Deferred[HotReloadService]], None]) -> None:
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            if not deferred.called:  # another's callback may have cancelled it
                fire(deferred)

    def when_ready(self) -> Deferred[HotReloadService]:
        """Return a Deferred that fires with the service when watching has begun and the pass that follows it is done.

        From then on no change falls between reading and watching. It fails with ``ServiceStopped`` if the service
        stops first.
        """
        check_thread("when_ready")
        deferred: Deferred[HotReloadService] = Deferred(
            lambda cancelled: self._waiting.remove(cancelled) if cancelled in self._waiting else None
        )
        if self._ready:
            deferred.callback(self)
        else:
            self._waiting.append(deferred)
        return deferred

    def subscribe(self, on_event: OnEvent) -> Callable[[], None]:
        """Call ``on_event(event)`` for each event; it may be plain, ``async def``, or return a Deferred.

        A subscriber sees every event in order, the next one when it is done with the last. One that falls more than
        1,000 behind loses the oldest and gets an ``EventsDropped``. What it raises is logged and counted.

        :return: a function that unsubscribes.
        """
        check_thread("subscribe")
        return self.engine.live.subscribe(on_event)

    def events(self) -> EventStream:
        """Return an async iterator over the events from now on, at most the newest 1,000; it ends with the service.

        Its items are awaited as Deferreds: use it in a coroutine that Twisted runs.
        """
        check_thread("events")
        return self.engine.live.events()

    def next_event(self, kind: type[E]) -> Deferred[E]:
        """Return a Deferred that fires once, with the next event of a kind, or ``ServiceStopped``."""
        check_thread("next_event")
        return self.engine.live.next_event(kind)

    def _armed(self, _result: None, watcher: WatcherService) -> None:
        if watcher is self._watcher:
            done = self.engine.passes.reload_all(patience=0, stubborn=True)
            done.addCallbacks(self._first_pass_done, lambda failure: failure.trap(ServiceStopped), (watcher,))

    def _first_pass_done(self, _events: object, watcher: WatcherService) -> None:
        if watcher is not self._watcher:
            return
        self._ready = True
        _log.info(
            "watching {directory} ({method}); {modules} live, generation {generation}",
            directory=shown(self.engine.directory), method=watcher.method or "by the timer alone",
            modules=counted(len(self.engine.live.snapshot), "module"), generation=self.engine.live.snapshot.generation,
        )  # fmt: skip
        self.engine.passes.report_pending()
        self._settle(lambda deferred: deferred.callback(self))

    def _tick(self) -> None:
        self._ticks += 1
        self._timer = self.engine.reactor().callLater(self.config.rescan_interval, self._tick)
        self.engine.passes.hint(None, deep=self._ticks % _DEEP_EVERY == 0)

    def _root_seen(self, root: tuple[int, int] | None) -> None:
        if self._watcher is not None:
            self._watcher.check(root)


class HotReloadHandle:
    """A view of a running service, as ``engine.enable_hot_reload`` gives it.

    :ivar service: the service itself.
    """

    def __init__(self, service: HotReloadService) -> None:
        self.service = service

    @property
    def stats(self) -> HotReloadStats:
        """The service's counters."""
        return self.service.stats

    @property
    def is_running(self) -> bool:
        """Whether the service was started and not stopped."""
        return self.service.is_running

    def events(self) -> EventStream:
        """Return an async iterator over the events from now on; see ``HotReloadService.events``."""
        return self.service.events()

    def stop(self) -> Deferred[None]:
        """Stop watching; fires when nothing of the service is left. Twice does no harm."""
        if not self.service.running:
            return succeed(None)
        service = self.service
        stopped: Deferred[Any] = service.disownServiceParent() if service.parent is not None else service.stopService()
        return stopped.addCallback(lambda _results: None)
