"""The keeper: when it opens, writes and closes the state file, and what its trouble costs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from twisted.internet.defer import CancelledError
from twisted.logger import capturedLogs, formatEvent
from twisted.trial import unittest as trial

from dspyreload.disk.stored import StateFault
from dspyreload.errors import HotReloadFailed, ServiceStopped
from dspyreload.live.health import Health, HealthBoard
from dspyreload.live.keeping import Keeper
from dspyreload.model.restoring import StoredState
from dspyreload.model.snapshot import EMPTY, Snapshot
from dspyreload.reactor import Joinable
from dspyreload.testing import ReactorClock

CASE = trial.SynchronousTestCase()
KEPT = StoredState(generation=7)
NOT_KEPT = "; what is live is not kept for a restart, and it is tried again"
NOBODY: frozenset[str] = frozenset()


class FakeFile:
    """A state file that does as it is told.

    :ivar opens, reads, writes: a fault, or None, for each call to come; when there are no more, all is well.
    :ivar calls: what was called.
    """

    path = "/srv/state.sqlite3"

    def __init__(self) -> None:
        self.is_open = False
        self.kept = KEPT
        self.opens: deque[Exception | None] = deque()
        self.reads: deque[Exception | None] = deque()
        self.writes: deque[Exception | None] = deque()
        self.calls: list[str] = []
        self.written: list[tuple[int, ...]] = []
        self.told: list[tuple[object, frozenset[str]]] = []

    def _do(self, name: str, outcomes: deque[Exception | None]) -> None:
        self.calls.append(name)
        fault = outcomes.popleft() if outcomes else None
        if fault is not None:
            self.is_open = False
            raise fault

    def open(self) -> StoredState:
        assert not self.is_open
        self._do("open", self.opens)
        self.is_open = True
        return self.kept

    def read(self) -> StoredState:
        self._do("read", self.reads)
        return self.kept

    def write(self, snapshots: Sequence[Snapshot], root: object, waiting: frozenset[str]) -> None:
        assert self.is_open
        self._do("write", self.writes)
        self.written.append(tuple(snapshot.generation for snapshot in snapshots))
        self.told.append((root, waiting))

    def versions(self, module_id: str) -> tuple[str, ...]:
        assert self.is_open
        self._do("versions", self.reads)
        return (f"the versions of {module_id}",)

    def close(self) -> None:
        if self.is_open:
            self.calls.append("close")
        self.is_open = False


class Rig:
    """A keeper on a clock. Its threads begin when they are told to; while none is, the disk hangs."""

    def __init__(self) -> None:
        self.clock, self.file = ReactorClock(), FakeFile()
        self.health: list[Health] = []
        self.late: list[StoredState] = []
        self.threads: list[Callable[[], None]] = []
        self.no_thread = False
        self.board = HealthBoard(self.health.append)
        self.keeper = Keeper(self.file, self.clock, self.board, self.late.append, self._start)  # type: ignore[arg-type]
        self.generation = 0
        self.snapshot = EMPTY

    def _start(self, target: Callable[[], None], name: str) -> Joinable:
        assert name == "dspyreload-state"
        if self.no_thread:
            raise RuntimeError("can't start new thread")
        assert not self.threads, "two threads at a time"
        self.threads.append(target)
        return Gone()

    def work(self) -> None:
        """Let all threads come to their end."""
        self.clock.run_calls()
        while self.threads:
            self.threads.pop()()
            self.clock.run_calls()

    def advance(self, seconds: float) -> None:
        """Let time pass, and the threads that begin meanwhile come to their end."""
        for _ in range(round(seconds * 2)):
            self.clock.advance(0.5)
            self.work()

    def load(self) -> Any:
        """Load; return what that gave."""
        loaded = self.keeper.load()
        self.work()
        return CASE.successResultOf(loaded)

    def start(self) -> None:
        """Load, and bring back what came of it."""
        self.load()
        self.keeper.allow()
        self.work()

    def commit(self, count: int = 1, waiting: frozenset[str] = NOBODY) -> None:
        """Have snapshots go live, without letting threads work."""
        for _ in range(count):
            self.snapshot = self.snapshot.commit({}, (), None)
            self.keeper.keep(self.snapshot, (1, 2), waiting)

    def stop(self) -> None:
        """Stop; it must be over at once."""
        stopped = self.keeper.stop()
        self.work()
        CASE.successResultOf(stopped)

    def reasons(self) -> tuple[str, ...]:
        """Say why health is not ok."""
        return self.board.health().reasons


class Gone:
    """A thread that has ended."""

    def join(self, timeout: float | None = None) -> None:
        pass


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A keeper that did nothing yet; at the end it leaves no delayed call, no thread and no open file."""
    rig = Rig()
    yield rig
    if rig.keeper._stopping is None:
        rig.stop()
    rig.work()
    assert rig.clock.getDelayedCalls() == []
    assert not rig.file.is_open


class TestLoading:
    def test_what_the_file_keeps_is_given_before_anything_is_written(self, rig: Rig) -> None:
        """Writing begins when what it keeps was brought back."""
        assert rig.load() is KEPT
        rig.commit()
        rig.work()
        assert rig.file.calls == ["open"]
        rig.keeper.allow()
        rig.work()
        assert rig.file.written == [(1,)]
        assert rig.late == []
        assert rig.health == []

    def test_a_file_that_can_t_be_opened_is_read(self, rig: Rig) -> None:
        """What it keeps serves; that nothing can be kept costs health, and it is tried again."""
        rig.file.opens.append(StateFault("it may not be written"))
        assert rig.load() is KEPT
        assert rig.reasons() == (f"it may not be written{NOT_KEPT}",)
        rig.keeper.allow()
        rig.commit()
        rig.work()
        rig.advance(1)
        assert rig.file.calls == ["open", "read", "open", "write"]
        assert rig.reasons() == ()
        assert rig.late == []

    def test_a_file_that_can_t_even_be_read_is_told_of_when_it_can(self, rig: Rig) -> None:
        """And is not written over before what it keeps was brought back."""
        rig.file.opens.append(StateFault("locked"))
        rig.file.reads.append(StateFault("locked"))
        assert rig.load() is None
        rig.keeper.allow()  # as the service does: there is nothing to bring back
        rig.commit()
        rig.advance(1)
        assert rig.late == [KEPT]
        assert rig.file.written == []
        rig.keeper.allow()
        rig.work()
        assert rig.file.written == [(1,)]
        assert rig.reasons() == ()

    def test_a_start_waits_five_seconds_for_it(self, rig: Rig) -> None:
        """Then it goes on without, which costs health; what the file keeps is told late, once."""
        loaded = rig.keeper.load()
        rig.clock.advance(4.5)
        CASE.assertNoResult(loaded)
        rig.clock.advance(0.5)
        assert CASE.successResultOf(loaded) is None
        assert rig.reasons() == (f"/srv/state.sqlite3 does not answer{NOT_KEPT}",)
        rig.keeper.allow()
        rig.commit()
        rig.work()
        assert rig.late == [KEPT]
        assert rig.file.written == []
        rig.keeper.allow()
        rig.work()
        assert rig.file.written == [(1,)]
        assert [health.status for health in rig.health] == ["degraded", "ok"]

    def test_what_it_keeps_is_told_once(self, rig: Rig) -> None:
        """Later it is what was written since."""
        rig.start()
        rig.file.writes.append(StateFault("the disk is full"))
        rig.commit()
        rig.work()
        rig.advance(1)
        assert rig.file.calls == ["open", "write", "open", "write"]
        assert rig.late == []

    def test_an_error_of_ours_costs_health_and_no_service(self, rig: Rig) -> None:
        """Its traceback is logged."""
        rig.file.opens.append(ZeroDivisionError("a mistake"))
        with capturedLogs() as logged:
            assert rig.load() is None
        assert [formatEvent(event) for event in logged if "log_failure" in event] == ["the state file failed"]
        assert rig.reasons() == (f"a mistake{NOT_KEPT}",)
        rig.advance(1)
        assert rig.late == [KEPT]

    def test_a_machine_without_threads_is_tried_again(self, rig: Rig) -> None:
        """When it has one."""
        rig.no_thread = True
        assert rig.load() is None
        assert rig.reasons() == (f"can't start new thread{NOT_KEPT}",)
        rig.no_thread = False
        rig.advance(1)
        assert rig.late == [KEPT]
        assert rig.reasons() == ()


class TestWriting:
    def test_commits_that_come_while_it_writes_are_written_together(self, rig: Rig) -> None:
        """In order, by one thread at a time; the ids that wait are those of the last of them."""
        rig.start()
        rig.commit(waiting=frozenset({"npc.smith"}))
        rig.commit(5)
        rig.work()
        assert rig.file.written == [(1,), (2, 3, 4, 5, 6)]
        assert rig.file.told == [((1, 2), frozenset({"npc.smith"})), ((1, 2), NOBODY)]

    def test_a_hundred_snapshots_wait_at_most(self, rig: Rig) -> None:
        """The newest; what is live is always among them."""
        rig.start()
        rig.commit(301)
        rig.work()
        assert rig.file.written == [(1,), tuple(range(202, 302))]

    @pytest.mark.parametrize("more", [0, 40, 100, 150])
    def test_what_could_not_be_written_is_written_later(self, rig: Rig, more: int) -> None:
        """Whatever came meanwhile, the newest hundred."""
        rig.start()
        rig.file.writes.extend([None, StateFault("the disk is full")])
        rig.commit()
        rig.commit(90)
        rig.clock.run_calls()
        rig.threads.pop()()
        rig.clock.run_calls()  # the ninety are on their way
        rig.commit(more)
        rig.work()
        rig.advance(1)
        latest = 91 + more
        assert rig.file.written[-1] == tuple(range(max(2, latest - 99), latest + 1))

    def test_a_full_disk_is_tried_again_ever_more_seldom(self, rig: Rig) -> None:
        """Health is degraded once, whether the file can be opened meanwhile or not, and ok once it is written."""
        rig.start()
        rig.file.writes.extend(StateFault("the disk is full") for _ in range(9))
        with capturedLogs() as logged:
            rig.commit()
            rig.work()
            tried = []
            for second in range(400):
                before = rig.file.calls.count("write")
                rig.advance(1)
                if rig.file.calls.count("write") > before:
                    tried.append(second + 1)
        gaps = [after - before for before, after in zip([0, *tried], tried, strict=False)]
        assert gaps == [1, 2, 4, 8, 16, 30, 30, 30, 30]
        assert [health.status for health in rig.health] == ["degraded", "ok"]
        assert [formatEvent(event) for event in logged] == [
            f"the disk is full{NOT_KEPT}; health is degraded",
            "what is live is kept in /srv/state.sqlite3 again; health is ok",
        ]
        assert rig.file.written == [(1,)]

    def test_a_new_reason_is_seen_in_the_health(self, rig: Rig) -> None:
        """It is no new problem."""
        rig.start()
        rig.file.writes.append(StateFault("the disk is full"))
        rig.file.opens.append(StateFault("it is locked"))
        rig.commit()
        rig.work()
        assert rig.reasons() == (f"the disk is full{NOT_KEPT}",)
        rig.advance(1)
        assert rig.reasons() == (f"it is locked{NOT_KEPT}",)
        assert len(rig.health) == 1

    def test_a_disk_that_hangs_costs_health_after_ten_seconds(self, rig: Rig) -> None:
        """Commits go on; when it answers all is well, and the newest is written."""
        rig.start()
        rig.commit()
        rig.clock.advance(9.5)
        assert rig.reasons() == ()
        rig.clock.advance(0.5)
        assert rig.reasons() == (f"/srv/state.sqlite3 does not answer{NOT_KEPT}",)
        rig.commit(3)
        rig.clock.advance(1000)
        rig.work()
        assert rig.file.written == [(1,), (2, 3, 4)]
        assert [health.status for health in rig.health] == ["degraded", "ok"]

    def test_a_file_that_opens_again_is_well_where_nothing_waits(self, rig: Rig) -> None:
        """There is nothing to see it by."""
        rig.file.opens.append(StateFault("locked"))
        rig.start()
        assert rig.board.health().status == "degraded"
        rig.advance(1)
        assert rig.board.health().status == "ok"
        assert rig.file.written == []


class TestStopping:
    def test_what_is_left_is_written_and_the_file_closed(self, rig: Rig) -> None:
        """Twice does no harm."""
        rig.start()
        rig.commit(3)
        rig.stop()
        assert rig.file.written == [(1,), (2, 3)]
        assert rig.file.calls[-1] == "close"
        assert CASE.successResultOf(rig.keeper.stop()) is None
        rig.commit()
        rig.work()
        assert rig.file.calls[-1] == "close"

    def test_before_it_is_loaded_nothing_is_written(self, rig: Rig) -> None:
        """Who waits for that is told; what arrives then is used no more."""
        loaded = rig.keeper.load()
        rig.commit()
        stopped = rig.keeper.stop()
        assert CASE.successResultOf(loaded) is None
        rig.keeper.allow()
        rig.work()
        CASE.successResultOf(stopped)
        assert rig.file.calls == ["open", "close"]
        assert rig.late == []

    def test_what_was_in_trouble_is_tried_once_more(self, rig: Rig) -> None:
        """The disk may have room by now."""
        rig.start()
        rig.file.writes.append(StateFault("the disk is full"))
        rig.commit()
        rig.work()
        rig.stop()
        assert rig.file.calls == ["open", "write", "open", "write", "close"]
        assert rig.file.written == [(1,)]

    @pytest.mark.parametrize("where", ["open", "write"])
    def test_what_can_t_be_kept_is_said(self, rig: Rig, where: str) -> None:
        """In one line."""
        rig.start()
        rig.file.writes.append(StateFault("the disk is full"))
        rig.commit()
        rig.work()
        (rig.file.opens if where == "open" else rig.file.writes).append(StateFault("still full"))
        with capturedLogs() as logged:
            rig.stop()
        assert [formatEvent(event) for event in logged] == ["what was live last is not kept: still full"]

    def test_a_thread_that_hangs_is_left_after_three_seconds(self, rig: Rig) -> None:
        """With a line; what it does then costs nothing any more."""
        rig.start()
        rig.commit()
        stopped = rig.keeper.stop()
        with capturedLogs() as logged:
            rig.clock.advance(2.5)
            CASE.assertNoResult(stopped)
            rig.clock.advance(0.5)
        assert CASE.successResultOf(stopped) is None
        assert [formatEvent(event) for event in logged] == ["the thread dspyreload-state did not end within 3.0 s"]
        assert rig.clock.getDelayedCalls() == []
        rig.work()
        assert rig.file.calls == ["open", "write", "close"]

    def test_without_a_thread_it_is_closed_all_the_same(self, rig: Rig) -> None:
        """Its lock would keep the next service from it."""
        rig.start()
        rig.no_thread = True
        rig.stop()
        assert rig.file.calls == ["open", "close"]

    def test_a_failure_under_way_is_no_trouble_any_more(self, rig: Rig) -> None:
        """Nothing is tried again but once, at the end."""
        rig.start()
        rig.file.writes.append(StateFault("the disk is full"))
        rig.commit()
        stopped = rig.keeper.stop()
        rig.work()
        CASE.successResultOf(stopped)
        assert rig.file.calls == ["open", "write", "open", "write", "close"]
        assert rig.health == []


class TestVersions:
    def test_they_are_read_once_what_is_live_is_written(self, rig: Rig) -> None:
        """Each who asks gets an answer, in order."""
        rig.start()
        rig.commit()
        asked = [rig.keeper.versions(f"npc.{name}") for name in ("smith", "baker")]
        rig.commit()
        rig.work()
        assert rig.file.calls == ["open", "write", "write", "versions", "versions"]
        assert [str(CASE.successResultOf(answer)[0]) for answer in asked] == [
            "the versions of npc.smith",
            "the versions of npc.baker",
        ]

    def test_what_can_t_be_read_fails_and_costs_health(self, rig: Rig) -> None:
        """Whoever asked; then it is tried again."""
        rig.start()
        rig.file.reads.append(StateFault("it is damaged"))
        asked = [rig.keeper.versions("npc.smith") for _ in range(2)]
        rig.work()
        for answer in asked:
            failure = CASE.failureResultOf(answer, HotReloadFailed)
            assert failure.getErrorMessage() == "hot reload of /srv/state.sqlite3 failed: it is damaged"
        assert rig.reasons() == (f"it is damaged{NOT_KEPT}",)
        again = rig.keeper.versions("npc.smith")
        rig.advance(1)
        assert CASE.successResultOf(again)
        assert rig.reasons() == ()

    def test_who_asks_again_at_once_waits_for_the_next_try(self, rig: Rig) -> None:
        """It neither tries without a pause, nor leaves a timer behind."""
        rig.start()
        rig.file.reads.append(StateFault("it is damaged"))
        rig.file.opens.extend(StateFault("it is damaged") for _ in range(10))
        again: list[Any] = []
        rig.keeper.versions("npc.smith").addErrback(lambda _failure: again.append(rig.keeper.versions("npc.smith")))
        rig.work()
        assert rig.file.calls == ["open", "versions"]
        CASE.assertNoResult(again[0])
        rig.advance(1)
        assert rig.file.calls == ["open", "versions", "open"]
        CASE.failureResultOf(again[0], HotReloadFailed)

    def test_a_file_that_can_t_be_opened_fails_who_asks(self, rig: Rig) -> None:
        """At the next try."""
        rig.file.opens.extend(StateFault("locked") for _ in range(2))
        rig.start()
        asked = rig.keeper.versions("npc.smith")
        CASE.assertNoResult(asked)
        rig.advance(1)
        CASE.failureResultOf(asked, HotReloadFailed)

    def test_a_stop_fails_who_waits(self, rig: Rig) -> None:
        """Also where the disk hangs, and who asks later."""
        rig.start()
        asked = [rig.keeper.versions("npc.smith") for _ in range(2)]
        stopped = rig.keeper.stop()
        for answer in (*asked, rig.keeper.versions("npc.smith")):
            CASE.failureResultOf(answer, ServiceStopped)
        rig.work()
        CASE.successResultOf(stopped)

    def test_an_answer_that_took_long_costs_health_until_it_comes(self, rig: Rig) -> None:
        """And not until the next commit, which may be days away."""
        rig.start()
        asked = rig.keeper.versions("npc.smith")
        rig.clock.advance(10)
        assert rig.reasons() == (f"/srv/state.sqlite3 does not answer{NOT_KEPT}",)
        rig.work()
        assert CASE.successResultOf(asked)
        assert rig.reasons() == ()

    def test_who_cancels_is_told_no_more(self, rig: Rig) -> None:
        """The others are."""
        rig.start()
        first, second = (rig.keeper.versions("npc.smith") for _ in range(2))
        first.cancel()
        CASE.failureResultOf(first, CancelledError)
        rig.work()
        assert CASE.successResultOf(second)
