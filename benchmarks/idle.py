"""What watching 10,000 modules costs while nobody saves: CPU time, in percent of one core.

All of them watch the same tree at the same time, each in a process of its own that reads its own CPU time. Ours with
its default settings, and the pass over the whole tree that its timer starts every 10 s; watchdog's ``PollingObserver``,
which looks at the tree every second; watchfiles, which asks the kernel; and what the file system alone takes, an
``os.walk`` with an ``os.stat`` of each file as often as our pass.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from benchmarks.alone import begin, finish
from benchmarks.figures import Figure, at_most
from benchmarks.modules import directory_of

__all__ = ["ours", "polling", "run", "walking", "with_watchfiles"]

_SETTLED = 1.0  # seconds after the start
_EVERY = 10.0  # seconds, as our rescan_interval


def _go() -> None:
    """Wait until all of them are ready."""
    print("ready", flush=True)
    sys.stdin.readline()


def _percent(seconds: float) -> float:
    """Return what the threads of this process take meanwhile."""
    used, started = time.process_time(), time.perf_counter()
    time.sleep(seconds)
    return 100 * (time.process_time() - used) / (time.perf_counter() - started)


def ours(directory: str, seconds: float) -> float:
    from twisted.internet import reactor
    from twisted.internet.threads import deferToThread

    from dspyreload import DSPyEngine, HotReloadService

    service = HotReloadService(DSPyEngine(directory, load=False))
    found: list[float] = []

    def measure() -> float:
        time.sleep(_SETTLED)
        _go()
        return _percent(seconds)

    def ended(percent: float) -> None:
        found.append(percent)
        reactor.stop()

    def begun() -> None:
        service.startService()
        service.when_ready().addCallback(lambda _ready: deferToThread(measure)).addCallback(ended)

    reactor.callWhenRunning(begun)
    reactor.run()
    return found[0]


def polling(directory: str, seconds: float) -> float:
    from watchdog.events import FileSystemEventHandler
    from watchdog.observers.polling import PollingObserver

    observer = PollingObserver()
    observer.schedule(FileSystemEventHandler(), directory, recursive=True)
    observer.start()
    time.sleep(_SETTLED)
    _go()
    percent = _percent(seconds)
    observer.stop()
    observer.join()
    return percent


def with_watchfiles(directory: str, seconds: float) -> float:
    from watchfiles import watch

    def work(stopped: threading.Event) -> None:
        for _changes in watch(directory, stop_event=stopped):
            pass

    return _beside(work, seconds)


def walking(directory: str, seconds: float) -> float:
    """Look at all as our timer does, and keep nothing."""

    def work(stopped: threading.Event) -> None:
        while not stopped.wait(_EVERY):
            for folder, _folders, files in os.walk(directory):
                for name in files:
                    os.stat(os.path.join(folder, name))

    return _beside(work, seconds)


def _beside(work: Callable[[threading.Event], None], seconds: float) -> float:
    """Measure while a thread works that ends when it is told to."""
    stopped = threading.Event()
    thread = threading.Thread(target=work, args=(stopped,))
    thread.start()
    time.sleep(_SETTLED)
    _go()
    percent = _percent(seconds)
    stopped.set()
    thread.join()
    return percent


def _at_once(functions: list[Callable[..., Any]], directory: str, seconds: float) -> list[float]:
    processes = [begin(function, directory, seconds) for function in functions]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [float(finish(process)) for process in processes]


def run(*, quick: bool) -> list[Figure]:
    """Measure."""
    count, seconds = (500, 3.0) if quick else (10_000, 60.0)
    with directory_of(count, 4096) as directory:
        mine, polled, asked, walked = _at_once([ours, polling, with_watchfiles, walking], directory, seconds)
    return [
        Figure(
            what=f"CPU of watching {count:,} modules for {seconds:g} s, all at the same time",
            unit="% of a core",
            ours=[mine],
            peers={
                "watchdog's PollingObserver": [polled],
                "watchfiles": [asked],
                "os.walk and os.stat, once in 10 s": [walked],
            },
            limits=(at_most(0.5),),
            note="A pass every 10 s is in ours"
            + (" (none falls into so short a time)." if quick else "; the full read of every tenth of them is not."),
        )
    ]
