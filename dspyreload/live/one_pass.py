"""One pass's work: look, ask the game's validators, plan. The looking and the planning are a worker thread's."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.python.failure import Failure

from dspyreload.disk.holds import Held, Holds, Locks, look_for_holds
from dspyreload.disk.scan import Request, look
from dspyreload.errors import ServiceStopped
from dspyreload.live.at_work import NAME
from dspyreload.live.holding import Holding
from dspyreload.live.validators import Candidate, Validators
from dspyreload.model.finding import Known, Look
from dspyreload.model.plan import Plan, make_plan
from dspyreload.model.snapshot import Snapshot
from dspyreload.model.verdicts import VALIDATORS, candidates, with_verdicts
from dspyreload.reactor import IReactor, StartThread, in_thread

__all__ = ["OnePass"]

_EPSILON = 0.001  # a timer may fire that much early


@attrs.frozen
class _Asked:
    """What a look found that the game's validators have a say in."""

    seen: Look
    ripe: frozenset[str] | None
    candidates: dict[str, Candidate]


@attrs.frozen(eq=False)
class OnePass:
    """What a pass starts from; none of it changes while it runs.

    :ivar now: seconds of the reactor's clock. ``quiet``: how old a suspect must be for its second look.
    :ivar overdue: locks that are not waited for any more; None where none is.
    :ivar holding: keeps what version control had renewed by the last look that came to a plan.
    """

    request: Request
    known: Known
    snapshot: Snapshot
    validators: Validators
    now: float = 0.0
    quiet: float = 0.0
    overdue: Locks | None = None
    holding: Holding = attrs.field(factory=Holding)

    def here(self) -> Plan:
        """Look and plan on the calling thread."""
        outcome = self._look(self.request.ripe, self.validators.concerned())
        if isinstance(outcome, Plan):
            return outcome
        verdicts: list[dict[str, str | None]] = []
        self.validators.hear(outcome.candidates, at_once=True).addCallback(verdicts.append)
        return self._plan_with(outcome, verdicts[0], self.validators.token)

    def start(self, reactor: IReactor, start_thread: StartThread, done: Callable[[Plan | Failure], None]) -> None:
        """Do it beside the reactor.

        :param done: called on the reactor thread with what came of it.
        """
        concerned, token, stops = self.validators.concerned(), self.validators.token, self.validators.stops
        added, states = self.validators.added, self.holding.states

        def again() -> None:
            self.start(reactor, start_thread, done)

        def looked(found: tuple[_Asked | Plan, Locks] | Failure) -> None:
            nonlocal states
            if isinstance(found, Failure):
                done(found)
                return
            outcome, states = found
            if stops != self.validators.stops:
                done(Failure(ServiceStopped("the service stopped")))
            elif token != self.validators.token:
                again()  # nothing goes live that a new validator has not heard
            elif isinstance(outcome, _Asked):
                self.validators.hear(outcome.candidates).addCallback(heard, outcome, self.validators.token)
            else:
                finish(outcome)

        def heard(verdicts: dict[str, str | None], asked: _Asked, token: str) -> None:
            if added != self.validators.added and stops == self.validators.stops:
                again()  # added while it was heard
            else:
                in_thread(reactor, start_thread, NAME, lambda: self._plan_with(asked, verdicts, token), planned)

        def planned(outcome: Plan | Failure) -> None:
            if added != self.validators.added and stops == self.validators.stops and isinstance(outcome, Plan):
                again()  # added while it was planned
            else:
                finish(outcome)

        def finish(outcome: Plan | Failure) -> None:
            if isinstance(outcome, Plan) and stops == self.validators.stops:
                self.holding.states = states
            done(outcome)

        in_thread(reactor, start_thread, NAME, lambda: self._look_unheld(self._ripe(), concerned), looked)

    def _ripe(self) -> frozenset[str]:
        now, quiet = self.now, self.quiet - _EPSILON
        return frozenset(path for path, since in self.known.suspects.items() if now - since >= quiet or now < since)

    def _look_unheld(
        self, ripe: frozenset[str] | None, concerned: Callable[[str], bool] | None
    ) -> tuple[_Asked | Plan, Locks]:
        """Look, unless somebody is changing many files at once, before or meanwhile.

        :return: what was found, and what version control had renewed by then.
        :raises Held: where somebody is.
        """
        before = self._check_holds(None)
        request = self.request
        if before is not None and before.states != self.holding.states:
            # A checkout since: word of some of its files may be under way yet, and they belong together.
            request = attrs.evolve(request, paths=None)
        outcome = self._look(ripe, concerned, request)
        self._check_holds(before)
        return outcome, before.states if before is not None else self.holding.states

    def _check_holds(self, before: Holds | None) -> Holds | None:
        if self.overdue is None:
            return None
        holds = look_for_holds(self.request.root)
        locks = holds.locks - self.overdue
        if locks or (before is not None and holds.states != before.states):
            raise Held(locks)
        return holds

    def _look(
        self, ripe: frozenset[str] | None, concerned: Callable[[str], bool] | None, request: Request | None = None
    ) -> _Asked | Plan:
        seen = look(attrs.evolve(request or self.request, ripe=ripe), self.known)
        if concerned is not None:
            also_live = VALIDATORS in self.request.names
            versions = candidates(seen, self.known, self.snapshot, concerned, also_live=also_live)
            if versions:
                asked = {
                    path: Candidate(version, version.module()) for path, version in self.request.steps(versions.items())
                }
                return _Asked(seen, ripe, asked)
        return self._plan(seen, ripe)

    def _plan_with(self, asked: _Asked, verdicts: dict[str, str | None], token: str) -> Plan:
        seen = with_verdicts(asked.seen, self.known, verdicts, token)
        return self._plan(seen, asked.ripe)

    def _plan(self, seen: Look, ripe: frozenset[str] | None) -> Plan:
        return make_plan(
            self.snapshot,
            self.known,
            seen,
            ripe=ripe,
            asked=self.request.asked,
            now=self.now,
            steps=self.request.steps,
        )
