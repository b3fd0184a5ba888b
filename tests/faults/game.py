"""A running service whose every event and log line is kept: what tests of faults look at."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet import reactor as installed
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from dspyreload import DSPyEngine, HotReloadConfig, HotReloadEvent, HotReloadService

__all__ = ["LIMIT", "Game", "Play", "reactor", "text", "until"]

E = TypeVar("E", bound=HotReloadEvent)

reactor: Any = installed
LIMIT = 60.0  # seconds: far beyond what anything here needs on a busy machine


def text(instruction: str) -> str:
    """Return the text of a module file."""
    return json.dumps({"instruction": instruction})


async def until(true: Callable[[], bool], limit: float = LIMIT) -> None:
    """Wait until something is so, ``limit`` seconds at most."""
    latest = reactor.seconds() + limit
    while not true():
        assert reactor.seconds() < latest, f"not so within {limit} s"
        await deferLater(reactor, 0.01, lambda: None)


@implementer(ILogObserver)
class Game:
    """An engine and its running service, with all that was said of it.

    :ivar events: every event that a subscriber saw. ``logged``: every event of Twisted's log of our namespace.
    """

    def __init__(self, modules: Path, *, state: Path | None = None, **settings: Any) -> None:
        self.modules = modules
        self.engine = DSPyEngine(modules, load=state is None)
        self.service = HotReloadService(self.engine, HotReloadConfig(**{"debounce": 0.05, **settings}), state=state)
        self.events: list[HotReloadEvent] = []
        self.logged: list[LogEvent] = []
        self.service.subscribe(self.events.append)

    async def start(self) -> None:
        """Start, and wait until it is ready."""
        globalLogPublisher.addObserver(self)
        self.service.startService()
        await self.service.when_ready().addTimeout(LIMIT, reactor)

    async def stop(self) -> None:
        """Stop the service and the engine; both must end within 5 s of a quiet machine."""
        if self.service.running:
            await self.service.stopService().addTimeout(LIMIT, reactor)
        await self.engine.close().addTimeout(LIMIT, reactor)
        globalLogPublisher.removeObserver(self)

    def __call__(self, event: LogEvent) -> None:
        if event.get("log_namespace") == "dspyreload":
            self.logged.append(event)

    def lines(self, *levels: str) -> list[str]:
        """Return the lines of the log, of the levels that are named (``"error"``), or all of them."""
        return [str(formatEvent(event)) for event in self.logged if not levels or event["log_level"].name in levels]

    def heard(self, kind: type[E]) -> list[E]:
        """Return the events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def served(self) -> dict[str, str]:
        """Return the instructions that are served, by file."""
        modules = self.engine.snapshot.values()
        return {version.path: version.module().instruction for version in modules}

    def saved(self) -> dict[str, str]:
        """Return the instructions that are on the disk, by file."""
        files = self.modules.rglob("*.json")
        return {
            file.relative_to(self.modules).as_posix(): json.loads(file.read_text())["instruction"] for file in files
        }

    async def agree(self) -> None:
        """Wait until what is served is what is on the disk."""
        await until(lambda: self.served() == self.saved())

    async def passes(self, more: int) -> None:
        """Wait for that many passes more."""
        wanted = self.service.stats.passes + more
        await until(lambda: self.service.stats.passes >= wanted)


Play = Callable[..., Awaitable[Game]]
"""Starts a game: ``game = await play(rescan_interval=1.0)``."""
