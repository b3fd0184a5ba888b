"""What modules of 4 KB cost a process that serves them: resident bytes of each, and a full garbage collection.

Beside us, in processes that import the same: the bytes of the files themselves, and the decoded objects in a dict; for
the collection also a process that has nothing loaded. A directory of one module is read first, so that what the first
reading imports is not counted. Resident bytes are those after the reading minus those before it, with a
``gc.collect()`` before both. The collection is the median of five; what modules add to it is that median minus the one
before the reading, in the same process.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.alone import alone
from benchmarks.figures import Figure, flat, times
from benchmarks.modules import directory_of, module_id, paths

__all__ = ["collection", "resident", "run"]

_SIZE = 4096


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def collection() -> float:
    """Return the milliseconds of a full garbage collection."""
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        gc.collect()
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)


def _decoded(directory: str, count: int) -> dict[str, Any]:
    return {
        module_id(number): json.loads(Path(path).read_bytes()) for number, path in enumerate(paths(directory, count))
    }


def loaded(who: str, one: str, directory: str, count: int) -> dict[str, float]:
    """Read a directory, and say what that added: bytes of each module, and milliseconds of a collection."""
    from dspyreload import DSPyEngine

    kept: list[object] = [DSPyEngine(one), _decoded(one, 1)]
    collecting, before = collection(), resident()
    if who == "ours":
        kept.append(DSPyEngine(directory))
    elif who == "decoded":
        kept.append(_decoded(directory, count))
    full = collection()
    return {"bytes": (resident() - before) / count, "collection": full, "added": max(0.0, full - collecting)}


def run(*, quick: bool) -> list[Figure]:
    """Measure."""
    count, repeat = (1000, 2) if quick else (10_000, 5)
    samples: dict[str, list[dict[str, float]]] = {"ours": [], "decoded": [], "nothing": []}
    with directory_of(1, _SIZE) as one, directory_of(count, _SIZE) as directory:
        for _ in range(repeat):
            for who, found in samples.items():
                found.append(alone(loaded, who, one, directory, count))
    ours, decoded, nothing = samples["ours"], samples["decoded"], samples["nothing"]
    return [
        Figure(
            what=f"resident memory of each of {count:,} modules",
            unit="bytes",
            ours=flat(ours, "bytes"),
            peers={"the file's bytes": [_SIZE], "decoded objects in a dict": flat(decoded, "bytes")},
            limits=(times(2, "the file's bytes"), times(0.25, "decoded objects in a dict")),
        ),
        Figure(
            what=f"what {count:,} modules add to a full garbage collection",
            unit="ms",
            ours=flat(ours, "added"),
            peers={"decoded objects in a dict": flat(decoded, "added")},
            limits=(times(0.1, "decoded objects in a dict"),),
        ),
        Figure(
            what=f"full garbage collection of a process with {count:,} modules",
            unit="ms",
            ours=flat(ours, "collection"),
            peers={
                "decoded objects in a dict": flat(decoded, "collection"),
                "nothing loaded": flat(nothing, "collection"),
            },
        ),
    ]
