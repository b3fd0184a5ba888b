"""A pass over 10,000 modules of which none has changed: what the timer starts every 10 s.

Beside us: ``os.walk`` with an ``os.stat`` of each file, in a process of its own, in turn.
"""

from __future__ import annotations

import os
import time

from benchmarks.alone import alone
from benchmarks.figures import Figure, times
from benchmarks.modules import directory_of

__all__ = ["look", "run", "walk"]

_PEER = "os.walk and os.stat"


def look(directory: str, repeat: int) -> list[float]:
    """Return the seconds of passes after the first one."""
    from dspyreload import DSPyEngine

    engine = DSPyEngine(directory)
    engine.passes.look_here()  # reads again what was written in the tick of the first look
    taken: list[float] = []
    for _ in range(repeat):
        started = time.perf_counter()
        engine.passes.look_here()
        taken.append(time.perf_counter() - started)
    return taken


def walk(directory: str, repeat: int) -> list[float]:
    """Return the seconds of looking at every file."""
    taken: list[float] = []
    for _ in range(repeat):
        started = time.perf_counter()
        for folder, _folders, files in os.walk(directory):
            for name in files:
                os.stat(os.path.join(folder, name))
        taken.append(time.perf_counter() - started)
    return taken


def run(*, quick: bool) -> list[Figure]:
    """Measure."""
    count, rounds, repeat = (2000, 2, 5) if quick else (10_000, 5, 10)
    ours: list[float] = []
    walked: list[float] = []
    with directory_of(count, 4096) as directory:
        for _ in range(rounds):
            walked += [1000 * seconds for seconds in alone(walk, directory, repeat)]
            ours += [1000 * seconds for seconds in alone(look, directory, repeat)]
    return [
        Figure(
            what=f"a pass over {count:,} modules that have not changed",
            unit="ms",
            ours=ours,
            peers={_PEER: walked},
            limits=(times(2, _PEER),),
        )
    ]
