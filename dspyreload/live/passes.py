"""Hint → look → plan → commit, one pass at a time.

The disk is looked at on a worker thread; the live snapshot is assigned on the reactor thread, here. The order after
a pass: commit, stats, the log, the Deferreds of who asked, and on a later turn of the reactor the subscribers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from dspyreload.config import HotReloadConfig
from dspyreload.disk.scan import Request, RootMissing
from dspyreload.errors import HotReloadFailed, ServiceStopped
from dspyreload.live.debounce import QuietWindow
from dspyreload.live.hints import Hints
from dspyreload.live.live import Live
from dspyreload.live.one_pass import OnePass
from dspyreload.live.report import report, report_pending, report_root
from dspyreload.live.stats import HotReloadStats
from dspyreload.live.validators import Validators
from dspyreload.live.waiters import Aboard, Waiters
from dspyreload.model.events import HotReloadEvent
from dspyreload.model.faults import shown
from dspyreload.model.finding import Known
from dspyreload.model.manifest import fold
from dspyreload.model.plan import Plan, apply
from dspyreload.model.registrations import NOTHING, Registrations
from dspyreload.reactor import IReactor, StartThread, start_thread

__all__ = ["Passes"]

_log = Logger(namespace="dspyreload")

_LONGEST_BACK_OFF = 30.0
_STOP_LIMIT = 3.0


class Passes:
    """Looks at the modules directory whenever there is reason to, and commits what is good.

    All methods are for the reactor thread.

    :param root: the modules directory, absolute.
    :param clock: gives the reactor when it is first needed.
    :param registrations: gives what the game registered.
    :param validators: the game's checks of what may go live.
    :param retired: told after a commit which modules were replaced or are gone.
    :ivar on_root: called after each pass with the (device, inode) of the directory, or None where it is missing.
    """

    def __init__(
        self,
        root: str,
        live: Live,
        clock: Callable[[], IReactor],
        registrations: Callable[[], Registrations] = lambda: NOTHING,
        start_thread: StartThread = start_thread,
        *,
        validators: Validators | None = None,
        retired: Callable[[tuple[str, ...]], None] = lambda module_ids: None,
    ) -> None:
        self.root, self.live = root, live
        self.config = HotReloadConfig()
        self.stats = HotReloadStats()
        self.on_root: Callable[[tuple[int, int] | None], None] = lambda root: None
        self.active = False
        self._clock, self._registrations, self._retired = clock, registrations, retired
        self._validators = validators or Validators(clock)
        self._validators.decided = self._decided
        self._start_thread = start_thread
        self._known = Known()
        self._hints = Hints()
        self._waiters = Waiters()
        self._window: QuietWindow | None = None
        self._back_off: IDelayedCall | None = None
        self._failures = 0
        self._running: object | None = None
        self._due = False
        self._left: dict[object, Deferred[None]] = {}  # threads that were left behind by a stop
        self._root_said = False
        self._pending_said = self._looking = False

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

    def registered(self, name: str) -> None:
        """Check again what a registration decides about: when a service runs, by a pass; else here and now.

        :param name: such as ``signature npc.dialogue``.
        """
        if self.active or self._running is not None or self._looking:
            self._hints.add((), names=(name,))
            self._quiet_window().hint()
        elif self.live.snapshot.generation:
            try:
                self.look_here(paths=(), names=(name,))
            except RootMissing:
                self._hints.add((), names=(name,))  # for the pass that finds the directory again

    def _decided(self, path: str) -> None:
        """Look at a file again whose validators answered late."""
        self.hint((path,))

    def look_here(self, *, paths: Iterable[str] | None = None, names: Iterable[str] = ()) -> None:
        """Look and commit on the calling thread: only while no service runs.

        :raises RootMissing: where the directory is not there.
        """
        hints = Hints()
        hints.add(paths, names=names)
        snapshot = self.live.snapshot
        ripe = None if snapshot.generation == 0 else frozenset[str]()  # later a first look removes and rejects nothing
        one = OnePass(self._request(hints, frozenset(), ripe), self._known, snapshot, self._validators)
        self._looking = True  # a validator may register something
        try:
            self._carry_out(one.here())
        finally:
            self._looking = False

    def report_pending(self) -> None:
        """Say what waits for the game to register something; from now on, say so of what comes to wait."""
        self._pending_said = True
        report_pending(_log, self._known.pending.values())

    def stop(self) -> Deferred[None]:
        """Forget all hints, and let a running pass commit nothing.

        :return: fires when no thread of ours is left, or after 3 s, with a line in the log that names the thread.
        """
        self.active = self._pending_said = False
        self._validators.stop()
        self._hints, self._due = Hints(), False
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

    def _request(self, hints: Hints, asked: frozenset[str], ripe: frozenset[str] | None) -> Request:
        snapshot, config = self.live.snapshot, self.config
        return Request(
            root=self.root,
            in_force=snapshot.manifest,
            registrations=self._registrations(),
            extensions=config.module_extensions,
            max_file_size=config.max_file_size,
            max_files=config.max_files,
            watch_manifest=config.watch_manifest,
            paths=None if hints.whole or snapshot.generation == 0 else frozenset(hints.paths),
            asked=asked,
            deep=hints.deep,
            names=frozenset(hints.names),
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
        hints, self._hints, self._due = self._hints, Hints(), False
        aboard = self._waiters.aboard()
        work = OnePass(
            self._request(hints, frozenset(aboard.asked), None),
            self._known,
            self.live.snapshot,
            self._validators,
            now=self._clock().seconds(),
            quiet=self.config.debounce,
        )
        token = self._running = object()
        try:
            work.start(self._clock(), self._start_thread, lambda outcome: self._finished(token, outcome, hints, aboard))
        except RuntimeError:  # the machine has no thread left
            self._running = None
            self._failed(Failure(), hints, aboard)

    def _finished(self, token: object, outcome: Plan | Failure, hints: Hints, aboard: Aboard) -> None:
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
        if self._pending_said:
            report_pending(_log, plan.pending.items())
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

    def _failed(self, failure: Failure, hints: Hints, aboard: Aboard) -> None:
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
            self._hints.add(None, deep=hints.deep, names=hints.names)
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
