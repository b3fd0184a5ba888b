"""Hint → look → plan → commit, one pass at a time.

The disk is looked at on a worker thread; the live snapshot is assigned on the reactor thread, here. The order after
a pass: commit, stats, the log, the Deferreds of who asked, and on a later turn of the reactor the subscribers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from dspyreload.config import HotReloadConfig
from dspyreload.disk.scan import Request, RootMissing, look
from dspyreload.errors import HotReloadFailed, ServiceStopped
from dspyreload.live.debounce import QuietWindow
from dspyreload.live.live import Live
from dspyreload.live.report import report, report_root
from dspyreload.live.stats import HotReloadStats
from dspyreload.live.waiters import Aboard, Waiters
from dspyreload.model.events import HotReloadEvent
from dspyreload.model.faults import shown
from dspyreload.model.finding import Known, Registered
from dspyreload.model.manifest import fold
from dspyreload.model.plan import Plan, apply, make_plan
from dspyreload.reactor import IReactor, StartThread, start_thread

__all__ = ["Passes"]

_log = Logger(namespace="dspyreload")

_LONGEST_BACK_OFF = 30.0
_STOP_LIMIT = 3.0
_JOIN_LIMIT = 1.0  # the thread is past its last line
_EPSILON = 0.001  # a timer may fire that much early


@attrs.define
class _Hints:
    """What is known to have perhaps changed since the last pass began."""

    whole: bool = False
    deep: bool = False
    paths: set[str] = attrs.field(factory=set)
    signatures: set[str] = attrs.field(factory=set)

    def add(self, paths: Iterable[str] | None, *, deep: bool = False, signatures: Iterable[str] = ()) -> None:
        self.whole = self.whole or paths is None
        self.deep = self.deep or deep
        self.paths.update(paths or ())
        self.signatures.update(signatures)


class Passes:
    """Looks at the modules directory whenever there is reason to, and commits what is good.

    All methods are for the reactor thread.

    :param root: the modules directory, absolute.
    :param clock: gives the reactor when it is first needed.
    :param registered: gives the registered signatures.
    :param retired: told after a commit which modules were replaced or are gone.
    :ivar on_root: called after each pass with the (device, inode) of the directory, or None where it is missing.
    """

    def __init__(
        self,
        root: str,
        live: Live,
        clock: Callable[[], IReactor],
        registered: Callable[[], Mapping[str, Registered]],
        start_thread: StartThread = start_thread,
        *,
        retired: Callable[[tuple[str, ...]], None] = lambda module_ids: None,
    ) -> None:
        self.root, self.live = root, live
        self.config = HotReloadConfig()
        self.stats = HotReloadStats()
        self.on_root: Callable[[tuple[int, int] | None], None] = lambda root: None
        self.active = False
        self._clock, self._registered, self._retired = clock, registered, retired
        self._start_thread = start_thread
        self._known = Known()
        self._hints = _Hints()
        self._waiters = Waiters()
        self._window: QuietWindow | None = None
        self._back_off: IDelayedCall | None = None
        self._failures = 0
        self._running: object | None = None
        self._due = False
        self._left: dict[object, Deferred[None]] = {}  # threads that were left behind by a stop
        self._root_said = False

    # Reasons to look

    def hint(self, paths: Iterable[str] | None = None, *, deep: bool = False) -> None:
        """Say that something may have changed: ``paths``, or with None anything. A pass follows the quiet window."""
        self._hints.add(paths, deep=deep)
        self._quiet_window().hint()

    def is_known(self, path: str) -> bool:
        """Say whether a module that was seen is made of this file. Any thread may ask."""
        return path in self._known.findings or bool(self._known.users.get(path))

    def reload_module(self, module_id: str) -> Deferred[HotReloadEvent]:
        """Look at one module now; see ``DSPyEngine.reload_module``."""
        deferred = self._waiters.for_module(module_id)
        self._hints.add(self._paths_of(module_id) or None)
        self._begin()
        return deferred

    def reload_all(self, *, patience: int = 1, stubborn: bool = False) -> Deferred[tuple[HotReloadEvent, ...]]:
        """Look at every byte of the whole tree now; see ``DSPyEngine.reload_all``.

        :param patience: how many further looks to wait for, where a file was missing or broken at the first.
        :param stubborn: a pass that fails is not the end of waiting.
        """
        deferred = self._waiters.for_all(patience, stubborn)
        self._hints.add(None, deep=True)
        self._begin()
        return deferred

    def signature_changed(self, name: str) -> None:
        """Check again what names a signature: when a service runs, by a pass; else here and now."""
        if self.active or self._running is not None:
            self._hints.add((), signatures=(name,))
            self._quiet_window().hint()
        elif self.live.snapshot.generation:
            try:
                self.look_here(paths=(), signatures=(name,))
            except RootMissing:
                self._hints.add((), signatures=(name,))  # for the pass that finds the directory again

    def look_here(self, *, paths: Iterable[str] | None = None, signatures: Iterable[str] = ()) -> None:
        """Look and commit on the calling thread: only while no service runs.

        :raises RootMissing: where the directory is not there.
        """
        hints = _Hints()
        hints.add(paths, signatures=signatures)
        snapshot = self.live.snapshot
        ripe = None if snapshot.generation == 0 else frozenset[str]()  # later a first look removes and rejects nothing
        seen = look(self._request(hints, frozenset(), ripe), self._known)
        plan = make_plan(snapshot, self._known, seen, ripe=ripe, asked=frozenset(), now=0.0)
        self._carry_out(plan)

    def stop(self) -> Deferred[None]:
        """Forget all hints, and let a running pass commit nothing.

        :return: fires when no thread of ours is left, or after 3 s, with a line in the log that names the thread.
        """
        self.active = False
        self._hints, self._due = _Hints(), False
        if self._window is not None:
            self._window.cancel()
        if self._back_off is not None:
            self._back_off.cancel()
            self._back_off = None
        running, self._running = self._running, None
        # A thread that goes on reads the old one; what was suspect is looked at anew after a restart.
        self._known = self._known.copied()
        self._waiters.fail_all(lambda: ServiceStopped("the service stopped before the pass was done"))
        if running is None:
            return succeed(None)
        done: Deferred[None] = Deferred()
        limit = self._clock().callLater(_STOP_LIMIT, self._give_up, running)
        self._left[running] = done
        return done.addBoth(lambda _result: limit.cancel() if limit.active() else None)

    # One pass

    def _quiet_window(self) -> QuietWindow:
        if self._window is None or not self._window.waiting:  # a new one: the settings may be others by now
            self._window = QuietWindow(self._clock(), self._begin, self.config.debounce, self.config.max_wait)
        return self._window

    def _request(self, hints: _Hints, asked: frozenset[str], ripe: frozenset[str] | None) -> Request:
        snapshot, config = self.live.snapshot, self.config
        return Request(
            root=self.root,
            in_force=snapshot.manifest,
            registered=dict(self._registered()),
            extensions=config.watch_extensions,
            max_file_size=config.max_file_size,
            max_files=config.max_files,
            watch_manifest=config.watch_manifest,
            paths=None if hints.whole or snapshot.generation == 0 else frozenset(hints.paths),
            asked=asked,
            deep=hints.deep,
            signatures=frozenset(hints.signatures),
            first=snapshot.generation == 0,
            ripe=ripe,
        )

    def _begin(self) -> None:
        """Start a pass, or have one follow the one that runs."""
        if self._running is not None:
            self._due = True
            return
        if self._window is not None:
            self._window.cancel()
        hints, self._hints, self._due = self._hints, _Hints(), False
        known, snapshot, now = self._known, self.live.snapshot, self._clock().seconds()
        quiet = self.config.debounce - _EPSILON
        aboard = self._waiters.aboard()
        asked = frozenset(aboard.asked)
        request = self._request(hints, asked, None)
        reactor = self._clock()
        token = self._running = object()

        def work() -> None:
            outcome: Plan | Failure
            try:
                ripe = frozenset(p for p, since in known.suspects.items() if now - since >= quiet or now < since)
                seen = look(attrs.evolve(request, ripe=ripe), known)
                outcome = make_plan(snapshot, known, seen, ripe=ripe, asked=asked, now=now)
            except BaseException:
                outcome = Failure()
            reactor.callFromThread(finished, outcome)

        def finished(outcome: Plan | Failure) -> None:
            thread.join(_JOIN_LIMIT)
            self._finished(token, outcome, hints, aboard)

        try:
            thread = self._start_thread(work, "dspyreload-pass")
        except RuntimeError:  # the machine has no thread left
            self._running = None
            self._failed(Failure(), hints, aboard)

    def _finished(self, token: object, outcome: Plan | Failure, hints: _Hints, aboard: Aboard) -> None:
        if token is not self._running:
            if token in self._left:
                self._left.pop(token).callback(None)
            return
        self._running = None
        if isinstance(outcome, Failure):
            self._failed(outcome, hints, aboard)
        else:
            self._succeeded(outcome, aboard)
        if self._due and self._running is None:
            self._begin()

    def _succeeded(self, plan: Plan, aboard: Aboard) -> None:
        report_root(_log, self.root, self.live.snapshot.generation, was_lost=self._root_said, is_lost=plan.hollow)
        self._failures, self._root_said = 0, plan.hollow
        self._carry_out(plan)
        if plan.again:
            self.hint(plan.again)
        self._waiters.answer(plan, aboard)
        self.on_root(plan.root)

    def _carry_out(self, plan: Plan) -> None:
        first = self.live.snapshot.generation == 0
        if plan.snapshot is not self.live.snapshot:
            self.live.commit(plan.snapshot)
        apply(self._known, plan)
        if plan.changed or plan.deleted:
            self._retired(plan.retired)
        self._count(plan)
        report(_log, plan, first=first)
        self.live.publish(plan.events)

    def _count(self, plan: Plan) -> None:
        stats = self.stats
        stats.passes += 1
        stats.reloads_total += len(plan.changed)
        stats.reloads_failed += len(plan.errors)
        stats.reloads_skipped += len(plan.skipped)
        if plan.changed:
            stats.last_reload = int(time.time() * 1000)

    # What goes wrong

    def _failed(self, failure: Failure, hints: _Hints, aboard: Aboard) -> None:
        if failure.check(RootMissing):
            reason = f"the modules directory can't be looked at ({shown(str(failure.value))})"
            if not self._root_said:
                _log.error(
                    "{root}: {reason}; generation {generation} is still serving",
                    root=shown(self.root), reason=reason, generation=self.live.snapshot.generation,
                )  # fmt: skip
            self._root_said = True
            self.on_root(None)
        else:
            reason = shown(f"{failure.type.__name__ if failure.type else ''}: {failure.value}")
            _log.failure("a pass failed", failure)
        self._waiters.fail(aboard, lambda: HotReloadFailed(self.root, reason))
        if self.active:
            self._hints.add(None, deep=hints.deep, signatures=hints.signatures)
            longest = min(_LONGEST_BACK_OFF, self.config.rescan_interval)
            delay = min(longest, max(self.config.debounce, 0.1) * 2 ** min(self._failures, 16))
            self._failures += 1
            if self._back_off is None:
                self._back_off = self._clock().callLater(delay, self._try_again)

    def _try_again(self) -> None:
        self._back_off = None
        self._begin()

    def _give_up(self, token: object) -> None:
        done = self._left.pop(token)
        _log.warn(
            "the thread dspyreload-pass did not end within {limit} s; what it finds will not be used", limit=_STOP_LIMIT
        )
        done.callback(None)

    def _paths_of(self, module_id: str) -> set[str]:
        snapshot = self.live.snapshot
        paths = set(self._known.claims.get(fold(module_id), ()))
        if module_id in snapshot:
            paths.add(snapshot[module_id].path)
        if snapshot.manifest is not None and module_id in snapshot.manifest.modules:
            paths.add(snapshot.manifest[module_id].path)
        return paths
