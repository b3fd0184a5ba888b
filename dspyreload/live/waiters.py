"""Who waits for a pass: the Deferreds of ``reload_module``, ``reload_all`` and ``when_ready``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from dspyreload.errors import UnknownModule
from dspyreload.model.events import HotReloadEvent
from dspyreload.model.plan import Plan

__all__ = ["Aboard", "Waiters"]


@attrs.define(eq=False)
class _Waiter:
    """Somebody who waits for the events of a whole pass.

    :ivar patience: how many further looks to wait for, where a file was missing or broken at the first.
    :ivar stubborn: a pass that fails is not the end of waiting, and validators that have not answered are.
    """

    deferred: Deferred[tuple[HotReloadEvent, ...]]
    patience: int
    stubborn: bool
    events: list[HotReloadEvent] = attrs.field(factory=list)


@attrs.frozen
class Aboard:
    """Who waits for one pass."""

    asked: dict[str, tuple[Deferred[HotReloadEvent], ...]]
    waiting: tuple[_Waiter, ...]


class Waiters:
    """Those who wait, until a pass answers them. Cancelling a Deferred detaches it; the pass goes on."""

    def __init__(self) -> None:
        self._asked: dict[str, list[Deferred[HotReloadEvent]]] = {}
        self._waiting: list[_Waiter] = []

    def for_module(self, module_id: str) -> Deferred[HotReloadEvent]:
        """Wait for the event of one module."""

        deferred: Deferred[HotReloadEvent] = Deferred(lambda cancelled: self._forget(module_id, cancelled))
        self._asked.setdefault(module_id, []).append(deferred)
        return deferred

    def for_all(self, patience: int, stubborn: bool) -> Deferred[tuple[HotReloadEvent, ...]]:
        """Wait for all events of the next pass that begins; see :class:`_Waiter`."""

        def detach(deferred: Deferred[tuple[HotReloadEvent, ...]]) -> None:
            self._waiting = [waiter for waiter in self._waiting if waiter.deferred is not deferred]

        waiter = _Waiter(Deferred(detach), patience, stubborn)
        self._waiting.append(waiter)
        return waiter.deferred

    def aboard(self) -> Aboard:
        """Return those who wait for the pass that begins now; who comes later waits for the next."""
        return Aboard({name: tuple(waiting) for name, waiting in self._asked.items()}, tuple(self._waiting))

    def answer(self, plan: Plan, aboard: Aboard) -> None:
        """Tell what a pass did to those who waited for it, or have them wait for a second look."""
        for module_id, event in plan.answers.items():
            for deferred in aboard.asked.get(module_id, ()):
                self._forget(module_id, deferred)
                if deferred.called:  # cancelled by a callback of the one before
                    continue
                if event is not None:
                    deferred.callback(event)
                else:
                    deferred.errback(UnknownModule(module_id, plan.snapshot))
        for waiter in aboard.waiting:
            if waiter not in self._waiting:
                continue
            waiter.events += plan.events
            waiter.patience -= 1
            again = bool(plan.again) and waiter.patience >= 0
            if not again and (waiter.stubborn or not plan.checking):
                self._waiting.remove(waiter)
                waiter.deferred.callback(tuple(waiter.events))

    def fail(self, aboard: Aboard, error: Callable[[], Exception]) -> None:
        """Fail those who waited for a pass that failed, but for the stubborn ones."""
        failed = [waiter for waiter in aboard.waiting if waiter in self._waiting and not waiter.stubborn]
        self._waiting = [waiter for waiter in self._waiting if waiter not in failed]
        deferreds: list[Deferred[Any]] = []
        for module_id, asked in aboard.asked.items():
            for one in asked:
                self._forget(module_id, one)
                deferreds.append(one)
        for deferred in (*deferreds, *(waiter.deferred for waiter in failed)):
            if not deferred.called:  # cancelled by a callback of the one before
                deferred.errback(error())

    def fail_all(self, error: Callable[[], Exception]) -> None:
        """Fail whoever waits."""
        for waiter in self._waiting:
            waiter.stubborn = False
        self.fail(self.aboard(), error)

    def _forget(self, module_id: str, deferred: Deferred[HotReloadEvent]) -> None:
        waiting = self._asked.get(module_id, [])
        if deferred in waiting:
            waiting.remove(deferred)
        if not waiting:
            self._asked.pop(module_id, None)
