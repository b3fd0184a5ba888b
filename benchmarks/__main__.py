"""Measure, and print tables: ``python -m benchmarks [--only NAME] [--quick]``.

A whole run writes ``benchmarks/results.json``, plots beside it, and the tables of ``docs/performance.md``. What was
measured in part or in haste goes elsewhere: into ``--into``, or a temporary directory.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
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


_NEEDED = ("dspy", "dspy_cli", "ldclient", "matplotlib", "watchfiles")


def _benchmark(name: str) -> Benchmark:
    run: Benchmark = importlib.import_module(f"benchmarks.{name}").run
    return run


def _machine() -> dict[str, str]:
    packages = ("dspyreload", "twisted", "watchdog", "dspy", "msgspec", "attrs", "watchfiles")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cores": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def _show(console: Console, name: str, figures: Sequence[Figure], *, judged: bool) -> None:
    table = Table(title=name, title_justify="left", show_lines=True)
    for column in ("what", "who", "median (spread)", "ratio", "must be"):
        table.add_column(column, justify="right" if column in ("median (spread)", "ratio") else "left")
    for figure in figures:
        limits = "\n".join(demand(figure, limit) for limit in figure.limits) if judged else ""
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
    """Run what was asked for; the exit status is 1 where a figure misses its limit, and 2 where nothing runs."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure dspyreload beside what else one could do; a whole run takes about ten minutes, and writes "
        "benchmarks/results.json, plots, and the tables of docs/performance.md, which says what each benchmark is.",
        epilog="The exit status is 1 where a figure misses what it must reach (never with --quick).",
    )
    parser.add_argument("--only", choices=NAMES, metavar="NAME", help=f"run one benchmark: {', '.join(NAMES)}")
    parser.add_argument(
        "--quick", action="store_true", help="see in a minute or two that all run; the figures mean little"
    )
    parser.add_argument("--long", action="store_true", help="scale: with 100,000 modules too, which takes minutes more")
    parser.add_argument("--into", type=Path, help="where results.json and the plots go, in place of benchmarks/")
    options = parser.parse_args(arguments)
    if lacking := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        print(f"the benchmarks need {', '.join(lacking)}: python -m pip install -e '.[bench]'", file=sys.stderr)
        return 2
    if options.long:
        os.environ["BENCH_LONG"] = "1"
    console = Console(width=None if sys.stdout.isatty() else 150, markup=False, highlight=False)
    figures: dict[str, list[Figure]] = {}
    for name in [options.only] if options.only else NAMES:
        console.print(f"{name} ...")
        started = time.perf_counter()
        figures[name] = _benchmark(name)(quick=options.quick)
        _show(console, name, figures[name], judged=not options.quick)
        console.print(f"{name}: {time.perf_counter() - started:.0f} s\n")
    results = Results(machine=_machine(), quick=options.quick, figures=figures)
    console.print("written: " + ", ".join(str(path) for path in _write(results, options.into)))
    missed = [] if options.quick else [figure.what for found in figures.values() for figure in found if figure.missed]
    if missed:
        console.print("missed: " + "; ".join(missed))
    return 1 if missed else 0


def _write(results: Results, into: Path | None) -> list[Path]:
    """Write what was measured, and return where. Only a whole run takes the place of another one."""
    whole = set(results.figures) == set(NAMES) and not results.quick
    directory = into or (HERE if whole else Path(tempfile.mkdtemp(prefix="dspyreload-bench-results-")))
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "results.json"
    path.write_bytes(results.to_json())
    with tempfile.TemporaryDirectory() as cache:
        os.environ.setdefault("MPLCONFIGDIR", cache)
        plot(results, directory / "plots")
    written = [path, directory / "plots"]
    if directory == HERE:
        PAGE.write_text(fill_in(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
        written.append(PAGE)
    return written


if __name__ == "__main__":
    sys.exit(main())
