"""A server without a reactor, without threads, and without time that passes by itself."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher

from dspyreload import DSPyEngine, HotReloadService
from dspyreload.disk import including
from dspyreload.disk.reading import FileRead, read_file
from dspyreload.live.keeping import Keeper
from dspyreload.model.events import HotReloadEvent
from dspyreload.model.snapshot import Snapshot
from dspyreload.testing import FakeObserver, ReactorClock
from tests.model.tree import Event, Tree
from tests.model.truth import State, state_of

__all__ = ["World"]


class World:
    """An engine with its service, over a tree.

    Threads' work is done by :meth:`run`, in order. Time passes by :meth:`advance`.

    :ivar commits: the snapshots that went live, ``events`` what was told, ``lines`` what was logged, since
        :meth:`forget`.
    :ivar kept: what the state file holds.
    :ivar counted: events by kind, since the service was made.
    :ivar meanwhile: something to do in the middle of a look, after that many reads.
    """

    engine: DSPyEngine
    service: HotReloadService

    def __init__(self, tree: Tree, state: str | None) -> None:
        self.tree, self.state_path = tree, state
        self.commits: list[Snapshot] = []
        self.events: list[HotReloadEvent] = []
        self.lines: list[LogEvent] = []
        self.counted: Counter[str] = Counter()
        self.kept = State(first=True)
        self.kept_generation = 0
        self.meanwhile: tuple[int, Callable[[], None]] | None = None
        self._threads: deque[Callable[[], None]] = deque()
        self._observers: list[FakeObserver] = []
        self._patches = ExitStack()
        no_threads = SimpleNamespace(
            Thread=self._thread, get_ident=threading.get_ident, current_thread=threading.current_thread
        )
        self._patches.enter_context(mock.patch("dspyreload.reactor.threading", no_threads))
        self._patches.enter_context(mock.patch.object(including, "read_file", self._read_file))
        self._patches.enter_context(mock.patch.object(Keeper, "keep", _kept_by(self, Keeper.keep)))
        log = cast("ILogObserver", self._log)
        globalLogPublisher.addObserver(log)
        self._patches.callback(globalLogPublisher.removeObserver, log)

    def make(self, *, load: bool) -> None:
        """Make an engine and its service; it is not started."""
        self.clock = ReactorClock()
        self._threads.clear()
        self._observers.clear()
        self.forget()
        self.engine = DSPyEngine(self.tree.root, reactor=self.clock, load=load)
        live = self.engine.live
        commit = live.commit

        def recorded(snapshot: Snapshot) -> None:
            commit(snapshot)
            self.commits.append(snapshot)

        live.commit = recorded  # type: ignore[method-assign]
        self.serve()
        self.service.subscribe(self._hear)

    def serve(self) -> None:
        """Make a service for the engine."""
        self.counted.clear()
        self.service = HotReloadService(self.engine, state=self.state_path, make_observer=self._observer)  # type: ignore[arg-type]

    def close(self) -> None:
        """Put everything back."""
        self._patches.close()

    def crash(self) -> None:
        """Leave the service as a process does that is killed: nothing is written, told or stopped any more."""
        if self.service._keeper is not None:
            self.service._keeper.file.close()

    # What is there

    @property
    def state(self) -> State:
        """What serves, and the directory when it last held something."""
        return state_of(self.engine.snapshot, self.engine.passes.committing.known.root)

    @property
    def observer(self) -> FakeObserver | None:
        """The observer that runs; there is never more than one."""
        running = [observer for observer in self._observers if observer.running]
        assert len(running) < 2, "two observers run"
        self._observers = running
        return running[0] if running else None

    def trouble(self) -> list[str]:
        """Return what was logged that is never to be: something raised, or did not end."""
        failures = [line["log_failure"].getTraceback() for line in self.lines if "log_failure" in line]
        return failures + [text for line in self.lines if "did not end" in (text := formatEvent(line))]

    def rejections(self) -> list[LogEvent]:
        """Return the lines of the log that tell of a rejection."""
        return [line for line in self.lines if "told" in line]

    # What happens

    def run(self) -> None:
        """Let threads do their work, and the reactor what they ask for, until there is nothing to do."""
        while self._threads or self.clock.run_calls():
            if self._threads:
                self._threads.popleft()()
            self.clock.run_calls()

    def advance(self, seconds: float) -> None:
        """Let time pass, from one timer to the next."""
        end = self.clock.seconds() + seconds
        self.run()
        while True:
            due = min((call.getTime() for call in self.clock.getDelayedCalls()), default=end + 1)
            if due > end:
                break
            self.clock.advance(max(0.0, due - self.clock.seconds()))
            self.run()
        self.clock.advance(end - self.clock.seconds())
        self.run()

    def tell(self, events: list[Event]) -> bool:
        """Tell of changes, as watchdog would; say whether somebody heard it."""
        observer = self.observer
        if observer is None or not self.is_watched:
            return False
        for event in events:
            observer.tell(event.path, event.kind, dest=event.dest, directory=event.directory)
        return True

    @property
    def is_watched(self) -> bool:
        """Whether the directory that is there is the one that is watched."""
        watcher = self.service._watcher
        return watcher is not None and watcher._identity is not None and watcher._identity == self.tree.identity

    def result_of(self, deferred: Deferred[Any]) -> Any:
        """Return what a Deferred has fired with."""
        results: list[Any] = []
        deferred.addBoth(results.append)
        assert results, "the Deferred has not fired"
        return results[0]

    def forget(self) -> None:
        """Forget what was told so far."""
        self.commits.clear()
        self.events.clear()
        self.lines.clear()

    # What is faked

    def _thread(self, target: Callable[[], None], name: str, daemon: bool) -> SimpleNamespace:
        return SimpleNamespace(start=lambda: self._threads.append(target), join=lambda timeout=None: None)

    def _observer(self, polling: bool) -> FakeObserver:
        observer = FakeObserver()
        self._observers.append(observer)
        return observer

    def _read_file(self, root: str, path: str, limit: int) -> FileRead:
        if self.meanwhile is not None:
            left, change = self.meanwhile
            self.meanwhile = (left - 1, change) if left else None
            if not left:
                change()
        return read_file(root, path, limit)

    def _hear(self, event: HotReloadEvent) -> None:
        self.events.append(event)
        self.counted[type(event).__name__] += 1

    def _log(self, line: LogEvent) -> None:
        if line.get("log_namespace") == "dspyreload":
            self.lines.append(line)


def _kept_by(world: World, keep: Callable[..., None]) -> Callable[..., None]:
    def kept(self: Keeper, snapshot: Snapshot, root: tuple[int, int] | None, waiting: frozenset[str]) -> None:
        keep(self, snapshot, root, waiting)
        assert not waiting, "nothing waits to be brought back: nothing is registered"
        world.kept, world.kept_generation = state_of(snapshot, root), snapshot.generation

    return kept
