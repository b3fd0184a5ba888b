"""What is wrong at present: the worst of it is the status, and each change is said once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from twisted.logger import LogEvent, capturedLogs, formatEvent

from dspyreload.live.health import Health, HealthBoard


class Rig:
    """A board with a clock of its own, and all that it said."""

    def __init__(self, logs: Sequence[LogEvent]) -> None:
        self.now, self.logs = 100.0, logs
        self.changes: list[Health] = []
        self.board = HealthBoard(self.changes.append, lambda: self.now)

    def lines(self) -> list[tuple[str, str]]:
        """Return what was logged, each with its level."""
        return [(event["log_level"].name, str(formatEvent(event))) for event in self.logs]


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A board on which nothing is."""
    with capturedLogs() as logs:
        yield Rig(logs)


def test_with_nothing_on_the_board_all_is_well_since_it_was_made(rig: Rig) -> None:
    """No reason, and nothing to say."""
    rig.now = 200.0
    assert rig.board.health() == Health("ok", 100.0)
    assert (rig.changes, rig.lines()) == ([], [])


def test_the_status_is_that_of_the_worst_and_it_comes_first(rig: Rig) -> None:
    """Where something fails, what is only degraded is told after it."""
    rig.board.report("watcher", "degraded", "it is polled")
    rig.now = 105.0
    rig.board.report("root", "failing", "the directory is missing")
    assert rig.board.health() == Health("failing", 105.0, ("the directory is missing", "it is polled"))
    assert rig.lines() == [
        ("warn", "it is polled; health is degraded"),
        ("error", "the directory is missing; health is failing"),
    ]
    assert rig.changes[-1] == rig.board.health()


def test_the_time_is_when_the_status_came_and_not_a_further_reason(rig: Rig) -> None:
    """An operator asks since when."""
    rig.board.report("root", "failing", "the directory is missing")
    rig.now = 110.0
    rig.board.report("passes", "failing", "passes fail")
    assert rig.board.health() == Health("failing", 100.0, ("the directory is missing", "passes fail"))
    rig.now = 120.0
    rig.board.solve("root", "the directory is back")
    assert rig.board.health() == Health("failing", 100.0, ("passes fail",))
    rig.now = 130.0
    rig.board.solve("passes", "passes succeed again")
    assert rig.board.health() == Health("ok", 130.0)
    assert [health.status for health in rig.changes] == ["failing", "failing", "failing", "ok"]
    assert rig.lines()[2:] == [
        ("info", "the directory is back; health is failing"),
        ("info", "passes succeed again; health is ok"),
    ]


def test_what_lasts_is_said_once_and_its_words_are_the_latest(rig: Rig) -> None:
    """Each pass reports; the log is not filled with it."""
    for generation in range(1, 100):
        rig.board.report("root", "failing", f"generation {generation} is still serving")
    assert rig.lines() == [("error", "generation 1 is still serving; health is failing")]
    assert len(rig.changes) == 1
    assert rig.board.health().reasons == ("generation 99 is still serving",)


def test_what_gets_worse_or_better_is_said_again(rig: Rig) -> None:
    """From degraded to failing and back."""
    for status in ("degraded", "failing", "degraded"):
        rig.board.report("watcher", status, f"it is {status}")
    assert [level for level, _line in rig.lines()] == ["warn", "error", "warn"]
    assert [health.status for health in rig.changes] == ["degraded", "failing", "degraded"]


def test_what_was_well_and_is_well_is_not_said(rig: Rig) -> None:
    """Each pass that succeeds says so to the board."""
    rig.board.solve("passes", "passes succeed again")
    assert (rig.changes, rig.lines()) == ([], [])


def test_what_is_forgotten_is_not_called_well(rig: Rig) -> None:
    """A service that stops knows nothing any more of the directory; another's problem stays."""
    rig.board.report("root", "failing", "the directory is missing")
    rig.board.report("lm", "degraded", "the language model fails")
    said = list(rig.lines())
    rig.now = 140.0
    rig.board.forget("root", "passes", "watcher")
    assert rig.board.health() == Health("degraded", 140.0, ("the language model fails",))
    assert rig.lines() == said
