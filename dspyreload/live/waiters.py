"""Who waits for a pass: the Deferreds of ``reload_module``, ``reload_all`` and ``when_ready``."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred

from dspyreload.errors import UnknownModule
from dspyreload.model.events import HotReloadEvent
from dspyreload.model.plan import Plan

__all__ = ["Waiters"]

_FEW = 500  # ids to search for the nearest one; among more that would hold up the reactor


@attrs.define(eq=False)
class _Waiter:
    """Somebody who waits for the events of a whole pass.

    :ivar patience: how many further looks to wait for, where a file was missing or broken at the first.
    :ivar stubborn: a pass that fails is not the end of waiting.
    """

    deferred: Deferred[tuple[HotReloadEvent, ...]]
    patience: int
    stubborn: bool
    events: list[HotReloadEvent] = attrs.field(factory=list)


class Waiters:
    """Those who wait, until a pass answers them. Cancelling a Deferred detaches it; the pass goes on."""

    def __init__(self) -> None:
        self._asked: dict[str, list[Deferred[HotReloadEvent]]] = {}
        self._waiting: list[_Waiter] = []

    @property
    def asked(self) -> frozenset[str]:
        """The ids that somebody waits for."""
        return frozenset(self._asked)

    def for_module(self, module_id: str) -> Deferred[HotReloadEvent]:
        """Wait for the event of one module."""

        def detach(deferred: Deferred[HotReloadEvent]) -> None:
            waiting = self._asked.get(module_id, [])
            if deferred in waiting:
                waiting.remove(deferred)

        deferred: Deferred[HotReloadEvent] = Deferred(detach)
        self._asked.setdefault(module_id, []).append(deferred)
        return deferred

    def for_all(self, patience: int, stubborn: bool) -> Deferred[tuple[HotReloadEvent, ...]]:
        """Wait for all events of the next pass that begins; see :class:`_Waiter`."""

        def detach(deferred: Deferred[tuple[HotReloadEvent, ...]]) -> None:
            self._waiting = [waiter for waiter in self._waiting if waiter.deferred is not deferred]

        waiter = _Waiter(Deferred(detach), patience, stubborn)
        self._waiting.append(waiter)
        return waiter.deferred

    def aboard(self) -> tuple[object, ...]:
        """Return those who wait for the pass that begins now; who comes later waits for the next."""
        return tuple(self._waiting)

    def answer(self, plan: Plan, aboard: tuple[object, ...]) -> None:
        """Tell what a pass did to those who waited for it, or have them wait for a second look."""
        for module_id, event in plan.answers.items():
            for deferred in self._asked.pop(module_id, []):
                if event is not None:
                    deferred.callback(event)
                else:
                    deferred.errback(UnknownModule(module_id, plan.snapshot if len(plan.snapshot) <= _FEW else ()))
        for waiter in tuple(self._waiting):
            if waiter not in aboard:
                continue
            waiter.events += plan.events
            waiter.patience -= 1
            if not plan.again or waiter.patience < 0:
                self._waiting.remove(waiter)
                waiter.deferred.callback(tuple(waiter.events))

    def fail(self, error: Callable[[], Exception], *, all_of_them: bool = False) -> None:
        """Fail those who wait, but for the stubborn ones."""
        asked, self._asked = self._asked, {}
        failed = [waiter for waiter in self._waiting if all_of_them or not waiter.stubborn]
        self._waiting = [waiter for waiter in self._waiting if waiter not in failed]
        for deferreds in asked.values():
            for deferred in deferreds:
                deferred.errback(error())
        for waiter in failed:
            waiter.deferred.errback(error())
