"""The quiet window: many hints, one call."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["QuietWindow"]


class QuietWindow:
    """Calls ``due`` once the hints have been silent for ``quiet`` seconds, or after ``max_wait`` if they never are.

    :param clock: a reactor, or a ``task.Clock``.
    """

    def __init__(self, clock: IReactorTime, due: Callable[[], None], quiet: float, max_wait: float) -> None:
        self._clock, self._due = clock, due
        self.quiet, self.max_wait = quiet, max(quiet, max_wait)
        self._call: IDelayedCall | None = None
        self._latest = 0.0

    @property
    def waiting(self) -> bool:
        """Whether a call is due."""
        return self._call is not None

    def hint(self) -> None:
        """Start the window, or start it anew."""
        now = self._clock.seconds()
        if self._call is None:
            self._latest = now + self.max_wait
            self._call = self._clock.callLater(self.quiet, self._fire)
        else:
            self._call.reset(max(0.0, min(self.quiet, self._latest - now)))

    def cancel(self) -> None:
        """Forget the hints."""
        if self._call is not None:
            call, self._call = self._call, None
            call.cancel()

    def _fire(self) -> None:
        self._call = None
        self._due()
