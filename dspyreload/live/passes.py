"""Hint → look → plan → commit, one pass at a time.

The disk is looked at on a worker thread; what it found is committed on the reactor thread, and then those who asked
are answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from dspyreload.config import HotReloadConfig
from dspyreload.disk.holds import Held
from dspyreload.disk.scan import Request, RootMissing
from dspyreload.errors import HotReloadFailed, ServiceStopped
from dspyreload.live.at_work import AtWork
from dspyreload.live.back_off import BackOff
from dspyreload.live.bringing_back import BringingBack
from dspyreload.live.committing import Committing
from dspyreload.live.expecting import Expecting
from dspyreload.live.hints import Hints
from dspyreload.live.holding import Holding
from dspyreload.live.live import Live
from dspyreload.live.one_pass import OnePass
from dspyreload.live.root_health import HOLLOW, RootHealth
from dspyreload.live.slices import Slices
from dspyreload.live.validators import Validators
from dspyreload.live.waiters import Aboard, Waiters
from dspyreload.model.events import HotReloadEvent
from dspyreload.model.plan import Plan
from dspyreload.model.registrations import NOTHING, Registrations
from dspyreload.model.restoring import StoredState
from dspyreload.model.steps import Steps, at_once
from dspyreload.reactor import IReactor, StartThread, start_thread

__all__ = ["Passes"]

_LONGEST_BACK_OFF = 30.0


def _stopped() -> Exception:
    return ServiceStopped("the service stopped before the pass was done")


class Passes:
    """Looks at the modules directory whenever there is reason to, and commits what is good.

    All methods are for the reactor thread.

    :param root: the modules directory, absolute.
    :param clock: gives the reactor when it is first needed.
    :param registrations: gives what the game registered.
    :param validators: the game's checks of what may go live.
    :param retired: told after a commit which modules were replaced or are gone.
    :ivar on_root: called after each pass with the identity of the directory, or None where it is missing.
    :ivar expected: what may have changed, and when the next pass is due.
    :ivar committing: makes live what is found.
    :ivar root_health: says what is wrong with the directory.
    :ivar awaits_state: no pass begins yet: it is being read what served before a restart.
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
        self.on_root: Callable[[tuple[int, int] | None], None] = lambda root: None
        self.expected = Expecting(clock, self._begin)
        self.committing = Committing(live, retired)
        self.root_health = RootHealth(root, live)
        self.active = self.awaits_state = False
        self._clock, self._registrations = clock, registrations
        self._validators = validators or Validators(clock)
        self._validators.decided = self._decided
        self._start_thread = start_thread
        self._waiters = Waiters()
        self._back_off = BackOff(clock, self._begin)
        self._at_work = AtWork(clock)
        self._due = False
        self._holding = Holding()
        self._back = BringingBack(self.committing, live, self._at_work, clock, registrations, start_thread)
        self._looking = False

    # Reasons to look

    def hint(self, paths: Iterable[str] | None = None, *, deep: bool = False) -> None:
        """Say that something may have changed: ``paths``, or with None anything. A pass follows the quiet window."""
        self.expected.hints.add(paths, deep=deep)
        self.expected.wait(self.config)

    def look(self, *, deep: bool) -> None:
        """Look at the whole tree now."""
        self.expected.hints.add(None, deep=deep)
        self._begin()

    def is_known(self, path: str) -> bool:
        """Say whether a module that was seen is made of this file. Any thread may ask."""
        known = self.committing.known
        return path in known.findings or bool(known.users.get(path))

    def reload_module(self, module_id: str) -> Deferred[HotReloadEvent]:
        """Look at one module now; see ``DSPyEngine.reload_module``."""
        deferred = self._waiters.for_module(module_id)
        self.expected.hints.add(self.committing.paths_of(module_id) or None)
        self._begin()
        return deferred

    def reload_all(self, *, patience: int = 1, stubborn: bool = False) -> Deferred[tuple[HotReloadEvent, ...]]:
        """Look at every byte of the whole tree now; see ``DSPyEngine.reload_all``.

        :param patience: how many further looks to wait for, where a file was missing or broken at the first.
        :param stubborn: a pass that fails is not the end of waiting.
        """
        deferred = self._waiters.for_all(patience, stubborn)
        self.expected.hints.add(None, deep=True)
        self._begin()
        return deferred

    def registered(self, name: str) -> None:
        """Check again what a registration decides about: when a service runs, by a pass; else here and now.

        :param name: such as ``signature npc.dialogue``.
        """
        if self.active or self._at_work.is_busy or self._looking:
            self._back.retry(name)
            self.expected.hints.add((), names=(name,))
            self.expected.wait(self.config)
        elif self.live.snapshot.generation:
            try:
                self.look_here(paths=(), names=(name,))
            except RootMissing:
                self.expected.hints.add((), names=(name,))  # for the pass that finds the directory again

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
        one = OnePass(self._request(hints, frozenset(), ripe), self.committing.known, snapshot, self._validators)
        self._looking = True  # a validator may register something
        try:
            self.committing.carry_out(one.here())
        finally:
            self._looking = False

    def stop(self, error: Callable[[], Exception] = _stopped) -> Deferred[None]:
        """Forget all hints, and let a running pass commit nothing. Those who wait fail with ``error()``.

        :return: fires when no thread of ours is left, or after 3 s, with a line in the log that names the thread.
        """
        self.active = self.awaits_state = False
        self.committing.stop()  # first: what is stopped after it may register something
        self._validators.stop()
        self.expected.forget()
        self._due = False
        self._back.stop()
        self._holding.over()
        self._back_off.cancel()
        ended = self._at_work.stop()
        self._waiters.fail_all(error)
        return ended

    def restore(self, state: StoredState) -> Deferred[None]:
        """Bring back what served before a restart, before the next pass.

        :return: fires when that is done.
        """
        deferred = self._back.expect(state)
        self._begin()
        return deferred

    # One pass

    def _request(
        self, hints: Hints, asked: frozenset[str], ripe: frozenset[str] | None, steps: Steps = at_once
    ) -> Request:
        snapshot, config = self.live.snapshot, self.config
        return Request(
            root=self.root,
            in_force=snapshot.manifest,
            registrations=self._registrations(),
            extensions=config.module_extensions,
            max_file_size=config.max_file_size,
            max_files=config.max_files,
            watch_manifest=config.watch_manifest,
            strict=config.strict,
            paths=None if hints.whole or snapshot.generation == 0 else frozenset(hints.paths),
            asked=asked,
            deep=hints.deep,
            names=frozenset(hints.names),
            first=snapshot.generation == 0,
            ripe=ripe,
            steps=steps,
        )

    def _begin(self) -> None:
        """Start a pass, or have one follow the one that runs."""
        if self._at_work.is_busy or self.awaits_state:
            self._due = True
            return
        if self._back.is_due(self.expected.hints.names):
            self._due = True
            self._back.begin(self.expected.hints.names, self._go_on)
            return
        hints, self._due = self.expected.take(), False
        self._back.set_tried(())
        aboard = self._waiters.aboard()
        work = OnePass(
            self._request(hints, frozenset(aboard.asked), None, Slices()),
            self.committing.known,
            self.live.snapshot,
            self._validators,
            now=self._clock().seconds(),
            quiet=self.config.debounce,
            overdue=self._holding.overdue if self._waits_for_holds() else None,
            holding=self._holding,
        )
        ended: Callable[[Plan | Failure], None]
        ended = self._at_work.begun(lambda outcome: self._finished(outcome, hints, aboard))
        work.start(self._clock(), self._start_thread, ended)

    def _waits_for_holds(self) -> bool:
        """Say whether a pass waits: at first what is good serves, and without a service nobody would look again."""
        return self.active and self.live.snapshot.generation > 0

    def _finished(self, outcome: Plan | Failure, hints: Hints, aboard: Aboard) -> None:
        if isinstance(outcome, Failure) and isinstance(outcome.value, Held):
            self._due = False
            self._wait(outcome.value, hints)
        elif isinstance(outcome, Failure):
            self._failed(outcome, hints, aboard)
        else:
            self._succeeded(outcome, aboard)
        self._go_on()

    def _go_on(self) -> None:
        """Begin what became due while a thread was at work."""
        if self._due and not self._at_work.is_busy:
            self._begin()

    def _succeeded(self, plan: Plan, aboard: Aboard) -> None:
        self._back_off.succeeded()
        self._holding.over()
        self.root_health.looked(plan)
        self.committing.carry_out(plan)
        self.root_health.listed(plan.shut)
        if plan.again:
            self.hint(plan.again)
        if plan.hollow:
            self._waiters.fail(aboard, lambda: HotReloadFailed(self.root, HOLLOW))
        self._waiters.answer(plan, aboard)
        self.on_root(plan.root)

    # What goes wrong

    def _failed(self, failure: Failure, hints: Hints, aboard: Aboard) -> None:
        self._holding.over()  # what is held after that is waited for anew
        reason = self.root_health.failed(failure)
        if failure.check(RootMissing):
            self.on_root(None)
        self._waiters.fail(aboard, lambda: HotReloadFailed(self.root, reason))
        if self.active:
            self.expected.hints.add(None, deep=hints.deep, names=hints.names)
            longest = min(_LONGEST_BACK_OFF, self.config.rescan_interval)
            self._back_off.after_failure(max(self.config.debounce, 0.1), longest)

    def _wait(self, held: Held, hints: Hints) -> None:
        """Look again soon: somebody is changing many files at once."""
        self._back.set_tried(hints.names - self.expected.hints.names)  # what was registered since was not tried
        self.expected.hints.add(None, deep=hints.deep, names=hints.names)  # word of all of them may not have come yet
        if self._holding.wait(held, self._clock().seconds(), self.config.max_wait):
            self._back_off.after(max(self.config.debounce, 0.1))
        else:
            self._begin()
