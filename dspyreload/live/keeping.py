"""What is live, kept for a restart: the state file's side of the reactor. Its trouble costs health, and no service."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from dspyreload.disk.state import StateFile
from dspyreload.disk.stored import StateFault
from dspyreload.errors import HotReloadFailed, ServiceStopped
from dspyreload.live.back_off import BackOff
from dspyreload.live.health import HealthBoard
from dspyreload.model.faults import shown
from dspyreload.model.restoring import KeptVersion, StoredState
from dspyreload.model.snapshot import Snapshot
from dspyreload.reactor import IReactor, StartThread, in_thread, start_thread

__all__ = ["Keeper"]

_log = Logger(namespace="dspyreload")

_LOAD_LIMIT = 5.0  # seconds that a start waits for the state file
_WORK_LIMIT = 10.0  # seconds; a thread that takes longer costs health
_STOP_LIMIT = 3.0
_LONGEST_BACK_OFF = 30.0
_MOST_WAITING = 100  # snapshots; of older ones only the versions are lost that are live no more
_SOURCE = "state"
_STOPPED = "the service stopped before the state file was read"


@attrs.frozen
class _Opened:
    """What came of opening: what the file keeps, if that could be read, and what keeps it from being written."""

    state: StoredState | None
    fault: str = ""


class Keeper:
    """Writes each snapshot that is live into a state file, on a thread of its own, one at a time.

    :param file: the state file; it is opened here, tried again where that fails, and closed.
    :param board: is told when it can't be written.
    :param late: called with what the file keeps where that is known only after the service has started.
    """

    def __init__(
        self,
        file: StateFile,
        reactor: IReactor,
        board: HealthBoard,
        late: Callable[[StoredState], object],
        start_thread: StartThread = start_thread,
    ) -> None:
        self.file = file
        self._reactor, self._board, self._late, self._start_thread = reactor, board, late, start_thread
        self._queue: deque[Snapshot] = deque(maxlen=_MOST_WAITING)
        self._root: tuple[int, int] | None = None
        self._waiting: frozenset[str] = frozenset()
        self._asked: deque[tuple[str, Deferred[tuple[KeptVersion, ...]]]] = deque()
        self._loading: Deferred[StoredState | None] | None = None
        self._is_loaded = self._is_allowed = self._is_busy = False
        self._back_off = BackOff(lambda: reactor, self._go)
        self._slow: IDelayedCall | None = None
        self._stopping: Deferred[None] | None = None

    def load(self) -> Deferred[StoredState | None]:
        """Open the file and read what it keeps.

        :return: fires with that, or with None where it can't be had within 5 s.
        """
        loading: Deferred[StoredState | None] = Deferred()
        self._loading = loading
        limit = self._reactor.callLater(_LOAD_LIMIT, self._not_loaded)
        self._go()
        return loading.addCallback(_cancelled, limit)

    def allow(self) -> None:
        """Write from now on: what the file kept was brought back, and may be written over.

        While it is not known what that is, this does nothing: it is said again once ``late`` is done with it.
        """
        self._is_allowed = self._is_loaded
        self._go()

    def keep(self, snapshot: Snapshot, root: tuple[int, int] | None, waiting: frozenset[str]) -> None:
        """Have a snapshot written that is live now.

        :param waiting: ids that the file goes on keeping though they do not serve.
        """
        self._queue.append(snapshot)
        self._root, self._waiting = root, waiting
        self._go()

    def versions(self, module_id: str) -> Deferred[tuple[KeptVersion, ...]]:
        """Read the versions of a module that the file keeps, once what is live now is written.

        :return: fires with them, the newest first. It fails with ``HotReloadFailed`` where the file can't be used, and
            with ``ServiceStopped``.
        """
        if self._stopping is not None:
            return fail(ServiceStopped(_STOPPED))
        deferred: Deferred[tuple[KeptVersion, ...]] = Deferred()
        self._asked.append((module_id, deferred))
        self._go()
        return deferred

    def stop(self) -> Deferred[None]:
        """Write what is left, and close the file.

        :return: fires when that is done and no thread is left, or after 3 s, with a line in the log.
        """
        if self._stopping is not None:
            return succeed(None)
        done = self._stopping = Deferred()
        self._back_off.cancel()
        self._in_time()
        loading, self._loading = self._loading, None
        if loading is not None:
            loading.callback(None)
        self._refuse(lambda: ServiceStopped(_STOPPED))
        limit = self._reactor.callLater(_STOP_LIMIT, self._give_up)
        done.addBoth(lambda _result: limit.cancel() if limit.active() else None)
        self._go()
        return done

    # On the reactor

    def _go(self) -> None:
        """Do what is next, unless a thread is at work or a failure was lately."""
        if self._is_busy or self._back_off.is_waiting:
            return
        if self._stopping is not None:
            self._begin(self._finish, self._finished)
        elif not self.file.is_open:
            self._begin(self._open, self._opened)
        elif self._is_allowed and self._queue:
            batch, root, waiting = tuple(self._queue), self._root, self._waiting
            self._queue.clear()
            work = lambda: self.file.write(batch, root, waiting)  # noqa: E731 - of these, whatever comes meanwhile
            self._begin(work, lambda outcome: self._written(outcome, batch))
        elif self._asked:
            module_id, deferred = self._asked[0]
            self._begin(lambda: self.file.versions(module_id), lambda outcome: self._found(outcome, deferred))

    def _begin(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        self._is_busy = True
        if self._stopping is None:
            self._slow = self._reactor.callLater(_WORK_LIMIT, self._hangs)

        def ended(outcome: Any) -> None:
            self._in_time()
            self._is_busy = False
            if isinstance(outcome, Failure) and not outcome.check(StateFault):
                _log.failure("the state file failed", outcome)
            then(outcome)
            self._go()

        in_thread(self._reactor, self._start_thread, "dspyreload-state", work, ended)

    def _in_time(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def _hangs(self) -> None:
        self._slow = None
        self._trouble(f"{shown(self.file.path, 300)} does not answer")

    def _not_loaded(self) -> None:
        self._trouble(f"{shown(self.file.path, 300)} does not answer")
        self._loaded(None)

    def _opened(self, outcome: _Opened | Failure) -> None:
        fault = str(outcome.value) if isinstance(outcome, Failure) else outcome.fault
        state = None if isinstance(outcome, Failure) else outcome.state
        if fault:
            self._failed(fault)
        elif not self._queue:  # else that it can be written has to be seen
            self._well()
        self._loaded(state)

    def _loaded(self, state: StoredState | None) -> None:
        """Tell of what the file keeps, once: later it is what was written since."""
        loading, self._loading = self._loading, None
        known, self._is_loaded = self._is_loaded, self._is_loaded or state is not None
        if loading is not None:
            loading.callback(state)
        elif state is not None and not known and self._stopping is None:
            self._late(state)

    def _written(self, outcome: object, batch: tuple[Snapshot, ...]) -> None:
        if isinstance(outcome, Failure):
            room = _MOST_WAITING - len(self._queue)
            self._queue.extendleft(reversed(batch[-room:] if room else ()))
            self._failed(str(outcome.value))
        else:
            self._well()

    def _found(self, outcome: tuple[KeptVersion, ...] | Failure, deferred: Deferred[tuple[KeptVersion, ...]]) -> None:
        if isinstance(outcome, Failure):
            self._failed(str(outcome.value))
            return
        if not self._queue:  # it may have taken long; else that it can be written has to be seen
            self._well()
        if self._asked and self._asked[0][1] is deferred:  # else it was stopped meanwhile
            self._asked.popleft()
            deferred.callback(outcome)

    def _refuse(self, why: Callable[[], Exception]) -> None:
        """Let nobody wait for what can't be read."""
        asked = tuple(self._asked)
        self._asked.clear()
        for _module_id, deferred in asked:
            deferred.errback(why())

    def _well(self) -> None:
        self._back_off.succeeded()
        self._board.solve(_SOURCE, f"what is live is kept in {shown(self.file.path, 300)} again")

    def _trouble(self, fault: str) -> None:
        words = f"{fault}; what is live is not kept for a restart, and it is tried again"
        self._board.report(_SOURCE, "degraded", words)

    def _failed(self, fault: str) -> None:
        if self._stopping is not None:
            return
        self._trouble(fault)
        self._back_off.after_failure(1.0, _LONGEST_BACK_OFF)
        self._refuse(lambda: HotReloadFailed(self.file.path, fault))  # last: who is told may ask again at once

    def _finished(self, outcome: object) -> None:
        if isinstance(outcome, Failure):
            _log.warn("what was live last is not kept: {reason}", reason=shown(str(outcome.value), 500))
        self.file.close()  # already, unless there was no thread to do it
        self._is_busy = True  # for good
        self._end()

    def _give_up(self) -> None:
        _log.warn("the thread dspyreload-state did not end within {limit} s", limit=_STOP_LIMIT)
        self._end()

    def _end(self) -> None:
        if self._stopping is not None and not self._stopping.called:
            self._stopping.callback(None)

    # On a thread

    def _open(self) -> _Opened:
        try:
            return _Opened(self.file.open())
        except StateFault as fault:
            try:
                state = None if self._is_loaded else self.file.read()
            except StateFault:
                state = None
            return _Opened(state, str(fault))

    def _finish(self) -> None:
        try:
            if self._is_allowed and self._queue:
                if not self.file.is_open:  # what was wrong may be well by now
                    self.file.open()
                self.file.write(tuple(self._queue), self._root, self._waiting)
        finally:
            self.file.close()


def _cancelled(state: StoredState | None, limit: IDelayedCall) -> StoredState | None:
    if limit.active():
        limit.cancel()
    return state
