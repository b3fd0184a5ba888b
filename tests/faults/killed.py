"""A server that is killed again and again: ``python -m tests.faults.killed MODULES STATE ID ...``

It forks a server; when that has ended, the next one. Twisted and what we need of it are imported once, before the
first fork, so that a start takes no longer than the service itself. What it prints, a line each:

- ``begun PID``: a server begins.
- ``ready {...}``: it watches and has looked at everything; ``live {...}``: something else is live.
  Both with its number of each module, its generation and its health.
- ``log ...``: a line of the log. ``WRONG ...``: what must never be.
- ``ended STATUS``: the server's exit status, below 0 for a signal.
"""

from __future__ import annotations

import json
import os
import signal
import sys

import twisted.internet.epollreactor  # noqa: F401 - imported, not installed: that is for each server
import watchdog.observers  # noqa: F401
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogBeginner
from zope.interface import implementer

import dspyreload.disk.state
import dspyreload.live.keeping  # noqa: F401
from dspyreload import DSPyEngine, HotReloadConfig, HotReloadService
from dspyreload.model.snapshot import Snapshot

DEBOUNCE = 0.05

_WORDS = 2_000  # some 16 KB: what is written takes more than one page


def text(module_id: str, number: int) -> str:
    """Return the text of a module file that says of itself what it is; all of one id have the same length."""
    word = f"{number:06d}"
    return json.dumps({"instruction": f"{module_id} " + " ".join([word] * _WORDS)})


def number_of(module_id: str, instruction: str) -> int | None:
    """Return the number that an instruction was written with, or None where it was not written like this."""
    name, _, rest = instruction.partition(" ")
    words = rest.split(" ")
    if name == module_id and len(words) == _WORDS and len(set(words)) == 1 and words[0].isdigit():
        return int(words[0])
    return None


def say(line: str) -> None:
    """Print a line whole, or not at all."""
    os.write(1, f"{line}\n".encode())


@implementer(ILogObserver)
class Server:
    """An engine and its service, and a look at every snapshot that serves."""

    def __init__(self, modules: str, state: str, ids: list[str], starter: int) -> None:
        self._ids, self._state, self._starter = ids, state, starter
        self._seen: Snapshot | None = None
        self._word = "live"
        self.engine = DSPyEngine(modules, load=False)
        config = HotReloadConfig(debounce=DEBOUNCE, max_wait=0.5, rescan_interval=1.0)
        self.service = HotReloadService(self.engine, config, state=state)

    def run(self) -> None:
        """Serve until a signal comes."""
        from twisted.internet import reactor

        globalLogBeginner.beginLoggingTo([self], discardBuffer=True, redirectStandardIO=False)
        reactor.callWhenRunning(self._start)
        reactor.run()

    def _start(self) -> None:
        LoopingCall(self._look).start(0.002)
        self.service.startService()
        self.service.when_ready().addCallbacks(self._ready, lambda failure: None)

    def _ready(self, _service: object) -> None:
        self._seen, self._word = None, "ready"
        self._look()
        self._word = "live"

    def _look(self) -> None:
        if os.getppid() != self._starter:  # killed itself: nobody is left who would end this one
            os._exit(1)
        snapshot = self.engine.snapshot
        if snapshot is self._seen or not snapshot.generation:
            return
        self._seen = snapshot
        numbers = {}
        for module_id in self._ids:
            if module_id in snapshot:
                numbers[module_id] = number_of(module_id, snapshot[module_id].module().instruction)
        seen = {"numbers": numbers, "generation": snapshot.generation, "health": self.service.health().status}
        say(f"{self._word} {json.dumps(seen)}")

    def __call__(self, event: LogEvent) -> None:
        words = formatEvent(event)
        level = event.get("log_level", LogLevel.info)
        say(f"log {words!r}")
        if level is LogLevel.critical or (level is not LogLevel.info and self._state in words):
            say(f"WRONG logged: {words!r} {event.get('log_failure')!r}")


def main(modules: str, state: str, *ids: str) -> None:
    """Start a server, and one more whenever one has ended."""
    starter = os.getpid()
    while True:
        pid = os.fork()
        if pid == 0:
            try:
                Server(modules, state, list(ids), starter).run()
            except BaseException as error:
                say(f"WRONG raised: {error!r}")
                os._exit(1)
            os._exit(0)
        say(f"begun {pid}")
        _, status = os.waitpid(pid, 0)
        say(f"ended {os.waitstatus_to_exitcode(status)}")
        if os.waitstatus_to_exitcode(status) not in (0, -signal.SIGKILL):
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
