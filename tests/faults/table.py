"""A pytest plugin: what became of each row of the faults, at the end of a run and in ``docs/reliability.md``.

``python -m pytest tests/faults --write-table`` writes the table there. Where ``CI`` is set, a row that was skipped
fails the run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.faults.rows import ROWS, Seen
from tests.reliability import put_section

__all__ = ["pytest_addoption", "pytest_configure", "seen"]

_OUTCOMES = ("failed", "skipped", "passed")  # the worst first


@pytest.fixture
def seen(request: pytest.FixtureRequest) -> Seen:
    """Keep what a test of a row saw, for the table."""
    return lambda words: request.node.user_properties.append(("seen", words))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--write-table``."""
    parser.addoption("--write-table", action="store_true", help="write the table of faults into docs/reliability.md")


def pytest_configure(config: pytest.Config) -> None:
    """Watch what becomes of the rows."""
    config.addinivalue_line("markers", "row(number): shows a row of the table of faults")
    config.pluginmanager.register(_Table(write=config.getoption("write_table")))


class _Table:
    def __init__(self, *, write: bool) -> None:
        self._write = write
        self._rows: dict[str, int] = {}
        self._outcomes: dict[int, set[str]] = {}
        self._seen: dict[int, list[str]] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if (mark := item.get_closest_marker("row")) is not None:
                self._rows[item.nodeid] = mark.args[0]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        number = self._rows.get(report.nodeid)
        if number is None or (report.when != "call" and report.passed):
            return
        self._outcomes.setdefault(number, set()).add(report.outcome)
        words = [str(value) for key, value in report.user_properties if key == "seen"]
        if report.skipped and isinstance(report.longrepr, tuple):
            words.append(report.longrepr[2])
        self._seen.setdefault(number, []).extend(word for word in words if word not in self._seen.get(number, ()))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        skipped = any("skipped" in outcomes for outcomes in self._outcomes.values())
        if skipped and os.environ.get("CI") and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self._write and self._outcomes.keys() == ROWS.keys():
            put_section("faults", "\n".join(self._lines()))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._outcomes:
            terminalreporter.section("the rows of the faults")
            for number, outcomes in sorted(self._outcomes.items()):
                words = "; ".join(self._seen[number])
                terminalreporter.line(f"row {number}, {ROWS[number].fault}: {_worst(outcomes)}; {words}")
            counts = [sum(_worst(found) == word for found in self._outcomes.values()) for word in reversed(_OUTCOMES)]
            terminalreporter.line("rows: {} passed, {} skipped, {} failed".format(*counts))

    def _lines(self) -> Iterator[str]:
        yield "| # | fault | injected | must lead to | outcome | seen |"
        yield "|---|---|---|---|---|---|"
        for number, row in ROWS.items():
            cells = (row.fault, row.inject, row.expect, _worst(self._outcomes[number]), "; ".join(self._seen[number]))
            yield "| " + " | ".join([str(number), *(cell.replace("|", "\\|") for cell in cells)]) + " |"


def _worst(outcomes: set[str]) -> str:
    return next(outcome for outcome in _OUTCOMES if outcome in outcomes)
