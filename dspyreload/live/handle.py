"""What ``engine.enable_hot_reload`` gives: :class:`HotReloadHandle`."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed

from dspyreload.live.service import HotReloadService
from dspyreload.live.stats import HotReloadStats
from dspyreload.live.stream import EventStream

__all__ = ["HotReloadHandle"]


class HotReloadHandle:
    """A view of a running service, as ``engine.enable_hot_reload`` gives it.

    :ivar service: the service itself.
    """

    def __init__(self, service: HotReloadService) -> None:
        self.service = service

    @property
    def stats(self) -> HotReloadStats:
        """The service's counters."""
        return self.service.stats

    @property
    def is_running(self) -> bool:
        """Whether the service was started and not stopped."""
        return self.service.is_running

    def events(self) -> EventStream:
        """Return an async iterator over the events from now on; see ``HotReloadService.events``."""
        return self.service.events()

    def stop(self) -> Deferred[None]:
        """Stop watching; fires when nothing of the service is left. Twice does no harm."""
        if not self.service.running:
            return succeed(None)
        service = self.service
        stopped: Deferred[Any] = service.disownServiceParent() if service.parent is not None else service.stopService()
        return stopped.addCallback(lambda _results: None)
