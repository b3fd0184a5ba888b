"""What tests do with :mod:`tests.faults.child`: a server in a process of its own, and all that it says."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.end_to_end.processes import LIMIT, ROOT, Process, running

__all__ = ["STOP_LIMIT", "Child", "serving"]

Said = dict[str, Any]

STOP_LIMIT = 15.0
"""Seconds that a stop may take on a machine with much else to do; 5 s is what it takes at most on a quiet one."""


class Child:
    """A server in a process of its own.

    :ivar said: what it said so far, as far as it was looked at: word and object.
    """

    def __init__(self, process: Process) -> None:
        self.process, self.said = process, list[tuple[str, Said]]()
        self.pid = process.popen.pid

    def told(self, word: str, right: Callable[[Said], bool] = lambda said: True, *, after: int = 0) -> Said:
        """Return the first such thing that it says or has said.

        :param right: what else must be so. ``after``: a :meth:`mark`, so that what it said before does not count.
        """
        for found, said in self.said[after:]:
            if found == word and right(said):
                return said
        until = time.monotonic() + LIMIT
        while True:
            line = self.process.wait_for("").string
            found, _, rest = line.partition(" ")
            assert rest.startswith("{"), f"it broke down:\n{self.process.text}\n{self._all_that_is_left()}"
            self.said.append((found, json.loads(rest)))
            broken = found == "log" and self.said[-1][1]["level"] == "critical"
            assert not broken, "{text}\n{traceback}".format(**self.said[-1][1])
            if found == word and right(self.said[-1][1]):
                return self.said[-1][1]
            assert time.monotonic() < until, f"no such {word}; so far:\n{self.process.text}"

    def _all_that_is_left(self) -> str:
        with contextlib.suppress(AssertionError):
            self.process.wait_for("^(?!)")
        return self.process.text

    def mark(self) -> int:
        """Return a place in what it said: here and now."""
        self.report()
        return len(self.said)

    def event(self, kind: str, path: str = "", *, after: int = 0) -> Said:
        """Return the first such event that it tells of, or has told of."""
        return self.told("event", lambda said: said["kind"] == kind and path in ("", said.get("path")), after=after)

    def events(self, kind: str) -> list[Said]:
        """Return all such events that it has told of."""
        self.report()
        return [said for word, said in self.said if word == "event" and said["kind"] == kind]

    def lines(self, *levels: str) -> list[str]:
        """Return the lines of its log, of the levels that are named, or all of them."""
        self.report()
        return [said["text"] for word, said in self.said if word == "log" and (not levels or said["level"] in levels)]

    def report(self) -> Said:
        """Ask how it does: ``longest`` (between two beats of its pulse, since it was last asked), ``served``, ..."""
        already = len(self.said)
        os.kill(self.pid, signal.SIGUSR1)
        return self.told("report", after=already)

    def until(self, right: Callable[[Said], bool]) -> Said:
        """Ask how it does until that is right, and return that."""
        until = time.monotonic() + LIMIT
        while not right(report := self.report()):
            assert time.monotonic() < until, f"not so within {LIMIT} s: {report}\n{self.process.text}"
            time.sleep(0.02)
        return report

    def passes(self, more: int) -> Said:
        """Wait for that many passes more, and return how it does then."""
        wanted = self.report()["passes"] + more
        return self.until(lambda report: report["passes"] >= wanted)

    def end(self) -> float:
        """Have it stop, hold it to its limit, and return how many seconds that took."""
        self.process.popen.send_signal(signal.SIGTERM)
        seconds: float = self.told("stopped")["seconds"]
        assert seconds < STOP_LIMIT
        assert self.process.popen.wait(LIMIT) == 0
        return seconds


@contextlib.contextmanager
def serving(modules: Path, *, wait: bool = True, **arguments: Any) -> Iterator[Child]:
    """Run a server for the time of a ``with`` block.

    :param wait: until it is ready. ``arguments``: see :mod:`tests.faults.child`.
    """
    words = json.dumps({"modules": str(modules), **arguments})
    with running(sys.executable, "-m", "tests.faults.child", words, cwd=ROOT) as process:
        child = Child(process)
        child.told("ready" if wait else "begun")
        yield child
