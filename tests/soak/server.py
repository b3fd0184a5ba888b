"""The server of a soak: ``python -m tests.soak.server SETTINGS``. A reactor, a watching service, readers, a game.

What it prints, a line of JSON each: ``{"ready": ...}`` once, then a sample as often as it is asked for. On its standard
input ``served`` asks for what is served and counted, ``stop`` for its end, as does the end of that input.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.protocol import connectionDone
from twisted.internet.stdio import StandardIO
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import globalLogBeginner
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from dspyreload import (
    DSPyEngine,
    EventsDropped,
    HotReloadConfig,
    HotReloadEvent,
    HotReloadService,
    ModuleChanged,
    OptimizedModule,
)
from dspyreload.errors import UnknownModule
from dspyreload.model.snapshot import ModuleVersion
from tests.soak.content import WrongRead, number_in, places
from tests.soak.log import Log
from tests.soak.processes import die_with
from tests.soak.readers import Readers

__all__ = ["CONFIG", "Settings"]

CONFIG = HotReloadConfig(max_wait=0.5)  # two seconds of quiet never come while three writers save: more passes so

_PAGE = os.sysconf("SC_PAGE_SIZE")
_INVOKE_EVERY, _ASK_EVERY = 2.0, 5.0  # seconds
_SPOKEN = 20  # modules that are invoked
_WARM = 8  # calls before all begins: each of the first few starts a thread that stays
_RAISE_EVERY = 500  # events
_STOPPED_AT = 10  # samples


@attrs.frozen(kw_only=True)
class Settings:
    """What a server is to do.

    :ivar events: a file for what becomes live, and when. ``sample``: seconds between two samples.
    :ivar faults: what goes wrong on purpose: ``torn``, ``stopped``, ``threads``, ``descriptors``, ``memory``.
    """

    modules: str
    state: str
    events: str
    count: int
    sample: float
    parent: int
    faults: list[str] = attrs.field(factory=list)


def say(**words: Any) -> None:
    """Print a line."""
    sys.stdout.write(f"{json.dumps(words)}\n")
    sys.stdout.flush()


class Server:
    """An engine, its service, and a game that checks, listens, asks and speaks."""

    def __init__(self, settings: Settings, reactor: Any) -> None:
        self.settings, self._reactor = settings, reactor
        self.engine = DSPyEngine(settings.modules, lm="demos", load=False)
        self.service = HotReloadService(self.engine, CONFIG, state=settings.state)
        self._ids = [place.module_id for place in places(settings.count)]
        self._spoken = [place.module_id for place in places(settings.count) if place.named][:_SPOKEN]
        self._events = open(settings.events, "w", encoding="ascii")  # noqa: SIM115 - as long as the process
        self._chance = random.Random("soak server")
        self.counted: Counter[str] = Counter()
        self.problems: Counter[str] = Counter()
        self._leak: list[Any] = []
        self._writing = threading.Lock()
        self._torn = self._samples = 0
        bytes_of = self._torn_bytes if "torn" in settings.faults else lambda version: version.data
        self.readers = Readers(self.engine, self._ids, self._note, bytes_of, self._walk)
        self._loops: list[LoopingCall] = []

    async def start(self) -> None:
        """Begin to serve, and to be read."""
        self._play()
        self.service.startService()
        await self.service.when_ready()
        await self.engine.warm()
        for _ in range(_WARM):
            await self._invoke()
        for work, seconds in ((self._invoke, _INVOKE_EVERY), (self._ask, _ASK_EVERY)):
            await work()
            self._loops.append(LoopingCall(self._done(work)))
            self._loops[-1].start(seconds, now=False)
        self.readers.start()
        say(ready=self.engine.snapshot.generation)
        self._loops.append(LoopingCall(self.sample))
        self._loops[-1].start(self.settings.sample)

    async def stop(self) -> None:
        """End all, and say what is left."""
        for loop in self._loops:
            loop.stop()
        self.readers.stop()
        await DeferredList([self.service.stopService(), self.engine.close()])
        self._events.close()
        left = sorted(thread.name for thread in threading.enumerate() if thread is not threading.main_thread())
        say(left=left)

    # The game

    def _play(self) -> None:
        self.engine.validators.add(lambda module: _check(module))
        self.engine.validators.add(self._check_later, "roving*")
        self.engine.validators.add(_check, "town00.*", thread=True)
        self.service.subscribe(self._count)
        self.service.subscribe(lambda event: deferLater(self._reactor, 0, lambda: None))
        self.service.subscribe(self._raise)

    async def _check_later(self, module: OptimizedModule) -> None:
        await deferLater(self._reactor, 0.005, lambda: None)
        _check(module)

    def _count(self, event: HotReloadEvent) -> None:
        kind = type(event).__name__
        self.counted[kind] += event.count if isinstance(event, EventsDropped) else 1
        if isinstance(event, ModuleChanged):
            self._note("live", event.module_id, event.version)

    def _raise(self, _event: HotReloadEvent) -> None:
        self.counted["heard"] += 1
        if self.counted["heard"] % _RAISE_EVERY == 0:
            self.counted["raised"] += 1
            raise ValueError("a subscriber that raises now and then")

    async def _invoke(self) -> None:
        module_id = self._chance.choice(self._spoken)
        if module_id not in self.engine:
            return
        before = self.readers.marks[module_id]
        reply = await self.engine.invoke(module_id, player_message="Hello")
        self.counted["replies"] += 1
        self.readers.mark(module_id, int(str(reply["response"])), before)

    async def _ask(self) -> None:
        module_id = self._chance.choice(self._ids)
        if self.service.is_running:
            with contextlib.suppress(UnknownModule):  # it was deleted
                await self.engine.reload_module(module_id)

    def _done(self, work: Any) -> Any:
        def run() -> Deferred[None]:
            return Deferred.fromCoroutine(work()).addErrback(self._failed)

        return run

    def _failed(self, failure: Failure) -> None:
        self.problem(f"the game: {failure.getErrorMessage()}")

    def problem(self, words: str) -> None:
        """Count what should not be in a log."""
        if words in self.problems or len(self.problems) < 20:
            self.problems[words] += 1

    def _note(self, kind: str, module_id: str, version: str = "-") -> None:
        with self._writing:
            self._events.write(f"{kind} {module_id} {time.time():.4f} {version}\n")

    # What is looked at from outside

    def sample(self) -> None:
        """Say how much of the machine is in use."""
        self._samples += 1
        self._go_wrong()
        say(
            sample={
                "at": time.monotonic(),
                "memory": int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE,
                "threads": threading.active_count(),
                "descriptors": len(os.listdir("/proc/self/fd")) - 1,
                "state": sum(_size(self.settings.state + end) for end in ("", "-wal", "-shm")),
                "generation": self.engine.snapshot.generation,
                "looks": self.readers.looks,
                "wrong": self.readers.wrong,
                "passes": self.service.stats.passes,
                "reloads": self.service.stats.reloads_total,
            }
        )

    def served(self) -> None:
        """Say what is served, and what was counted."""
        stats = attrs.asdict(self.service.stats, recurse=False)
        say(
            served={version.path: version.version for version in self.engine.snapshot.values()},
            stats={name: value for name, value in stats.items() if isinstance(value, int)},
            counted=self.counted,
            health=self.service.health().status,
            wrong=self.readers.said,
            problems=self.problems,
        )

    def _go_wrong(self) -> None:
        faults = self.settings.faults
        if "stopped" in faults and self._samples == _STOPPED_AT:
            self.service.stopService()  # what is saved from now on is lost
        if "threads" in faults:
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        if "descriptors" in faults:
            self._leak.append(os.open(os.devnull, os.O_RDONLY))
        if "memory" in faults:
            self._leak.append(os.urandom(1 << 20))

    def _walk(self) -> int:
        calls = self.service.stats.calls
        return sum(stats.calls for versions in calls.values() for stats in versions.values())

    def _torn_bytes(self, version: ModuleVersion) -> bytes:
        self._torn += 1
        return version.data[: len(version.data) // 2] if self._torn % 1000 == 0 else version.data


class Orders(LineOnlyReceiver):
    """What comes on standard input."""

    delimiter = b"\n"

    def __init__(self, server: Server, reactor: Any) -> None:
        self._server, self._reactor = server, reactor

    def lineReceived(self, line: bytes) -> None:
        if line == b"served":
            self._server.served()
        elif line == b"stop":
            Deferred.fromCoroutine(self._server.stop()).addBoth(lambda _result: self._reactor.stop())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._reactor.running:
            self._reactor.stop()


def _check(module: OptimizedModule) -> None:
    try:
        number_in(module.module_id, module)
    except WrongRead as error:
        raise ValueError(str(error)) from None


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def main(settings: Settings) -> None:
    """Serve until it is told to stop."""
    die_with(settings.parent)
    from twisted.internet import reactor as installed

    reactor: Any = installed
    server = Server(settings, reactor)
    globalLogBeginner.beginLoggingTo([Log(server.problem)], discardBuffer=True, redirectStandardIO=False)
    StandardIO(Orders(server, reactor))
    reactor.callWhenRunning(
        lambda: Deferred.fromCoroutine(server.start()).addErrback(lambda failure: say(failed=failure.getTraceback()))
    )
    reactor.run()


if __name__ == "__main__":
    main(Settings(**json.loads(sys.argv[1])))
