"""How long it takes to look a module up: ``engine.snapshot[id]``, of 10,000 ids in random order.

Beside us: the same loop over a dict of the same ids and values.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping

from benchmarks.alone import alone
from benchmarks.figures import Figure, flat, times
from benchmarks.modules import directory_of, module_id

__all__ = ["nanoseconds", "run"]

_DICT = "a dict"


def _in_mapping(mapping: Mapping[str, object], ids: list[str]) -> float:
    started = time.perf_counter_ns()
    for name in ids:
        mapping[name]
    return (time.perf_counter_ns() - started) / len(ids)


def nanoseconds(directory: str, count: int, rounds: int) -> list[dict[str, float]]:
    """Return the nanoseconds of a look-up, in each of some rounds."""
    from dspyreload import DSPyEngine

    engine = DSPyEngine(directory)
    plain = dict(engine.snapshot)
    ids = [module_id(number) for number in range(count)]
    random.Random(7).shuffle(ids)
    samples = []
    for _ in range(rounds):
        started = time.perf_counter_ns()
        for name in ids:
            engine.snapshot[name]
        ours = (time.perf_counter_ns() - started) / count
        samples.append({"ours": ours, "kept": _in_mapping(engine.snapshot, ids), "dict": _in_mapping(plain, ids)})
    return samples


def run(*, quick: bool) -> list[Figure]:
    """Measure."""
    count, rounds, repeat = (10_000, 10, 2) if quick else (10_000, 30, 5)
    samples: list[dict[str, float]] = []
    with directory_of(count, 1024) as directory:
        for _ in range(repeat):
            samples.extend(alone(nanoseconds, directory, count, rounds))
    peers = {_DICT: flat(samples, "dict")}
    return [
        Figure(
            what=f"engine.snapshot[id], of {count:,}",
            unit="ns",
            ours=flat(samples, "ours"),
            peers=peers,
            limits=(times(3, _DICT),),
        ),
        Figure(
            what=f"snapshot[id] of a snapshot that is kept, of {count:,}",
            unit="ns",
            ours=flat(samples, "kept"),
            peers=peers,
        ),
    ]
