"""The service that a server adds: :class:`HotReloadService`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import attrs
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList, fail, maybeDeferred, succeed
from twisted.logger import Logger

from dspyreload.config import HotReloadConfig
from dspyreload.errors import AlreadyRunning, ServiceStopped
from dspyreload.live.burst import Interest
from dspyreload.live.health import Health
from dspyreload.live.live import Live, OnEvent
from dspyreload.live.passes import Passes
from dspyreload.live.readiness import Readiness
from dspyreload.live.report import report_damage
from dspyreload.live.rescan import Rescan
from dspyreload.live.slices import Slices
from dspyreload.live.stats import HotReloadStats
from dspyreload.live.stream import EventStream
from dspyreload.live.watcher import MakeObserver, WatcherService, make_observer
from dspyreload.model.events import HotReloadEvent
from dspyreload.model.faults import counted, shown
from dspyreload.model.restoring import KeptVersion, StoredState
from dspyreload.reactor import AtShutdown, IReactor, check_thread

if TYPE_CHECKING:
    from dspyreload.live.keeping import Keeper

__all__ = ["Host", "HotReloadService"]

_log = Logger(namespace="dspyreload")

E = TypeVar("E", bound=HotReloadEvent)


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
    :param state: a file that keeps what is live, and the last 20 versions of each module, for a restart: a module
        that is broken then is served from it. It is made where there is none. None, the default, keeps nothing.
    :param make_observer: makes watchdog's observer; for tests.
    :ivar stats: what this service has done.
    """

    def __init__(
        self,
        engine: Host,
        config: HotReloadConfig | None = None,
        *,
        state: str | os.PathLike[str] | None = None,
        make_observer: MakeObserver = make_observer,
    ) -> None:
        super().__init__()
        self.state = os.path.abspath(os.fspath(state)) if state is not None else None
        self.engine, self.config = engine, config or HotReloadConfig()
        ledger = engine.live.ledger
        self.stats = HotReloadStats(calls=ledger.calls, lms=ledger.lms)
        self._make_observer = make_observer
        self._keeper: Keeper | None = None
        self._watcher: WatcherService | None = None
        self._rescan = Rescan(engine.passes, engine.reactor)
        self._at_shutdown = AtShutdown(self.stopService)
        self._readiness = Readiness(self)
        self._is_read = False
        self._since = time.time()

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
        self._readiness.is_ready = self._is_read = False
        keep = self._make_keeper()
        self._start_children()
        self._since = time.time()
        passes.active, passes.config = True, self.config
        passes.committing.stats = self.engine.live.stats = self.stats
        passes.on_root = self._root_seen
        watcher = WatcherService(
            self.engine.directory,
            passes.hint,
            Interest(self.config.watch_extensions, passes.is_known),
            self.engine.reactor(),
            polling=self.config.polling,
            make_observer=self._make_observer,
            board=self.engine.live.board,
        )
        self._watcher, passes.expected.heard = watcher, watcher.take
        watcher.setServiceParent(self)  # it starts: this runs
        passes.awaits_state = self.state is not None
        kept = keep() if keep is not None else succeed(None)
        restored = kept.addCallback(self._restore, self._keeper)
        self._rescan.start(self.config)
        watcher.when_armed().addCallback(lambda _armed: restored).addCallback(self._look, watcher)
        if self.parent is None:  # nobody else stops it when the reactor shuts down
            self._at_shutdown.expect(self.engine.reactor())

    def _start_children(self) -> None:
        """Start what a host has put below this; where one of them fails to start, leave none running."""
        try:
            super().startService()
        except BaseException:
            self.running = 0
            for child in reversed(list(self)):
                if child.running:
                    maybeDeferred(child.stopService).addErrback(lambda failure: _log.failure("a stop failed", failure))
            raise

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
        self._since = time.time()
        self._at_shutdown.cancel()
        self._rescan.stop()
        passes = self.engine.passes
        passes.on_root = lambda root: None
        passes.committing.on_commit = lambda snapshot, root, waiting: None
        ended = passes.stop()
        kept = self._keeper.stop() if self._keeper is not None else succeed(None)
        self._keeper = None
        self.engine.live.board.forget(*passes.root_health.sources, "watcher", "state")
        self.engine.live.stop()
        self._readiness.stop()
        return DeferredList([stopped, ended, kept])

    def when_ready(self) -> Deferred[HotReloadService]:
        """Return a Deferred that fires with the service when watching has begun and the pass that follows it is done.

        From then on no change falls between reading and watching. It fails with ``ServiceStopped`` if the service
        stops first.
        """
        check_thread("when_ready")
        return self._readiness.when_ready()

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

    def versions(self, module_id: str) -> Deferred[tuple[KeptVersion, ...]]:
        """Return the last versions of a module that the state file keeps, the newest first, also where it is gone.

        A way back is to save the ``data`` of one at its ``path`` again.

        :return: fires with at most 20 (of modules that are gone, 2,000 all together); with none where nothing is kept.
            It fails with ``HotReloadFailed`` where the file can't be used, and with ``ServiceStopped`` while the
            service does not run.
        """
        check_thread("versions")
        if self._keeper is not None:
            return self._keeper.versions(module_id)
        return succeed(()) if self.state is None else fail(ServiceStopped("the service is not running"))

    def health(self) -> Health:
        """Say how the service does, since when, and why. Any change of it but a start or stop is a ``HealthChanged``.

        ``ok``; ``degraded``: it polls since the kernel can't be asked, nothing is kept for a restart, or a language
        model fails; ``failing``: what is saved does not become live, since the modules directory is missing, a folder
        in it can't be listed, watchdog's thread has died, passes fail, or the service is not running.
        """
        check_thread("health")
        health = self.engine.live.board.health()
        if not self.running:
            return Health("failing", self._since, ("the service is not running", *health.reasons))
        return attrs.evolve(health, since=max(health.since, self._since))

    def _make_keeper(self) -> Callable[[], Deferred[StoredState | None]] | None:
        """Return what opens the state file and reads what served before; None where there is none.

        Made before anything is started: SQLite, which is only needed here, may be missing from this Python.
        """
        if self.state is None:
            return None
        from dspyreload.disk.state import StateFile
        from dspyreload.live.keeping import Keeper

        file = StateFile(self.state, self.engine.directory, self.config.max_file_size, Slices())
        keeper = Keeper(file, self.engine.reactor(), self.engine.live.board, lambda state: self._restore(state, keeper))

        def load() -> Deferred[StoredState | None]:
            self._keeper = keeper
            self.engine.passes.committing.on_commit = keeper.keep
            return keeper.load()

        return load

    def _restore(self, state: StoredState | None, keeper: Keeper | None) -> Deferred[None]:
        """Bring back what served before; from then on what is live is kept."""
        if keeper is None or keeper is not self._keeper or not self.running:
            return succeed(None)
        self.engine.passes.awaits_state = False
        brought = succeed(None)
        if state is not None:
            report_damage(_log, keeper.file.path, state.faults)
            brought = self.engine.passes.restore(state)
        return brought.addCallback(lambda _brought: self._keep(keeper))

    def _keep(self, keeper: Keeper) -> None:
        if self.engine.live.snapshot.generation:
            self.engine.passes.committing.keep()
        keeper.allow()

    def _look(self, _before: None, watcher: WatcherService) -> None:
        if watcher is self._watcher:
            self._is_read = False
            done = self.engine.passes.reload_all(patience=0, stubborn=True)
            done.addCallbacks(self._first_pass_done, lambda failure: failure.trap(ServiceStopped), (watcher,))

    def _first_pass_done(self, _events: object, watcher: WatcherService) -> None:
        self._is_read = watcher is self._watcher

    def _root_seen(self, root: tuple[int, int] | None) -> None:
        watcher = self._watcher
        if watcher is None:
            return
        watcher.check(root)
        if self._is_read and not self._readiness.is_ready:
            armed = watcher.when_armed()
            if armed.called:
                self._now_ready(watcher)
            else:  # the directory came after the start: what changed before it is watched, is read again
                self._is_read = False
                armed.addCallback(self._look, watcher)

    def _now_ready(self, watcher: WatcherService) -> None:
        _log.info(
            "watching {directory} ({method}); {modules} live, generation {generation}",
            directory=shown(self.engine.directory), method=watcher.method or "by the timer alone",
            modules=counted(len(self.engine.live.snapshot), "module"), generation=self.engine.live.snapshot.generation,
        )  # fmt: skip
        self.engine.passes.committing.report_pending()
        self._readiness.tell()
