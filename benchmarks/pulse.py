"""How long the reactor stands still while all modules change: the stalls of a timer of 1 ms.

Beside us, each in a process of its own with the same child that writes the files: nothing but that child (the floor);
watchdog with an empty handler; the same reload on the reactor, and in a plain thread; and a home-made loop on the
reactor that reads and decodes. Ours in somebody else's server, where nothing global is changed, and in the process of
``twistd dspyreload``, with a state file. Of ours, stalls in a full garbage collection stand apart: in somebody else's
server it is their objects that it goes through. Those of the peers are always among theirs.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.alone import alone, begin
from benchmarks.figures import Figure, at_most, flat, more, times
from benchmarks.modules import directory_of, module_id, paths, rewrite

__all__ = ["Pulse", "reactor_with", "run"]

_TICK = 0.001
_PATIENCE = 60.0
_TWISTD = "from twisted.scripts.twistd import run; run()"


class Pulse:
    """A timer of 1 ms on the reactor, while a child rewrites all modules.

    :param look: gives a mapping of ids to what serves; None for nothing.
    :param written: called when the child is done.
    :param done: called with the stalls in ms and the full garbage collections, once all modules are others.
    """

    def __init__(
        self,
        directory: str,
        count: int,
        look: Callable[[], Mapping[str, object]] | None,
        done: Callable[[dict[str, Any]], None],
        written: Callable[[], None] = lambda: None,
    ) -> None:
        self._look, self._done, self._on_written = look, done, written
        self._ids = [module_id(number) for number in range(count)] if look is not None else []
        self._child = begin(rewrite, directory, count, time.time_ns() // 10**6 % 10**6)
        self._ticks: list[float] = []
        self._collections: list[tuple[float, float]] = []
        self._written_at = self._converged_at = 0.0
        assert self._child.stdout is not None
        assert self._child.stdout.readline() == "ready\n"

    def start(self) -> None:
        """Begin: a moment of quiet, then the child writes."""
        from twisted.internet import reactor

        self._reactor: Any = reactor
        self._before = [self._look()[name] for name in self._ids] if self._look is not None else []
        self._next = 0
        gc.callbacks.append(self._collected)
        self._began = time.perf_counter()
        reactor.callLater(0.2, self._go)
        self._tick()

    def _go(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write("go\n")
        self._child.stdin.flush()

    def _tick(self) -> None:
        now = time.perf_counter()
        self._ticks.append(now)
        if not self._written_at:
            if self._child.poll() is not None:
                self._written_at = now
                self._on_written()
        elif not self._converged_at and self._all_changed():
            self._converged_at = now
        if self._converged_at and now - self._converged_at > 0.3:
            self._end()
        elif now - self._began > _PATIENCE:
            raise TimeoutError(f"after {_PATIENCE:g} s {len(self._ids) - self._next} modules are not live")
        else:
            self._reactor.callLater(_TICK, self._tick)

    def _all_changed(self) -> bool:
        """Look on from where we were, at few of them: the pulse must not stall itself."""
        serving = self._look() if self._look is not None else {}
        until = min(len(self._ids), self._next + 100)
        while self._next < until and serving.get(self._ids[self._next]) is not self._before[self._next]:
            self._next += 1
        return self._next == len(self._ids)

    def _collected(self, phase: str, info: Mapping[str, int]) -> None:
        if info["generation"] != 2:
            return
        now = time.perf_counter()
        if phase == "start":
            self._collections.append((now, now))
        elif self._collections:
            self._collections[-1] = (self._collections[-1][0], now)

    def _end(self) -> None:
        gc.callbacks.remove(self._collected)
        stalls: list[float] = []
        collecting: list[float] = []
        for sooner, later in zip(self._ticks, self._ticks[1:], strict=False):
            stall = (later - sooner - _TICK) * 1000
            in_it = any(sooner <= began <= later for began, _ended in self._collections)
            (collecting if in_it else stalls).append(stall)
        stalls.sort()
        self._done(
            {
                "longest": stalls[-1],
                "high": stalls[int(len(stalls) * 0.999)],
                "collections": len(self._collections),
                "collection": max([(ended - began) * 1000 for began, ended in self._collections], default=0.0),
                "with_collections": max([*collecting, stalls[-1]]),
                "live": (self._converged_at - self._written_at) * 1000,
            }
        )


def reactor_with(build: Callable[[Callable[[dict[str, Any]], None]], None]) -> dict[str, Any]:
    """Run a reactor until what ``build`` sets up calls back, and return with what."""
    from twisted.internet import reactor

    results: list[dict[str, Any]] = []

    def done(result: dict[str, Any]) -> None:
        results.append(result)
        reactor.stop()

    reactor.callWhenRunning(build, done)
    reactor.run()
    return results[0]


def floor(directory: str, count: int) -> dict[str, Any]:
    """Only the child writes."""
    return reactor_with(lambda done: Pulse(directory, count, None, done).start())


def empty_handler(directory: str, count: int) -> dict[str, Any]:
    """Let watchdog watch, with a handler that does nothing."""
    from watchdog.events import FileSystemEventHandler
    from watchdog.observers import Observer

    observer = Observer()
    observer.schedule(FileSystemEventHandler(), directory, recursive=True)
    observer.start()
    try:
        return reactor_with(lambda done: Pulse(directory, count, None, done).start())
    finally:
        observer.stop()
        observer.join()


def ours(directory: str, count: int) -> dict[str, Any]:
    """dspyreload in a server of somebody else: nothing global is changed."""
    from dspyreload import DSPyEngine, HotReloadService

    engine = DSPyEngine(directory, load=False)
    service = HotReloadService(engine)

    def build(done: Callable[[dict[str, Any]], None]) -> None:
        from twisted.internet import reactor

        pulse = Pulse(directory, count, lambda: engine.snapshot, done)
        service.subscribe(lambda event: None)
        service.startService()
        service.when_ready().addCallback(lambda _ready: reactor.callLater(0.5, pulse.start))

    return reactor_with(build)


def _same_reload(directory: str, count: int, thread: bool) -> dict[str, Any]:
    """All that a pass of ours does, with no pause in it."""
    from twisted.internet.threads import deferToThread

    from dspyreload import DSPyEngine

    engine = DSPyEngine(directory)

    def build(done: Callable[[dict[str, Any]], None]) -> None:
        def reload() -> None:
            if thread:
                deferToThread(engine.passes.look_here)
            else:
                engine.passes.look_here()

        Pulse(directory, count, lambda: engine.snapshot, done, reload).start()

    return reactor_with(build)


def on_reactor(directory: str, count: int) -> dict[str, Any]:
    """Run the same reload on the reactor."""
    return _same_reload(directory, count, False)


def in_plain_thread(directory: str, count: int) -> dict[str, Any]:
    """Run the same reload in a thread of Twisted's pool."""
    return _same_reload(directory, count, True)


def home_made(directory: str, count: int) -> dict[str, Any]:
    """Read and decode on the reactor, as a loop of ten lines does."""
    serving: dict[str, Any] = {}

    def reload() -> None:
        for number, path in enumerate(paths(directory, count)):
            serving[module_id(number)] = json.loads(Path(path).read_bytes())

    reload()
    return reactor_with(lambda done: Pulse(directory, count, lambda: serving, done, reload).start())


def standalone(directory: str, count: int) -> dict[str, Any]:
    """The process of ``twistd dspyreload``, with a pulse that its ``--setup`` starts; its state file beside it."""
    with tempfile.TemporaryDirectory() as work:
        told = Path(work, "told.json")
        options = ["--modules", directory, "--setup", "benchmarks.pulsing", "--state", f"{work}/state.sqlite3"]
        command = [sys.executable, "-c", _TWISTD, "-n", "--pidfile=", "dspyreload", *options]
        environment = {**os.environ, "BENCH_TOLD": str(told), "BENCH_COUNT": str(count)}
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=_PATIENCE)
        result: dict[str, Any] = json.loads(told.read_bytes())
        return result


_FLOOR = "only the child that writes"
_REACTOR = "the same reload on the reactor"
_EMPTY = "watchdog with an empty handler"
_PEERS: dict[str, Callable[[str, int], dict[str, Any]]] = {
    _FLOOR: floor,
    _EMPTY: empty_handler,
    "the same reload in a thread": in_plain_thread,
    _REACTOR: on_reactor,
    "read and json.loads on the reactor": home_made,
}
_SLOW = {_REACTOR, "the same reload in a thread", "read and json.loads on the reactor", _EMPTY}


def _measure(count: int, size: int, repeat: int, above: float) -> list[Figure]:
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ("ours", "twistd", *_PEERS)}
    with directory_of(count, size) as directory:
        for again in range(repeat):  # in turn: what slows the machine down slows all
            for name, function in {**_PEERS, "ours": ours, "twistd": standalone}.items():
                if again < 2 or name not in _SLOW:
                    found[name].append(alone(function, directory, count))
        one = _one_of_them(directory, repeat) if above < 10 else []
    change = f"{count:,} modules of {size // 1024} KB change"
    longest = {name: flat(found[name], "with_collections") for name in _PEERS}
    figures = one
    for name, where in (("ours", "in your server"), ("twistd", "in twistd dspyreload")):
        samples = found[name]

        def figure(what: str, key: str, where: str = where, samples: Any = samples, **more: Any) -> Figure:
            unit = "" if key == "collections" else "ms"
            return Figure(what=f"{change}, {where}: {what}", unit=unit, ours=flat(samples, key), **more)

        limits = (more(above, _FLOOR), *([times(0.01, _REACTOR)] if above < 10 else []))
        figures.append(
            figure("longest stall, but for full garbage collections", "longest", peers=longest, limits=limits)
        )
        figures.append(figure("longest stall, full garbage collections among them", "with_collections", peers=longest))
        if above < 10:
            high = {_FLOOR: flat(found[_FLOOR], "high")}
            figures.append(figure("99.9th percentile of stalls", "high", peers=high, limits=(more(2, _FLOOR),)))
        figures.append(figure("full garbage collections", "collections"))
        limits = (at_most(5),) if name == "twistd" else ()
        figures.append(figure("the longest of these", "collection", limits=limits))
    return figures


def _one_of_them(directory: str, repeat: int) -> list[Figure]:
    """Measure while only the first module of the directory changes."""
    mine, alone_there = [], []
    for _ in range(repeat):
        alone_there.append(alone(floor, directory, 1))
        mine.append(alone(ours, directory, 1))
    peers = {_FLOOR: flat(alone_there, "with_collections")}
    return [
        Figure(
            what="one module of these changes, in your server: longest stall",
            unit="ms",
            ours=flat(mine, "with_collections"),
            peers=peers,
        )
    ]


def run(*, quick: bool) -> list[Figure]:
    """Measure."""
    if quick:
        return [*_measure(500, 4096, 1, 5.0), *_measure(20, 200 * 1024, 1, 10.0)]
    return [*_measure(10_000, 4096, 5, 5.0), *_measure(200, 200 * 1024, 3, 10.0)]
