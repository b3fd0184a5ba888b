"""Run the benchmarks and print a table: ``python -m benchmarks [--only NAME] [--quick]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks import calls, check
from benchmarks.figures import Benchmark, table

BENCHMARKS: dict[str, Benchmark] = {"calls": calls.run, "check": check.run}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; the exit status is 1 where a figure misses what it must reach."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, beside a peer or a limit.")
    parser.add_argument("--only", choices=sorted(BENCHMARKS), help="one of them")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller repetitions")
    options = parser.parse_args(arguments)
    chosen = [options.only] if options.only else sorted(BENCHMARKS)
    missed = False
    for name in chosen:
        figures = BENCHMARKS[name](quick=options.quick)
        print(table(name, figures))
        missed = missed or any(figure.reached is False for figure in figures)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
