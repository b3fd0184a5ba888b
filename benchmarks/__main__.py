"""Measure, and print a table: ``python -m benchmarks [--only NAME] [--quick]``.

What was measured is written into ``benchmarks/results.json``, with plots beside it, and into ``docs/performance.md``
where all of it was measured and not in haste.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.document import fill_in
from benchmarks.figures import Benchmark, Figure, Results, demand, shown
from benchmarks.plots import plot

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
NAMES = (
    "pulse", "reload", "live", "whole", "idle", "timer", "storm", "memory", "lookup", "invoke", "many", "again",
    "scale", "start", "check",
)  # fmt: skip


def _benchmark(name: str) -> Benchmark:
    run: Benchmark = importlib.import_module(f"benchmarks.{name}").run
    return run


def _machine() -> dict[str, str]:
    packages = ("twisted", "watchdog", "dspy", "msgspec", "attrs", "watchfiles")
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def _show(console: Console, name: str, figures: Sequence[Figure]) -> None:
    table = Table(title=name, title_justify="left", show_lines=True)
    for column in ("what", "who", "median (spread)", "ratio", "must be"):
        table.add_column(column, justify="right" if column in ("median (spread)", "ratio") else "left")
    for figure in figures:
        limits = "\n".join(demand(figure, limit) for limit in figure.limits)
        who, much, ratios = ["dspyreload"], [shown(figure.ours, figure.unit)], [""]
        for peer, samples in figure.peers.items():
            ratio = figure.ratio(peer)
            who.append(peer)
            much.append(shown(samples, figure.unit))
            ratios.append("" if ratio is None else f"{ratio:.3g}")
        cells = (figure.what, "\n".join(who), "\n".join(much), "\n".join(ratios), limits)
        table.add_row(*map(Text, cells))
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; the exit status is 1 where a figure misses what it must reach."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, beside a peer or a limit.")
    parser.add_argument("--only", choices=NAMES, help="one of them")
    parser.add_argument("--quick", action="store_true", help="see that all can be measured; the figures mean little")
    parser.add_argument("--long", action="store_true", help="scale: 100,000 modules too, which takes minutes")
    parser.add_argument("--into", type=Path, default=HERE, help="where results.json and the plots go")
    options = parser.parse_args(arguments)
    if options.long:
        os.environ["BENCH_LONG"] = "1"
    console = Console(width=None if sys.stdout.isatty() else 150, markup=False, highlight=False)
    figures: dict[str, list[Figure]] = {}
    for name in [options.only] if options.only else NAMES:
        started = time.perf_counter()
        figures[name] = _benchmark(name)(quick=options.quick)
        _show(console, name, figures[name])
        console.print(f"{name}: {time.perf_counter() - started:.0f} s\n")
    _write(Results(machine=_machine(), quick=options.quick, figures=figures), options.into)
    missed = [figure.what for found in figures.values() for figure in found if figure.missed]
    if missed:
        console.print("missed: " + "; ".join(missed))
    return 1 if missed and not options.quick else 0


def _write(results: Results, into: Path) -> None:
    """Write what was measured; what was not measured this time is left as it is."""
    into.mkdir(parents=True, exist_ok=True)
    path = into / "results.json"
    if path.exists() and set(results.figures) != set(NAMES):
        old = Results.from_json(path.read_bytes())
        if old.quick == results.quick:
            known = {**old.figures, **results.figures}
            merged = {name: known[name] for name in NAMES if name in known}
            results = Results(machine=results.machine, quick=results.quick, figures=merged)
    path.write_bytes(results.to_json())
    with tempfile.TemporaryDirectory() as cache:
        os.environ.setdefault("MPLCONFIGDIR", cache)
        plot(results, into / "plots")
    if into == HERE and not results.quick:
        PAGE.write_text(fill_in(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
