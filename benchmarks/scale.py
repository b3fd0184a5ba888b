"""How the engine grows with the number of modules: 100, 1,000, 10,000, and for a long profile 100,000, of 4 KB each.

In a fresh process for each size: the cold start, one change, a look-up, memory, and a reload of all. Beside each size:
a smaller one, of the same run. What does not depend on the number is asked to be flat, what does to be linear.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from pathlib import Path

from benchmarks.alone import alone
from benchmarks.figures import Figure, flat, times
from benchmarks.lookup import nanoseconds
from benchmarks.memory import collection, resident
from benchmarks.modules import directory_of, paths, rewritten

__all__ = ["run"]

_SIZE = 4096

Samples = dict[int, list[dict[str, float]]]


def measured(directory: str, count: int, revision: int, changes: int) -> dict[str, float]:
    """Read a directory, change one module again and again, then change all; say what each took in µs."""
    from dspyreload import DSPyEngine

    collection()
    before = resident()
    started = time.perf_counter()
    engine = DSPyEngine(directory)
    cold = time.perf_counter() - started
    collection()
    memory = resident() - before
    one = []
    path = paths(directory, count)[count // 2]
    hinted = [os.path.relpath(path, directory)]
    for number in range(changes):
        ((_path, data),) = rewritten(directory, 1, revision + number)
        Path(path).write_bytes(data)
        generation = engine.snapshot.generation
        started = time.perf_counter()
        engine.passes.look_here(paths=hinted)
        one.append(time.perf_counter() - started)
        assert engine.snapshot.generation == generation + 1
    fresh = rewritten(directory, count, revision + changes)
    for path, data in fresh:
        Path(path).write_bytes(data)
    del fresh
    old = dict(engine.snapshot)
    started = time.perf_counter()
    engine.passes.look_here()
    full = time.perf_counter() - started
    assert all(engine.snapshot[name] is not version for name, version in old.items())
    return {
        "cold": cold / count * 1e6,
        "full": full / count * 1e6,
        "one": statistics.median(one) * 1e6,
        "memory": memory / count,
    }


def _figures(samples: Samples, key: str, what: str, unit: str, beside: int, bound: float | None) -> list[Figure]:
    """Return a figure for each size: the larger ones with a smaller one beside them, and 10,000 with a limit."""
    peer, asked = f"{beside:,} modules", min(10_000, max(samples))
    figures = []
    for count, found in samples.items():
        larger = count > beside
        limits = (times(bound, peer),) if bound is not None and larger and count == asked else ()
        peers = {peer: flat(samples[beside], key)} if larger else {}
        figures.append(
            Figure(what=f"{what}, {count:,} modules", unit=unit, ours=flat(found, key), peers=peers, limits=limits)
        )
    return figures


def run(*, quick: bool) -> list[Figure]:
    """Measure."""
    sizes = [100, 1000] if quick else [100, 1000, 10_000, *([100_000] if os.environ.get("BENCH_LONG") else [])]
    samples: Samples = {count: [] for count in sizes}
    with contextlib.ExitStack() as stack:
        directories = {count: stack.enter_context(directory_of(count, _SIZE)) for count in sizes}
        for again in range(1 if quick else 2):
            for count, directory in directories.items():
                sample = alone(measured, directory, count, again * 1000 + 1, 20)
                looks = alone(nanoseconds, directory, count, 10)
                samples[count].append({**sample, "look": statistics.median(flat(looks, "ours"))})
    linear = 100 if quick else 1000
    return [
        *_figures(samples, "cold", "cold start for each", "µs", linear, 1.5),
        *_figures(samples, "full", "reload of all for each", "µs", linear, 1.5),
        *_figures(samples, "one", "one change", "µs", 100, 2),
        *_figures(samples, "look", "engine.snapshot[id]", "ns", 100, 2),
        *_figures(samples, "memory", "resident memory for each", "bytes", linear, None),
    ]
