"""Save to live: how long after a save of one module of 10,000 its new version serves, beyond the quiet window.

This process saves; each who watches is a process of its own that says when it knew, by the clock that all processes
of the machine share. From the end of the save to the event of the new version (which comes a moment after the version
itself is in ``engine.snapshot``), less the debounce: the window begins when the last file event is heard, so what is
left is the way from the save to the window, and from the window through a pass to the subscribers.

Beside us, in turn, on copies of the same tree: watchdog with a handler that only takes the time of the event that ends
the save, and watchfiles with the least debounce that it has. Neither reads the file. Four ways of saving: in place, by
rename, vim's (the old one is renamed, a new one written, the old one deleted), and a Kubernetes ConfigMap's (all files
are written anew beside the old ones, and a link is renamed).
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.alone import begin
from benchmarks.figures import Figure, at_most
from benchmarks.modules import directory_of, paths
from benchmarks.saves import MOUNTED, SIZE, Save, as_vim, by_rename, in_place, mount

__all__ = ["run", "run_watchdog", "run_watchfiles", "serve"]

_DEBOUNCE = 0.1
_PATIENCE = 30.0
_PAUSE = 1.0  # seconds between two swaps of a ConfigMap, which the kubelet does once a minute at most
_PEERS = ("watchdog", "watchfiles")


def _say(what: str, when: float) -> None:
    print(when, what, flush=True)


# Who watches, each in a process of its own


def serve(directory: str) -> None:
    from twisted.internet import reactor

    from dspyreload import DSPyEngine, HotReloadConfig, HotReloadService, ModuleChanged

    engine: Any = DSPyEngine(directory, load=False)
    service = HotReloadService(engine, HotReloadConfig(debounce=_DEBOUNCE))

    def changed(event: object) -> None:
        if isinstance(event, ModuleChanged):
            _say(f"{directory}/{event.path}", time.perf_counter())

    def ready(_service: object) -> None:
        service.subscribe(changed)
        reactor.callLater(0.5, _say, "ready", 0.0)

    def begun() -> None:
        service.startService()
        service.when_ready().addCallback(ready)

    reactor.callWhenRunning(begun)
    reactor.run()


def run_watchdog(directory: str) -> None:
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers import Observer

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            now = time.perf_counter()
            if event.event_type in ("closed", "moved", "deleted"):
                _say("deleted " * (event.event_type == "deleted") + os.fsdecode(event.dest_path or event.src_path), now)

    observer = Observer()
    observer.schedule(Handler(), directory, recursive=True)
    observer.start()
    _say("ready", 0.0)
    observer.join()


def run_watchfiles(directory: str) -> None:
    from watchfiles import Change, watch

    # With yield_on_timeout its first yield says that it watches.
    for changes in watch(directory, watch_filter=None, debounce=1, step=1, rust_timeout=200, yield_on_timeout=True):
        now = time.perf_counter()
        for kind, path in changes:
            _say("deleted " * (kind is Change.deleted) + path, now)
        if not changes:
            _say("ready", 0.0)


class _Watcher:
    """A process that watches a tree."""

    def __init__(self, function: Callable[[str], None], directory: str) -> None:
        self.directory = directory
        self._process = begin(function, directory)
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._out, self._rest = self._process.stdout.fileno(), b""

    def wait_for(self, what: str) -> float:
        """Return when it said so."""
        until = time.perf_counter() + _PATIENCE
        while (left := until - time.perf_counter()) > 0:
            while b"\n" in self._rest:
                line, self._rest = self._rest.split(b"\n", 1)
                when, said = line.decode().split(" ", 1)
                if said == what:
                    return float(when)
            if select.select([self._out], [], [], left)[0]:
                self._rest += os.read(self._out, 1 << 16)
        raise TimeoutError(f"nothing was heard of {what}")

    def end(self) -> None:
        self._process.kill()
        with contextlib.suppress(ValueError):
            self._process.communicate()


def _latency(watcher: _Watcher, save: Save, path: str, revision: int, ours: bool) -> float:
    """Return the milliseconds from the end of a save until the watcher knew."""
    last = save(path, revision)
    saved = time.perf_counter()
    return (watcher.wait_for(path if ours else last) - saved - (_DEBOUNCE if ours else 0.0)) * 1000


def _p99(latencies: list[float]) -> float:
    return sorted(latencies)[math.ceil(len(latencies) * 0.99) - 1]


@contextlib.contextmanager
def _watching(directories: list[str]) -> Iterator[dict[str, _Watcher]]:
    functions = {"ours": serve, "watchdog": run_watchdog, "watchfiles": run_watchfiles}
    watchers = {
        name: _Watcher(functions[name], directory) for name, directory in zip(functions, directories, strict=True)
    }
    try:
        for watcher in watchers.values():
            watcher.wait_for("ready")
        yield watchers
    finally:
        for watcher in watchers.values():
            watcher.end()


def _rounds(
    watchers: dict[str, _Watcher],
    save: Save,
    files: Callable[[str, int], str],
    rounds: int,
    saves: int,
    first: int,
    pause: float = 0.0,
) -> dict[str, list[list[float]]]:
    """Return the latencies of each, by rounds."""
    found: dict[str, list[list[float]]] = {name: [[] for _ in range(rounds)] for name in watchers}
    for number in range(rounds * saves):
        time.sleep(pause)
        for name, watcher in watchers.items():  # in turn: what slows the machine down slows all
            path = files(watcher.directory, first + number)
            found[name][number // saves].append(_latency(watcher, save, path, first + number, name == "ours"))
    return found


def _figures(what: str, found: dict[str, list[list[float]]], note: str) -> list[Figure]:
    all_of = {name: [latency for part in parts for latency in part] for name, parts in found.items()}
    high = {name: [_p99(samples)] for name, samples in all_of.items()}
    return [
        Figure(
            what=f"save to live, {what}, beyond the quiet window, {which}",
            unit="ms",
            ours=samples["ours"],
            peers={name: samples[name] for name in _PEERS},
            limits=(at_most(bound),),
            note=note,
        )
        for which, samples, bound in (("p50", all_of, 4.0), ("p99", high, 10.0))
    ]


def _one_of_many(count: int, rounds: int, saves: int) -> list[Figure]:
    figures: list[Figure] = []
    ways: dict[str, Save] = {"in place": in_place, "by rename": by_rename, "vim's way": as_vim}
    with contextlib.ExitStack() as stack:
        watchers = stack.enter_context(_watching([stack.enter_context(directory_of(count, SIZE)) for _ in range(3)]))
        for number, (way, save) in enumerate(ways.items()):
            first = 1 + number * rounds * saves

            def file(directory: str, revision: int) -> str:
                return paths(directory, count)[revision * 7919 % count]

            note = (
                f"One of {count:,} modules, saved {rounds * saves} times in each way; the spread of a p50 is that of "
                "single saves. Neither peer reads the file; watchfiles waits for 1 ms of silence."
            )
            figures += _figures(way, _rounds(watchers, save, file, rounds, saves, first), note)
    return figures


def _mounted(rounds: int, saves: int) -> list[Figure]:
    def file(directory: str, revision: int) -> str:
        return f"{directory}/guest{revision % MOUNTED:06}.json"

    with contextlib.ExitStack() as stack:
        directories = [stack.enter_context(tempfile.TemporaryDirectory(prefix="dspyreload-bench-")) for _ in range(3)]
        for directory in directories:
            mount(file(directory, 0), 0)
        watchers = stack.enter_context(_watching(directories))
        found = _rounds(watchers, mount, file, rounds, saves, 1, _PAUSE)
    note = f"{MOUNTED} modules (a ConfigMap holds 1 MiB), all of them looked at; the old set is deleted before the end."
    return _figures("a ConfigMap's swap", found, note)


def run(*, quick: bool) -> list[Figure]:
    """Measure."""
    if quick:
        return _one_of_many(1000, 1, 6) + _mounted(1, 2)
    return _one_of_many(10_000, 4, 25) + _mounted(2, 5)
