"""A game in a process of its own, inside a namespace: ``python -m tests.faults.inside ORDERS MODULES SETTINGS``

It prints lines of JSON: ``{"what": "event", ...}`` for each event, ``{"what": "log", ...}`` for each line of the log,
and answers what is written to the FIFO ``ORDERS``, a word a line: ``look``, ``reload`` and ``stop``.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import ensureDeferred
from twisted.logger import LogEvent, formatEvent, globalLogBeginner
from twisted.python.failure import Failure

from dspyreload import HotReloadEvent
from dspyreload.errors import HotReloadFailed
from tests.faults.ending import stop
from tests.faults.game import Game, reactor


def say(what: str, **more: Any) -> None:
    """Print a line whole."""
    os.write(1, (json.dumps({"what": what, **more}) + "\n").encode())


class Inside(Game):
    """A game that says all that happens to it."""

    def __init__(self, modules: Path, **settings: Any) -> None:
        super().__init__(modules, **settings)
        self.service.subscribe(self._event)

    def _event(self, event: HotReloadEvent) -> None:
        say("event", kind=type(event).__name__, **msgspec.to_builtins(event))

    def __call__(self, event: LogEvent) -> None:
        if event.get("log_namespace") == "dspyreload":
            say("log", level=event["log_level"].name, line=formatEvent(event))
        elif "log_failure" in event:
            say("log", level="critical", line=event["log_failure"].getTraceback())

    async def look(self) -> None:
        """Say how things are."""
        health, stats = self.service.health(), self.service.stats
        say(
            "look",
            health=health.status,
            reasons=health.reasons,
            served=self.served(),
            generation=self.engine.snapshot.generation,
            reloads=stats.reloads_total,
            rejected=stats.reloads_failed,
            passes=stats.passes,
        )

    async def reload(self) -> None:
        """Look at everything, as an operator asks for it, and say why that came to nothing if it did."""
        why = ""
        try:
            await self.engine.reload_all()
        except HotReloadFailed as error:
            why = str(error)
        say("reload", why=why)

    async def end(self) -> None:
        """Stop, and end the process."""
        say("stop", seconds=await stop(self))
        await self.stop()
        reactor.stop()


def obey(orders: str, obeyed: dict[str, Callable[[], Awaitable[None]]]) -> None:
    """Read orders until the process ends."""
    with open(os.open(orders, os.O_RDWR), encoding="utf-8") as lines:  # for writing too: there is no end of it
        for line in lines:
            reactor.callFromThread(run, obeyed[line.strip()])


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Do something, and say if it fails."""

    def failed(failure: Failure) -> None:
        say("failed", why=failure.getTraceback())

    ensureDeferred(work()).addErrback(failed)  # type: ignore[arg-type]


def main(orders: str, modules: str, settings: str) -> None:
    """Serve until it is told to stop."""
    game = Inside(Path(modules), **json.loads(settings))
    globalLogBeginner.beginLoggingTo([game], discardBuffer=True, redirectStandardIO=False)
    globals_of = {"look": game.look, "reload": game.reload, "stop": game.end}

    async def start() -> None:
        game.service.startService()
        await game.service.when_ready()
        say("ready")
        threading.Thread(target=obey, args=(orders, globals_of), name="orders", daemon=True).start()

    reactor.callWhenRunning(run, start)
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
