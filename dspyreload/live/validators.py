"""The game's own checks of what may go live: :class:`Validators`.

A candidate waits for its validators, and nothing waits for the candidate: the rest of its pass goes live without it.
"""

from __future__ import annotations

import fnmatch
import itertools
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import msgspec
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from dspyreload.model.faults import shown
from dspyreload.model.module import OptimizedModule
from dspyreload.model.snapshot import ModuleVersion
from dspyreload.reactor import IReactor, StartThread, check_seconds, start_thread

__all__ = ["Candidate", "Validator", "Validators"]

_log = Logger(namespace="dspyreload")

_THREADS = 8  # at once
_SLICE = 0.002  # seconds of one reactor turn that validators are started in
_KEPT = 10_000  # verdicts, of one file each; what was forgotten is asked again

Validator = Callable[[OptimizedModule], object]
"""``validator(module)``: raises to refuse a candidate; plain, ``async def``, or returns a Deferred."""

_Call = Callable[[Validator, OptimizedModule], Deferred[Any]]


@attrs.frozen
class Candidate:
    """A version that may go live, and what is in it."""

    version: ModuleVersion
    module: OptimizedModule


@attrs.define(eq=False)
class _Rule:
    validator: Validator
    modules: str
    timeout: float
    thread: bool


@attrs.define(eq=False)
class _Hearing:
    """One candidate before its validators; ``verdict`` as in :func:`~dspyreload.model.verdicts.with_verdicts`.

    :ivar version: without its bytes: it may be long gone.
    """

    version: ModuleVersion
    token: str
    verdict: str | None = None
    running: list[Deferred[Any]] = attrs.field(factory=list)
    asked: bool = False
    over: bool = False

    def end(self) -> None:
        """Have nobody answer any more."""
        self.over = True
        running, self.running = self.running, []
        for deferred in running:
            deferred.cancel()


class Validators:
    """The game's checks of candidates. All methods are for the reactor thread.

    :param changed: called when one is added or removed.
    :param check: called before each, to refuse the thread.
    :ivar stops: how often it was stopped.
    :ivar decided: called with the path of a candidate whose last validator answers late.
    """

    def __init__(
        self,
        reactor: Callable[[], IReactor],
        changed: Callable[[], None] = lambda: None,
        check: Callable[[], None] = lambda: None,
        *,
        start_thread: StartThread = start_thread,
    ) -> None:
        self.decided: Callable[[str], None] = lambda path: None
        self._reactor, self._changed, self._check, self._start_thread = reactor, changed, check, start_thread
        self._rules: tuple[_Rule, ...] = ()
        self._numbers = itertools.count(1)
        self._hearings: OrderedDict[str, _Hearing] = OrderedDict()  # by path, the newest last
        self.stops = self.added = 0
        self.token = ""
        self._in_line: deque[tuple[Callable[[], None], Deferred[Any]]] = deque()
        self._threads = 0

    def add(
        self, validator: Validator, modules: str = "*", *, timeout: float = 10.0, thread: bool = False
    ) -> Callable[[], None]:
        """Check each version before it goes live: ``validator(module)`` raises to refuse it, with words for its writer.

        It is called with the ``OptimizedModule``, on the reactor thread, and may be plain, ``async def``, or return a
        Deferred. What serves already is checked too, once; one that is refused is reported, and goes on serving.

        :param modules: which ids, as a pattern: ``npc.*``.
        :param timeout: seconds, after which the version is refused.
        :param thread: call it on a thread of its own: for one that takes long without giving way.
        :return: a function that removes it; what it refused is then checked again.
        :raises TypeError: for what is no function. :raises ValueError: for a timeout that is no number above 0.
        """
        self._check()
        if not callable(validator):
            raise TypeError(f"a validator is a function of a module, not {validator!r}")
        if not isinstance(modules, str):
            raise TypeError(f"modules is a pattern such as 'npc.*', not {modules!r}")
        check_seconds("timeout", timeout)
        rule = _Rule(validator, modules, timeout, thread)
        self.added += 1
        self._set((*self._rules, rule))

        def remove() -> None:
            self._check()
            if rule in self._rules:
                self._set(tuple(other for other in self._rules if other is not rule))

        return remove

    def _set(self, rules: tuple[_Rule, ...]) -> None:
        self._rules, self.token = rules, f"validators#{next(self._numbers)}"
        self._changed()

    def concerned(self) -> Callable[[str], bool] | None:
        """Return whether a module id has validators, for any thread; None where no module has."""
        patterns = tuple(rule.modules for rule in self._rules)
        if not patterns:
            return None
        return lambda module_id: any(fnmatch.fnmatchcase(module_id, pattern) for pattern in patterns)

    def hear(self, candidates: Mapping[str, Candidate], *, at_once: bool = False) -> Deferred[dict[str, str | None]]:
        """Have candidates checked.

        :param at_once: start all validators now, however long that takes.
        :return: fires when each was asked, with the verdicts so far, by path; one that comes later calls ``decided``.
        """
        done: Deferred[dict[str, str | None]] = Deferred()
        left = iter(candidates.items())
        verdicts: dict[str, str | None] = dict.fromkeys(candidates)
        stops = self.stops

        def some() -> None:
            until = time.perf_counter() + _SLICE
            for path, candidate in left if stops == self.stops else ():
                verdicts[path] = self._verdict(path, candidate)
                if not at_once and time.perf_counter() > until:
                    self._reactor().callLater(0, some)
                    return
            late = {path: self._hearings[path].verdict for path in verdicts if path in self._hearings}
            done.callback({**verdicts, **late})

        some()
        return done

    def verdict(self, path: str, version: ModuleVersion) -> str | None:
        """Ask all validators of one version here and now; return their verdict, None where one has not answered.

        For a check without a server: those that want a thread get this one, and no answer is waited for.
        """
        concerned = self.concerned()
        if concerned is None or not concerned(version.module_id):
            return ""
        verdict = self._verdict(path, Candidate(version, version.module()), threads=False)
        if verdict is None:
            self._hearings.pop(path).end()
        return verdict

    def stop(self) -> None:
        """Forget what is under way."""
        self.stops += 1
        hearings, self._hearings = self._hearings, OrderedDict()
        for hearing in hearings.values():
            hearing.end()

    def _verdict(self, path: str, candidate: Candidate, *, threads: bool = True) -> str | None:
        known = self._hearings.get(path)
        if known is not None and known.token == self.token and known.version.serves_as(candidate.version):
            return known.verdict
        about = msgspec.structs.replace(candidate.version, data=b"", texts=())
        hearing = self._hearings[path] = _Hearing(about, self.token)
        self._hearings.move_to_end(path)
        self._forget_old()
        if known is not None:
            known.end()
        for rule in self._rules:
            if fnmatch.fnmatchcase(candidate.module.module_id, rule.modules) and hearing.verdict is None:
                call = self._in_thread if rule.thread and threads else _call
                self._ask(rule, call, path, hearing, candidate.module)
        hearing.asked = True
        self._settle(path, hearing, late=False)
        return hearing.verdict

    def _forget_old(self) -> None:
        """Forget up to two old verdicts for each new one: they may be of files that are gone."""
        for _ in range(2 if len(self._hearings) > _KEPT else 0):
            path, oldest = next(iter(self._hearings.items()))
            if oldest.over:
                del self._hearings[path]
            else:
                self._hearings.move_to_end(path)

    def _ask(self, rule: _Rule, call: _Call, path: str, hearing: _Hearing, module: OptimizedModule) -> None:
        started = self._reactor().seconds()
        answer = call(rule.validator, module)
        if answer.called and not isinstance(answer.result, (Failure, Deferred)):
            if self._reactor().seconds() - started > rule.timeout:  # it held up the reactor all that time
                hearing.verdict = _too_late(rule)
            return
        hearing.running.append(answer)
        limit = self._reactor().callLater(rule.timeout, self._late, rule, hearing, path)
        answer.addErrback(self._refused, hearing)
        answer.addBoth(self._answered, answer, limit, path, hearing)

    def _late(self, rule: _Rule, hearing: _Hearing, path: str) -> None:
        if hearing.verdict is None:
            hearing.verdict = _too_late(rule)
        self._settle(path, hearing, late=True)

    def _refused(self, failure: Failure, hearing: _Hearing) -> None:
        if not hearing.over and hearing.verdict is None:
            hearing.verdict = shown(failure.getErrorMessage() or "it does not say why; ask who keeps the game", 500)

    def _answered(
        self, _result: object, answer: Deferred[Any], limit: IDelayedCall, path: str, hearing: _Hearing
    ) -> None:
        if limit.active():
            limit.cancel()
        if answer in hearing.running:
            hearing.running.remove(answer)
            self._settle(path, hearing, late=True)

    def _settle(self, path: str, hearing: _Hearing, *, late: bool) -> None:
        """Decide once all have answered, or one is against it."""
        if not hearing.asked or (hearing.verdict is None and hearing.running):
            return
        hearing.verdict = hearing.verdict or ""
        hearing.end()
        if late and self._hearings.get(path) is hearing:
            self.decided(path)

    def _in_thread(self, validator: Validator, module: OptimizedModule) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        reactor = self._reactor()

        def fire(result: object) -> None:
            if not answer.called:  # what it returns may be a Deferred, or a coroutine
                maybeDeferred(lambda: result).chainDeferred(answer)

        def work() -> None:
            result: object
            try:
                result = Failure(CancelledError()) if answer.called else validator(module)
            except BaseException:
                result = Failure()
            reactor.callFromThread(ended, result)

        def ended(result: object) -> None:
            self._threads -= 1
            fire(result)
            self._start_threads()

        self._in_line.append((work, answer))
        self._start_threads()
        return answer

    def _start_threads(self) -> None:
        while self._in_line and self._threads < _THREADS:
            work, answer = self._in_line.popleft()
            if answer.called:  # its time was over before its turn
                continue
            self._threads += 1
            try:
                self._start_thread(work, "dspyreload-validator")
            except RuntimeError:  # the machine has no thread left
                self._threads -= 1
                answer.errback(Failure())


def _call(validator: Validator, module: OptimizedModule) -> Deferred[Any]:
    return maybeDeferred(validator, module)


def _too_late(rule: _Rule) -> str:
    return f"its own check did not answer within {rule.timeout:g} s; save again, or tell who keeps the game"
