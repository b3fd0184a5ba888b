"""A command that runs again whenever something is saved below a directory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from twisted.internet.task import LoopingCall

from dspyreload.config import HotReloadConfig
from dspyreload.disk.identity import identity
from dspyreload.live.burst import Interest
from dspyreload.live.expecting import Expecting
from dspyreload.live.watcher import WatcherService

__all__ = ["watch"]

Again = Callable[[bool], frozenset[str]]
"""Run the command; told whether something was saved, or only time has passed. Returns further files that count."""


def watch(directory: str, config: HotReloadConfig, again: Again, reactor: Any = None) -> int:
    """Run a command now and after each change, until the user stops it; and now and then, for what no event tells of.

    :return: the exit status, 0.
    """
    if reactor is None:
        from twisted.internet import reactor
    _Watch(directory, config, again, reactor).start()
    reactor.run()
    return 0


class _Watch:
    def __init__(self, directory: str, config: HotReloadConfig, again: Again, reactor: Any) -> None:
        self._directory, self._again, self._reactor = directory, again, reactor
        self._texts: frozenset[str] = frozenset()
        self._expected = Expecting(lambda: reactor, self._saved)
        interest = Interest(config.watch_extensions, lambda path: path in self._texts)
        # It hints when it has begun to watch, which leads to the first look.
        self._watcher = WatcherService(directory, lambda paths: self._expected.wait(config), interest, reactor)
        self._expected.heard = self._watcher.take
        self._timer = LoopingCall(self._look, saved=False)
        self._timer.clock = reactor
        self._interval = config.rescan_interval

    def start(self) -> None:
        self._reactor.callWhenRunning(self._watcher.startService)
        self._reactor.callWhenRunning(self._timer.start, self._interval, now=False)
        self._reactor.addSystemEventTrigger("before", "shutdown", self._watcher.stopService)

    def _saved(self) -> None:
        self._expected.take()
        self._look(saved=True)

    def _look(self, *, saved: bool) -> None:
        try:
            self._texts = self._again(saved)
        except SystemExit:  # nobody reads what is printed any more
            self._reactor.stop()
            return
        with contextlib.suppress(OSError):
            self._watcher.check(identity(self._directory))
