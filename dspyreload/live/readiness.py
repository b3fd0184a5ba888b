"""Who waits for a service to be ready: :class:`Readiness`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred, succeed

from dspyreload.errors import ServiceStopped

__all__ = ["Readiness"]

S = TypeVar("S")


class Readiness(Generic[S]):
    """Whether ``service`` is ready, and the Deferreds that wait for it.

    :ivar is_ready: whoever asks while it is need not wait.
    """

    def __init__(self, service: S) -> None:
        self.is_ready = False
        self._service = service
        self._waiting: list[Deferred[S]] = []

    def when_ready(self) -> Deferred[S]:
        """Return a Deferred that fires with the service: now where it is ready, else at :meth:`tell`.

        It fails at :meth:`stop`, where that comes first.
        """
        if self.is_ready:
            return succeed(self._service)
        deferred: Deferred[S] = Deferred(
            lambda cancelled: self._waiting.remove(cancelled) if cancelled in self._waiting else None
        )
        self._waiting.append(deferred)
        return deferred

    def tell(self) -> None:
        """Be ready, and fire what waits."""
        self.is_ready = True
        self._settle(lambda deferred: deferred.callback(self._service))

    def stop(self) -> None:
        """Fail what waits."""
        self._settle(lambda deferred: deferred.errback(ServiceStopped("the service stopped before it was ready")))

    def _settle(self, fire: Callable[[Deferred[S]], None]) -> None:
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            if not deferred.called:  # another's callback may have cancelled it
                fire(deferred)
