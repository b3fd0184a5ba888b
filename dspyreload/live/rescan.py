"""The slow timer: a look at the whole tree, for what no event tells of."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from dspyreload.config import HotReloadConfig
from dspyreload.live.passes import Passes

__all__ = ["Rescan"]

_DEEP_EVERY = 10


class Rescan:
    """Has all looked at each ``rescan_interval``, and each tenth time every byte read. For the reactor thread."""

    def __init__(self, passes: Passes, clock: Callable[[], IReactorTime]) -> None:
        self._passes, self._clock, self._config = passes, clock, HotReloadConfig()
        self._call: IDelayedCall | None = None
        self._looks = 0

    def start(self, config: HotReloadConfig) -> None:
        """Begin to count the time."""
        self._config, self._looks = config, 0
        self._call = self._clock().callLater(config.rescan_interval, self._ring)

    def stop(self) -> None:
        """Look no more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _ring(self, put_off: float = 0.0) -> None:
        interval, moment = self._config.rescan_interval, self._config.debounce
        if self._passes.expected.is_open and put_off < interval:
            # Somebody has just saved: he waits for a look at his file, and not for one at all of them.
            self._call = self._clock().callLater(moment, self._ring, put_off + moment)
            return
        self._looks += 1
        self._call = self._clock().callLater(interval, self._ring)
        self._passes.look(deep=self._looks % _DEEP_EVERY == 0)
