"""All of 10,000 modules are others: how long a reload takes beside a reactor whose pulse it keeps.

Beside us, in a process of its own, in turn: a bare loop that reads each file, takes its SHA-256, decodes it with
msgspec and keeps the result. Also: our own reload without the pauses, and the longest stall of a timer of 1 ms
meanwhile.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from pathlib import Path
from typing import Any, cast

import msgspec

from benchmarks.alone import alone
from benchmarks.figures import Figure, flat, times
from benchmarks.invoke import in_reactor
from benchmarks.modules import directory_of, paths, rewritten

__all__ = ["bare", "ours", "run"]

_BARE = "read, SHA-256, msgspec"
_PAUSELESS = "ours on the calling thread, without pauses"
_TICK = 0.001


def _save_all(directory: str, count: int, revision: int) -> None:
    for path, data in rewritten(directory, count, revision):
        Path(path).write_bytes(data)
    time.sleep(0.05)  # what changed in the last tick of a file system's clock is read once more


def bare(directory: str, count: int) -> float:
    """Return the seconds of a loop of four lines."""
    names, kept = paths(directory, count), {}
    started = time.perf_counter()
    for path in names:
        with open(path, "rb") as file:
            data = file.read()
        kept[path] = (hashlib.sha256(data).hexdigest(), msgspec.json.decode(data))
    return time.perf_counter() - started


def ours(directory: str, count: int, revision: int) -> dict[str, float]:
    """Return the seconds of a reload beside a reactor, the longest stall in ms, and the seconds without pauses."""
    from twisted.internet.task import LoopingCall

    from dspyreload import DSPyEngine, HotReloadService
    from dspyreload.testing import FakeObserver

    engine = DSPyEngine(directory)
    _save_all(directory, count, revision)
    started = time.perf_counter()
    engine.passes.look_here()
    pauseless = time.perf_counter() - started

    async def work() -> tuple[float, list[float]]:
        service = HotReloadService(
            engine, make_observer=lambda polling: cast("Any", FakeObserver())
        )  # nothing is heard of saves
        service.startService()
        await service.when_ready()
        _save_all(directory, count, revision + 1)
        ticks: list[float] = []
        ticking = LoopingCall(lambda: ticks.append(time.perf_counter()))
        ticking.start(_TICK)
        started = time.perf_counter()
        events: tuple[Any, ...] = await engine.reload_all()
        taken = time.perf_counter() - started
        ticking.stop()
        assert len(events) == count
        await service.stopService()
        return taken, ticks

    taken, ticks = in_reactor(work)
    stall = max(later - sooner for sooner, later in itertools.pairwise(ticks)) - _TICK
    return {"seconds": taken, "stall": stall * 1000, "pauseless": pauseless}


def run(*, quick: bool) -> list[Figure]:
    """Measure."""
    count, repeat = (500, 1) if quick else (10_000, 5)
    bare_samples: list[float] = []
    our_samples: list[dict[str, float]] = []
    with directory_of(count, 4096) as directory:
        for again in range(repeat):
            bare_samples.append(alone(bare, directory, count))
            our_samples.append(alone(ours, directory, count, 1 + 2 * again))
    return [
        Figure(
            what=f"reload of {count:,} modules that are all others",
            unit="s",
            ours=flat(our_samples, "seconds"),
            peers={_BARE: bare_samples, _PAUSELESS: flat(our_samples, "pauseless")},
            limits=(times(2, _BARE),),
        ),
        Figure(what="longest stall of the reactor meanwhile", unit="ms", ours=flat(our_samples, "stall")),
    ]
