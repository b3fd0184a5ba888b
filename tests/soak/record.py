"""What a soak has seen, put together from samples, journals and the server's own words."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

__all__ = ["Record", "Sample", "files_of", "percentile", "read_events", "read_journals", "undocumented"]

_LATE = 60.0  # seconds: so long after a file was made again, its module may still be away on a busy machine

Gaps = dict[str, list[tuple[float, float]]]
"""By module id: from when to when its file was away."""


@attrs.frozen(kw_only=True)
class Sample:
    """How much of the machine the server uses at one moment; memory and state in bytes."""

    at: float
    memory: int
    threads: int
    descriptors: int
    state: int
    generation: int
    looks: int
    wrong: int
    passes: int
    reloads: int


@attrs.frozen(kw_only=True)
class Record:
    """All of it.

    :ivar samples: while the writers wrote. ``seconds``: how long that was.
    :ivar did: what the writers did, by kind.
    :ivar disk: digest by path, as the files were at the end; ``served``: as they were served.
    :ivar stats: the service's; ``counted``: what subscribers heard, by kind.
    :ivar wrong: wrong looks, in words, at most a few; ``wrong_count``: all.
    :ivar away: looks that found no module though its file was there.
    :ivar latencies: seconds from a save to the word that it is live, sorted.
    :ivar settled: seconds from the last save to all being live. ``health``: at the end.
    :ivar problems: what should not be in a log, with counts. ``left``: threads after the end.
    """

    modules: int
    seconds: float
    samples: Sequence[Sample]
    did: Counter[str]
    disk: dict[str, str]
    served: dict[str, str]
    stats: dict[str, int]
    counted: dict[str, int]
    wrong: Sequence[str]
    wrong_count: int
    away: Sequence[str] = ()
    latencies: Sequence[float] = ()
    settled: float = 0.0
    health: str = "ok"
    problems: dict[str, int] = attrs.field(factory=dict)
    left: Sequence[str] = ()

    @property
    def saves(self) -> int:
        """How often a file was saved, well or broken."""
        return sum(self.did[kind] for kind in ("save", "same", "broken", "make"))

    def third(self, which: int) -> Sequence[Sample]:
        """Return the samples of the first, second or last third (0, 1, 2)."""
        count = len(self.samples)
        return self.samples[count * which // 3 : count * (which + 1) // 3]


def read_journals(paths: Iterable[Path]) -> tuple[Counter[str], dict[str, float], Gaps]:
    """Return what the writers did by kind, when each version was saved by digest, and when files were away."""
    did: Counter[str] = Counter()
    saved: dict[str, float] = {}
    gaps: Gaps = defaultdict(list)
    for path in paths:
        for line in path.read_text(encoding="ascii").splitlines():
            kind, what, at, digest = line.split(" ")
            did[kind] += 1
            if kind in ("save", "make"):
                saved[digest] = float(at)
            if kind == "delete":
                gaps[what].append((float(at), math.inf))
            elif kind == "make":
                gaps[what][-1] = (gaps[what][-1][0], float(at))
    return did, saved, gaps


def read_events(path: Path, saved: dict[str, float]) -> tuple[list[float], list[tuple[str, float]]]:
    """Return how long each version took to become live, sorted, and when which module was first seen to be away."""
    latencies: list[float] = []
    absences: list[tuple[str, float]] = []
    for line in path.read_text(encoding="ascii").splitlines():
        kind, module_id, at, version = line.split(" ")
        if kind == "live" and version in saved:
            latencies.append(max(0.0, float(at) - saved.pop(version)))
        elif kind == "absent":
            absences.append((module_id, float(at)))
    return sorted(latencies), absences


def undocumented(absences: Iterable[tuple[str, float]], gaps: Gaps) -> list[str]:
    """Return which modules were seen to be away when nobody had deleted their file."""
    return [
        f"{module_id} is away at {at:.3f}, and nobody deleted it"
        for module_id, at in absences
        if not any(since <= at <= until + _LATE for since, until in gaps.get(module_id, ()))
    ]


def files_of(modules: Path) -> dict[str, str]:
    """Return the digest of each module file that is on the disk, by its path."""
    return {
        path.relative_to(modules).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(modules.rglob("*.json"))
        if not path.name.startswith(".")
    }


def percentile(values: Sequence[float], percent: float) -> float:
    """Return a percentile of sorted values; 0 where there are none."""
    return values[min(len(values) - 1, int(len(values) * percent / 100))] if values else 0.0
