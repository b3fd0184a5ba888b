"""The figures of a soak: a table for the terminal, and the same for ``docs/reliability.md``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.soak.checks import MIB, Check, median
from tests.soak.record import Record, percentile
from tests.soak.server import CONFIG

__all__ = ["markdown", "table"]


def table(record: Record, checks: Sequence[Check]) -> Iterator[str]:
    """Yield the lines of both tables, as text."""
    rows = [*_rows(record), *((check.name, ("ok: " if check.passed else "FAILED: ") + check.seen) for check in checks)]
    width = max(len(name) for name, _words in rows)
    for name, words in rows:
        yield f"{name:<{width}}  {words}"


def markdown(record: Record, checks: Sequence[Check], command: str) -> str:
    """Return the section of ``docs/reliability.md``."""
    lines = ["## The soak", "", _INTRODUCTION.format(command=command), "", "| check | | seen |", "|---|---|---|"]
    lines += [f"| {check.name} | {'passed' if check.passed else '**failed**'} | {check.seen} |" for check in checks]
    lines += ["", "| | |", "|---|---|", *(f"| {name} | {words} |" for name, words in _rows(record))]
    return "\n".join(lines)


_INTRODUCTION = """\
Three processes save for as long as the run lasts, each in its own way: in place in four chunks, by a temporary file and
a rename, and as vim does. Some saves are broken and mended later, some files are deleted and made again, some folders
get another name. Ten threads of the server look modules up and hold each look against what was written: whole, of one
version, never an older one than before, and never away unless the file was deleted.

Made by `{command}`."""


def _rows(record: Record) -> Iterator[tuple[str, str]]:
    did, last, minutes = record.did, record.samples[-1], record.seconds / 60
    yield "time", f"{minutes:.1f} minutes"
    yield "saves", f"{record.saves:,} ({record.saves / record.seconds:.0f} a second) of {record.modules} modules"
    yield "of them", f"{did['broken']:,} broken, {did['same']:,} of the same bytes, {did['make']:,} after a deletion"
    yield "folders moved", f"{did['move']:,}"
    yield "looks", f"{last.looks:,} ({last.looks / record.seconds:,.0f} a second)"
    yield "passes", f"{last.passes:,}; generation {last.generation:,} at the end"
    yield "versions that went live", f"{record.stats['reloads_total']:,}"
    yield "rejections", f"{record.stats['reloads_failed']:,}"
    yield "calls of modules meanwhile", f"{record.counted.get('replies', 0):,}"
    yield "from a save to live", _latency(record)
    yield "from the last save to all live", f"{record.settled:.1f} s"
    for which, name in enumerate(("first", "second", "last")):
        third = record.third(which)
        memory, state = (median(third, of) / MIB for of in (lambda s: s.memory, lambda s: s.state))
        yield f"memory, state file, {name} third", f"{memory:.1f} MiB, {state:.1f} MiB"


def _latency(record: Record) -> str:
    half, most = (percentile(record.latencies, percent) for percent in (50, 99))
    settings = f"a quiet window of {CONFIG.debounce:g} s, {CONFIG.max_wait:g} s at most"
    return f"p50 {half:.2f} s, p99 {most:.2f} s ({settings})"
