"""Try what may happen to a modules directory and its server, in other orders each time: ``python -m tests.model``."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait

from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Machine
from tests.model.test_machine import A_RUN
from tests.reliability import put_section

_EXAMPLES = 50  # of one seed
_SAY_EVERY = 5000  # steps


def _part(number: int) -> tuple[int, Counter[str], Counter[str], str]:
    """Run what one seed gives; return it, how often each rule ran, what was seen, and the difference that was found."""
    Machine.done.clear()
    Machine.seen.clear()
    options = settings(A_RUN, derandomize=False, max_examples=_EXAMPLES, report_multiple_bugs=False)
    difference = ""
    try:
        run_state_machine_as_test(seed(number)(type("Machine", (Machine,), {})), settings=options)
    except Exception as error:
        difference = "".join(traceback.format_exception(error))
    return number, Machine.done.copy(), Machine.seen.copy(), difference


def main() -> int:
    """Run until enough steps are done, or a difference is found."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000, help="how many steps to do (100,000)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000_000, help="of the first part")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes to run (1)")
    parser.add_argument("--write", action="store_true", help="write what came of it into docs/reliability.md")
    arguments = parser.parse_args()
    print(f"from seed {arguments.seed}", flush=True)
    begun = time.monotonic()
    done, seen, difference = _run(arguments.steps, arguments.seed, arguments.jobs, begun)
    if difference:
        print(difference)
        return 1
    text = _summary(done, seen, time.monotonic() - begun, arguments.steps)
    print(text)
    for name, count in done.most_common():
        print(f"{count:>8,} {name}")
    if arguments.write:
        put_section("model", text)
    return 0


def _run(steps: int, number: int, jobs: int, begun: float) -> tuple[Counter[str], Counter[str], str]:
    done, seen, said = Counter[str](), Counter[str](), 0
    with ProcessPoolExecutor(jobs) as pool:
        parts = {pool.submit(_part, number + job) for job in range(jobs)}
        number += jobs
        while parts:
            ended, parts = wait(parts, return_when=FIRST_COMPLETED)
            for part in ended:
                which, rules, what, difference = part.result()
                done += rules
                seen += what
                if difference:
                    return done, seen, f"{difference}\na difference with --seed {which}, after {done.total():,} steps"
                if done.total() < steps:
                    parts.add(pool.submit(_part, number))
                    number += 1
            if done.total() - said >= _SAY_EVERY:
                said = done.total()
                print(f"{said:,} steps in {time.monotonic() - begun:.0f} s, next seed {number}", flush=True)
    return done, seen, ""


def _summary(done: Counter[str], seen: Counter[str], seconds: float, steps: int) -> str:
    """Say what was done and seen."""
    return (
        f"{done.total():,} steps of the state machine in `tests/model`, in {seconds / 60:.0f} minutes: the disk changed"
        f" {seen['changes']:,} times, the server started {seen['starts']:,} times ({seen['restarts']:,} of them as"
        f" another process), and {seen['commits']:,} generations went live. {seen['settlings']:,} times everything was"
        f" settled, and what served was held against what a plain function of the disk, and of what served before, says"
        f" should serve, and what was told against what went live. Differences in this run: 0.\n\n"
        f"`python -m tests.model --steps {steps} --write` wrote this."
    )


if __name__ == "__main__":
    sys.exit(main())
