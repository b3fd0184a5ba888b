"""The quiet window: many hints, one call."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["QuietWindow"]


class QuietWindow:
    """Calls ``due`` once the hints have been silent for ``quiet`` seconds, or after ``max_wait`` if they never are.

    :param clock: a reactor, or a ``task.Clock``.
    :param latest: asked at the end: when the latest hint came of which nobody told, in seconds of the clock, or None.
    """

    def __init__(
        self,
        clock: IReactorTime,
        due: Callable[[], None],
        quiet: float,
        max_wait: float,
        latest: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._clock, self._due, self._latest_hint = clock, due, latest
        self.quiet, self.max_wait = quiet, max(quiet, max_wait)
        self._call: IDelayedCall | None = None
        self._until = 0.0

    @property
    def waiting(self) -> bool:
        """Whether a call is due."""
        return self._call is not None

    def hint(self) -> None:
        """Start the window, or start it anew."""
        now = self._clock.seconds()
        if self._call is None:
            self._until = now + self.max_wait
            self._call = self._clock.callLater(self.quiet, self._fire)
        else:
            self._call.reset(max(0.0, min(self.quiet, self._until - now)))

    def cancel(self) -> None:
        """Forget the hints."""
        if self._call is not None:
            call, self._call = self._call, None
            call.cancel()

    def _fire(self) -> None:
        self._call = None
        latest, now = self._latest_hint(), self._clock.seconds()
        left = min(self.quiet, latest + self.quiet - now, self._until - now) if latest is not None else 0.0
        if left > 0:
            self._call = self._clock.callLater(left, self._fire)
        else:
            self._due()
