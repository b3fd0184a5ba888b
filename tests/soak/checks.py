"""What a soak must show: seven checks of its record."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence

import attrs

from tests.soak.record import Record, Sample

__all__ = ["VERSIONS", "Check", "checks_of", "median"]

MIB = 1 << 20

VERSIONS = 20  # of each module, that a state file keeps
_LARGEST = 4096  # bytes of a version in a state file: the file, its row and indexes
_WAL = 4 * MIB  # what the state file's journal may come to between two checkpoints, and then is cut back to

_GROWTH, _SLACK = 1.05, 4 * MIB
"""How much more memory the last third may use than the second. Two looks at one steady server differ by that much:
passes are of different sizes, the allocator hands out memory in arenas of 1 MiB (Python) and in heaps of each thread
(libc), and SQLite fills its page cache of 2 MiB. A leak of 100 bytes a save is 9.5 MiB in 100,000."""


@attrs.frozen
class Check:
    """One of them: what must be so, whether it is, and what was seen."""

    name: str
    passed: bool
    seen: str


def checks_of(record: Record) -> Iterator[Check]:
    """Make all seven."""
    yield _lost(record)
    yield _wrong(record)
    yield _memory(record)
    yield _flat(record, "threads", lambda sample: sample.threads)
    yield _flat(record, "descriptors", lambda sample: sample.descriptors)
    yield _state(record)
    yield _events(record)


def median(samples: Sequence[Sample], of: Callable[[Sample], int]) -> float:
    """Return the median of something in samples; 0 where there are none."""
    return statistics.median(of(sample) for sample in samples) if samples else 0.0


def _lost(record: Record) -> Check:
    differ = sorted(
        path for path in record.disk.keys() | record.served.keys() if record.disk.get(path) != record.served.get(path)
    )
    enough = len(record.disk) == record.modules
    words = f"{len(differ)} lost changes in {record.saves:,} saves of {len(record.disk)} modules"
    if differ:
        words += f": {', '.join(differ[:5])}"
    return Check("lost changes", not differ and enough and record.saves > 0, words)


def _wrong(record: Record) -> Check:
    looks = record.samples[-1].looks if record.samples else 0
    wrong = record.wrong_count + len(record.away)
    words = "; ".join([f"{wrong} wrong reads in {looks:,}", *record.wrong[:3], *record.away[:3]])
    return Check("wrong reads", wrong == 0 and looks > 0, words)


def _memory(record: Record) -> Check:
    middle, last = (median(record.third(which), lambda sample: sample.memory) for which in (1, 2))
    most = middle * _GROWTH + _SLACK
    words = f"{last / MIB:.1f} MiB in the last third, {middle / MIB:.1f} in the one before; at most {most / MIB:.1f}"
    return Check("memory", 0 < last <= most, words)


def _flat(record: Record, name: str, of: Callable[[Sample], int]) -> Check:
    """Compare the fewest of two thirds: what is there when no pass runs. One that is never let go of adds to them."""
    middle, last = (min((of(sample) for sample in record.third(which)), default=0) for which in (1, 2))
    most = max((of(sample) for sample in record.third(2)), default=0)
    words = f"{last} in the last third, {middle} in the one before; {most} while it works"
    left = f"; left at the end: {', '.join(record.left)}" if name == "threads" and record.left else ""
    return Check(name, 0 < last <= middle and not left, words + left)


def _state(record: Record) -> Check:
    """It keeps the last versions of each module: so large, and no larger, however much is saved."""
    bound = record.modules * VERSIONS * _LARGEST + _WAL
    largest = max((sample.state for sample in record.samples), default=0)
    words = f"{largest / MIB:.1f} MiB at its largest; {VERSIONS} versions of {record.modules} modules may take"
    return Check("state file", 0 < largest <= bound, f"{words} {bound / MIB:.1f}")


def _events(record: Record) -> Check:
    stats, counted = record.stats, record.counted
    pairs = {
        "ModuleChanged": "reloads_total",
        "ReloadError": "reloads_failed",
        "ModuleSkipped": "reloads_skipped",
        "raised": "subscriber_errors",
    }
    differ = [
        f"{counted.get(kind, 0):,} {kind}, {stats[name]:,} {name}"
        for kind, name in pairs.items()
        if counted.get(kind, 0) != stats[name]
    ]
    dropped = counted.get("EventsDropped", 0)
    odd = [f"{count} x {words}" for words, count in record.problems.items()]
    health = [] if record.health == "ok" else [f"health is {record.health}"]
    words = f"{sum(counted.get(kind, 0) for kind in pairs):,} heard, {dropped} dropped"
    faults = differ + health + odd[:5]
    return Check("events", not faults and dropped == 0 and stats["reloads_total"] > 0, "; ".join([words, *faults]))
