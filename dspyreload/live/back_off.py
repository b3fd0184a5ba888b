"""One call, later: :class:`BackOff`."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["BackOff"]


class BackOff:
    """Calls ``call`` later, once at a time; after failures in a row ever later."""

    def __init__(self, clock: Callable[[], IReactorTime], call: Callable[[], None]) -> None:
        self._clock, self._call = clock, call
        self._later: IDelayedCall | None = None
        self._failures = 0

    @property
    def is_waiting(self) -> bool:
        """Whether a call is on its way."""
        return self._later is not None

    def after(self, delay: float) -> None:
        """Call in ``delay`` seconds, unless a call is on its way."""
        if not self.is_waiting:
            self._later = self._clock().callLater(delay, self._ring)

    def after_failure(self, first: float, longest: float) -> None:
        """Call after ``first`` seconds, twice as many for each failure before this one, and at most ``longest``."""
        self.after(min(longest, first * 2 ** min(self._failures, 16)))
        self._failures += 1

    def succeeded(self) -> None:
        """Take note that the failures in a row have ended."""
        self._failures = 0

    def cancel(self) -> None:
        """Call no more."""
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def _ring(self) -> None:
        self._later = None
        self._call()
