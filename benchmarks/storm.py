"""All of 10,000 modules saved within 5 s: what the watcher costs the reactor, and how long until all are live.

Counted are the calls with which watchdog's threads wake the reactor (``callFromThread``), for each quiet window of the
time from the first save until all is live; and timed is how long that takes after the last save.

Beside us, in turn: the handler that one writes first, which calls the reactor for each event, where a debounce of 0.1 s
is followed by the same reload of the whole tree in a thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.alone import alone, begin
from benchmarks.figures import Figure, at_most, flat
from benchmarks.modules import directory_of, module_id, rewrite
from benchmarks.pulse import reactor_with

__all__ = ["one_call_each", "ours", "run", "save_all"]

_DEBOUNCE = 0.1
_LOOK = 0.005
_PATIENCE = 60.0
_PEER = "callFromThread for each event"


def save_all(directory: str, count: int, revision: int, seconds: float) -> list[float]:
    """Return when the first save began and the last one ended."""
    taken = rewrite(directory, count, revision, seconds)
    ended = time.perf_counter()
    return [ended - taken, ended]


class _Storm:
    """Has a child save all modules, and looks until all are live.

    :param look: gives a mapping of ids to what serves.
    :param passes: says how many passes there were.
    :param done: called with what was counted.
    """

    def __init__(
        self,
        directory: str,
        count: int,
        seconds: float,
        look: Callable[[], Mapping[str, object]],
        passes: Callable[[], int],
        done: Callable[[dict[str, float]], None],
    ) -> None:
        from twisted.internet import reactor

        self._reactor: Any = reactor
        self._look, self._passes, self._done = look, passes, done
        self._left = [module_id(number) for number in range(count)]
        self._before = {name: look()[name] for name in self._left}
        self._passes_before, self._wakes = passes(), 0
        self._child = begin(save_all, directory, count, time.time_ns() // 10**6 % 10**6, seconds)
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        assert self._child.stdout.readline() == "ready\n"
        self._count_wakes()
        self._child.stdin.write("go\n")
        self._child.stdin.flush()
        self._until = time.perf_counter() + _PATIENCE
        self._see()

    def _count_wakes(self) -> None:
        from watchdog.utils import BaseThread

        call = self._reactor.callFromThread

        def counting(*arguments: Any, **named: Any) -> None:
            self._wakes += isinstance(threading.current_thread(), BaseThread)
            call(*arguments, **named)

        self._reactor.callFromThread = counting

    def _see(self) -> None:
        now, serving = time.perf_counter(), self._look()
        looked = 0
        while self._left and looked < 1000 and serving[self._left[-1]] is not self._before[self._left[-1]]:
            self._left.pop()
            looked += 1
        if self._left and now < self._until:
            self._reactor.callLater(_LOOK, self._see)
            return
        assert not self._left, f"{len(self._left)} are not live"
        out, _err = self._child.communicate()
        first, last = (float(when) for when in out.strip("[]\n").split(", "))
        windows = (now - first) / _DEBOUNCE
        passes = self._passes() - self._passes_before
        self._done({"wakes": self._wakes / windows, "passes": passes, "late": now - last, "seconds": last - first})


def ours(directory: str, count: int, seconds: float) -> dict[str, float]:
    from dspyreload import DSPyEngine, HotReloadConfig, HotReloadService

    engine: Any = DSPyEngine(directory, load=False)
    service = HotReloadService(engine, HotReloadConfig(debounce=_DEBOUNCE))

    def build(done: Callable[[dict[str, float]], None]) -> None:
        from twisted.internet import reactor

        def start() -> None:
            _Storm(directory, count, seconds, lambda: engine.snapshot, lambda: service.stats.passes, done)

        service.startService()
        service.when_ready().addCallback(lambda _ready: reactor.callLater(0.5, start))

    return reactor_with(build)


def one_call_each(directory: str, count: int, seconds: float) -> dict[str, float]:
    """Debounce on the reactor, as it is written first."""
    from twisted.internet.threads import deferToThread
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers import Observer

    from dspyreload import DSPyEngine

    engine: Any = DSPyEngine(directory)
    reloads: list[float] = []

    def build(done: Callable[[dict[str, float]], None]) -> None:
        from twisted.internet import reactor as installed

        reactor: Any = installed
        due: list[Any] = []

        def changed() -> None:
            if due and due[0].active():
                due[0].reset(_DEBOUNCE)
            else:
                due[:] = [reactor.callLater(_DEBOUNCE, reload)]

        def reload() -> None:
            reloads.append(time.perf_counter())
            deferToThread(engine.passes.look_here)

        class Handler(FileSystemEventHandler):
            def on_any_event(self, event: FileSystemEvent) -> None:
                if event.event_type in ("created", "modified", "moved", "deleted"):
                    reactor.callFromThread(changed)

        observer = Observer()
        observer.schedule(Handler(), directory, recursive=True)
        observer.start()
        reactor.addSystemEventTrigger("before", "shutdown", observer.stop)
        _Storm(directory, count, seconds, lambda: engine.snapshot, lambda: len(reloads), done)

    return reactor_with(build)


def run(*, quick: bool) -> list[Figure]:
    """Measure."""
    count, seconds, repeat = (1000, 0.5, 1) if quick else (10_000, 5.0, 2)
    mine: list[dict[str, float]] = []
    theirs: list[dict[str, float]] = []
    with directory_of(count, 4096) as directory:
        for _ in range(repeat):  # in turn: what slows the machine down slows both
            mine.append(alone(ours, directory, count, seconds))
            theirs.append(alone(one_call_each, directory, count, seconds))
    storm = f"{count:,} saves in {seconds:g} s"

    def figure(what: str, unit: str, key: str, **more: Any) -> Figure:
        return Figure(
            what=f"{storm}: {what}", unit=unit, ours=flat(mine, key), peers={_PEER: flat(theirs, key)}, **more
        )

    return [
        figure("wake-ups of the reactor by the watcher in each quiet window", "", "wakes", limits=(at_most(1),)),
        figure("passes", "", "passes"),
        figure("from the end of the last save until all are live", "s", "late"),
        figure(
            "the saves themselves", "s", "seconds", note="They are to take as long; where they are slower, so is all."
        ),
    ]
