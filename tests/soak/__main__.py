"""A soak: ``python -m tests.soak --nightly``, or ``--minutes 2`` for a short one.

500 modules, three writers in three saving styles, ten readers. The last line is ``7 passed, 0 failed``, with exit
status 1 where one failed. ``--write`` puts the figures into ``docs/reliability.md``.
"""

from __future__ import annotations

import argparse
import signal
import sys

from tests.reliability import put_section
from tests.soak.checks import checks_of
from tests.soak.figures import markdown, table
from tests.soak.run import Soak, run

__all__ = ["main"]

_NIGHTLY = Soak()


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--nightly", action="store_true", help="forty minutes, 100,000 saves: the default")
    parser.add_argument("--minutes", type=float, default=_NIGHTLY.minutes)
    parser.add_argument("--saves", type=int, help="how many in all; by default 2,500 a minute")
    parser.add_argument("--modules", type=int, default=_NIGHTLY.modules)
    parser.add_argument("--write", action="store_true", help="put the figures into docs/reliability.md")
    parser.add_argument("--fault", action="append", default=[], help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run a soak; return the exit status."""
    options = _options(arguments)
    minutes = _NIGHTLY.minutes if options.nightly else options.minutes
    saves = options.saves or round(_NIGHTLY.saves * minutes / _NIGHTLY.minutes)
    soak = Soak(minutes=minutes, saves=saves, modules=options.modules, faults=tuple(options.fault))
    command = f"python -m tests.soak --minutes {minutes:g} --saves {saves}"
    print(f"{command}: {soak.modules} modules, three writers, ten readers", flush=True)
    record = run(soak, lambda words: print(words, flush=True))
    checks = list(checks_of(record))
    print("", *table(record, checks), sep="\n")
    if options.write:
        put_section("soak", markdown(record, checks, command))
    passed = sum(check.passed for check in checks)
    print(f"{passed} passed, {len(checks) - passed} failed")
    return int(passed < len(checks))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))  # so that nothing is left in /tmp
    sys.exit(main())
