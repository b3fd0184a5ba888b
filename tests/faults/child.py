"""A server that tells all that it sees: ``python -m tests.faults.child '{"modules": "...", ...}'``

The object may also have ``state``, ``uid`` (to be another user from then on), ``late`` (start when SIGUSR2 comes) and
``settings`` (of the service). It prints lines of a word and an object: ``begun``; ``ready``; ``event`` and ``log`` for
each; ``report`` whenever SIGUSR1 comes; ``stopped``, with how many seconds that took, when SIGTERM came.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

import msgspec
import watchdog.observers  # noqa: F401 - another user may not be able to read it, nor a process without descriptors
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogBeginner
from zope.interface import implementer

import dspyreload.disk.state
import dspyreload.live.keeping  # noqa: F401
from dspyreload import DSPyEngine, HotReloadConfig, HotReloadEvent, HotReloadService

reactor: Any = installed
BEAT = 0.005  # seconds between two beats of the reactor's pulse


def say(word: str, **said: Any) -> None:
    """Print a line."""
    os.write(1, f"{word} {json.dumps(said)}\n".encode())


class Pulse:
    """Beats on the reactor, and keeps the longest time between two beats."""

    def __init__(self) -> None:
        self._last, self._longest = time.monotonic(), 0.0
        self._beating = LoopingCall(self._beat)

    def start(self) -> None:
        """Begin to beat."""
        self._beating.start(BEAT)

    def longest(self) -> float:
        """Return the longest time between two beats since this was last asked, in seconds."""
        self._beat()
        longest, self._longest = self._longest, 0.0
        return longest

    def _beat(self) -> None:
        now = time.monotonic()
        self._longest, self._last = max(self._longest, now - self._last), now


@implementer(ILogObserver)
class Server:
    """An engine and its service."""

    def __init__(self, modules: str, state: str | None, settings: dict[str, Any]) -> None:
        self.engine = DSPyEngine(modules, load=False)
        config = HotReloadConfig(**{"debounce": 0.05, "rescan_interval": 1.0, **settings})
        self.service = HotReloadService(self.engine, config, state=state)
        self.service.subscribe(self._heard)
        self.pulse = Pulse()

    def run(self, *, late: bool) -> None:
        """Serve until SIGTERM comes."""
        globalLogBeginner.beginLoggingTo([self], discardBuffer=True, redirectStandardIO=False)
        signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(self._report))
        signal.signal(signal.SIGUSR2, lambda *_: reactor.callFromThread(self._start))
        reactor.addSystemEventTrigger("before", "shutdown", self._stop)
        reactor.callWhenRunning(self.pulse.start)
        reactor.callWhenRunning(say, "begun", pid=os.getpid())
        if not late:
            reactor.callWhenRunning(self._start)
        reactor.run()

    def _start(self) -> None:
        self.service.startService()
        self.service.when_ready().addCallbacks(lambda _service: say("ready"), lambda failure: None)

    def _stop(self) -> Deferred[None]:
        began = time.monotonic()
        stopped = self.service.stopService().addCallback(lambda _result: self.engine.close())
        return stopped.addCallback(lambda _result: say("stopped", seconds=time.monotonic() - began))

    def _heard(self, event: HotReloadEvent) -> None:
        say("event", kind=type(event).__name__, at=time.time(), **msgspec.structs.asdict(event))

    def _report(self) -> None:
        health, stats, snapshot = self.service.health(), self.service.stats, self.engine.snapshot
        say(
            "report",
            longest=self.pulse.longest(),
            health=[health.status, *health.reasons],
            passes=stats.passes,
            reloads_total=stats.reloads_total,
            reloads_failed=stats.reloads_failed,
            generation=snapshot.generation,
            served={version.path: version.module().instruction for version in snapshot.values()},
        )

    def __call__(self, event: LogEvent) -> None:
        failure = event.get("log_failure")
        if event.get("log_namespace") == "dspyreload" or failure is not None:
            traceback = failure.getTraceback() if failure is not None else ""
            say("log", level=event["log_level"].name, text=formatEvent(event), traceback=traceback)


def become(uid: int) -> None:
    """Be another user, of no group but that user's."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def main(
    modules: str,
    state: str | None = None,
    uid: int | None = None,
    late: bool = False,
    settings: dict[str, Any] | None = None,
) -> None:
    """Serve."""
    if uid is not None:
        become(uid)
    Server(modules, state, settings or {}).run(late=late)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
