"""The asyncio loop that LM calls run in."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import capturedLogs

from dspyreload.errors import EngineClosed
from dspyreload.lm.loop import LMLoop
from dspyreload.testing import ReactorClock

NAME = "dspyreload-lm"
speaker: contextvars.ContextVar[str] = contextvars.ContextVar("speaker", default="nobody")


async def nothing() -> None:
    """Return at once."""


def threads() -> list[threading.Thread]:
    """Return the loop's threads that are alive."""
    return [thread for thread in threading.enumerate() if thread.name.startswith(NAME)]


class Stage:
    """A loop, a reactor that runs when told to, and what has fired."""

    def __init__(self) -> None:
        self.reactor = ReactorClock()
        self.ends: list[str] = []
        self.at_end: Callable[[], Any] = nothing
        self.loop = LMLoop(lambda: cast(Any, self.reactor), self._end)

    async def _end(self) -> None:
        self.ends.append(threading.current_thread().name)
        await self.at_end()

    def outcome(self, deferred: Deferred[Any]) -> Any:
        """Wait until a Deferred fires; returns what with, an exception too."""
        fired: list[Any] = []
        deferred.addBoth(fired.append)
        while not fired:
            self.reactor.wait()
        return getattr(fired[0], "value", fired[0])

    def close(self) -> None:
        """Close the loop and wait for it."""
        assert self.outcome(self.loop.close()) is None

    def hold(self) -> threading.Event:
        """Keep the loop from doing anything until the event is set; returns when it is held."""
        held, release = threading.Event(), threading.Event()

        async def block() -> None:
            held.set()
            assert release.wait(10)

        self.loop.run(block)
        assert held.wait(10)
        return release


class Stubborn:
    """A coroutine that will not be cancelled, until it is let go."""

    def __init__(self) -> None:
        self.started, self._go = threading.Event(), asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self) -> str:
        self._loop = asyncio.get_running_loop()
        self.started.set()
        while not self._go.is_set():
            try:
                await self._go.wait()
            except asyncio.CancelledError:
                continue
        return "at last"

    def let_go(self) -> None:
        """Let it end."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._go.set)


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A loop that is closed when the test is over."""
    assert not threads()
    stage = Stage()
    yield stage
    stage.close()


class TestTheThread:
    def test_it_begins_with_the_first_call(self, stage: Stage) -> None:
        """A loop that was made and not used has no thread; one that is used has one, a daemon."""
        assert not threads()
        stage.outcome(stage.loop.run(nothing))
        (thread,) = threads()
        assert thread.daemon

    def test_all_calls_share_it(self, stage: Stage) -> None:
        """Ten calls run in one thread, and that is not the reactor's."""

        async def where() -> int:
            return threading.get_ident()

        found = {stage.outcome(stage.loop.run(where)) for _ in range(10)}
        assert len(found) == 1
        assert threading.get_ident() not in found

    def test_it_is_gone_after_close(self, stage: Stage) -> None:
        """When ``close`` has fired, the thread has ended, and no timer is left."""
        stage.outcome(stage.loop.run(nothing))
        stage.close()
        assert not threads()
        assert not stage.reactor.getDelayedCalls()

    def test_its_helpers_are_gone_after_close(self, stage: Stage) -> None:
        """``close`` waits for threads that asyncio began for a call, where they are at work still."""
        started, closing, ended = threading.Event(), threading.Event(), threading.Event()

        def work() -> None:
            (thread,) = threads()
            started.set()
            assert closing.wait(10)
            thread.join(0.1)  # it does not end before this does
            ended.set()

        stage.loop.run(lambda: asyncio.to_thread(work)).addErrback(lambda failure: None)
        assert started.wait(10)
        closed = stage.loop.close()
        closing.set()
        assert stage.outcome(closed) is None
        assert ended.is_set()

    def test_loops_live_side_by_side(self, stage: Stage) -> None:
        """Closing one loop leaves another at work."""
        other = Stage()
        stage.outcome(stage.loop.run(nothing))
        other.outcome(other.loop.run(nothing))
        stage.close()
        assert other.outcome(other.loop.run(nothing)) is None
        other.close()


class TestOutcomes:
    def test_what_is_returned_fires(self, stage: Stage) -> None:
        """The Deferred fires with what the coroutine returns."""

        async def answer() -> str:
            return "Aye."

        assert stage.outcome(stage.loop.run(answer)) == "Aye."

    def test_what_is_raised_fails(self, stage: Stage) -> None:
        """The Deferred fails with what the coroutine raises, and the next call is none the worse."""

        async def fail() -> None:
            raise LookupError("no such sword")

        error = stage.outcome(stage.loop.run(fail))
        assert isinstance(error, LookupError)
        assert str(error) == "no such sword"
        assert stage.outcome(stage.loop.run(nothing)) is None

    def test_it_fires_on_the_reactors_thread(self, stage: Stage) -> None:
        """A callback runs where the reactor runs, not in the loop's thread."""
        where: list[int] = []
        deferred = stage.loop.run(nothing).addCallback(lambda _: where.append(threading.get_ident()))
        stage.outcome(deferred)
        assert where == [threading.get_ident()]

    @pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=["SystemExit", "KeyboardInterrupt"])
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_a_call_that_would_exit_takes_nobody_along(self, stage: Stage, error: BaseException) -> None:
        """``sys.exit`` in one call fails that call; calls under way and later ones are answered."""
        release = asyncio.Event()

        async def other() -> str:
            await release.wait()
            return "still here"

        async def leave() -> None:
            raise error

        async def let_go() -> None:
            release.set()

        under_way = stage.loop.run(other)
        assert isinstance(stage.outcome(stage.loop.run(leave)), BaseException)
        assert stage.outcome(stage.loop.run(let_go)) is None
        assert stage.outcome(under_way) == "still here"


class TestContext:
    def test_the_callers_context_is_seen(self, stage: Stage) -> None:
        """A coroutine sees the context variables as they were when it was asked for."""

        async def who() -> str:
            await asyncio.sleep(0)
            return speaker.get()

        token = speaker.set("the smith")
        release = stage.hold()
        deferred = stage.loop.run(who)
        speaker.reset(token)
        release.set()
        assert stage.outcome(deferred) == "the smith"

    def test_each_call_has_its_own(self, stage: Stage) -> None:
        """What one call sets, neither another call nor the caller sees."""

        async def rename(name: str) -> str:
            before = speaker.get()
            speaker.set(name)
            return before

        assert [stage.outcome(stage.loop.run(lambda name=name: rename(name))) for name in "ab"] == ["nobody"] * 2  # type: ignore[misc]
        assert speaker.get() == "nobody"


class TestCancelling:
    def test_it_cancels_the_task(self, stage: Stage) -> None:
        """The Deferred fails at once, and the coroutine is told."""
        started, cancelled = threading.Event(), threading.Event()

        async def wait() -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

        deferred = stage.loop.run(wait)
        assert started.wait(10)
        deferred.cancel()
        assert isinstance(stage.outcome(deferred), CancelledError)
        assert cancelled.wait(10)

    def test_a_call_that_has_not_begun_never_begins(self, stage: Stage) -> None:
        """Cancelled before the loop has come to it, the coroutine is not even made."""
        made: list[str] = []

        def make() -> Coroutine[Any, Any, None]:
            made.append("made")
            return nothing()

        release = stage.hold()
        deferred = stage.loop.run(make)
        deferred.cancel()
        release.set()
        assert isinstance(stage.outcome(deferred), CancelledError)
        assert stage.outcome(stage.loop.run(nothing)) is None
        assert not made

    def test_a_result_that_comes_too_late_is_dropped(self, stage: Stage) -> None:
        """Cancelled when the answer is on its way to the reactor, a Deferred is not fired twice."""
        done = threading.Event()

        async def answer() -> str:
            asyncio.current_task().add_done_callback(lambda task: done.set())  # type: ignore[union-attr]
            return "too late"

        deferred = stage.loop.run(answer)
        assert done.wait(10)
        deferred.cancel()
        assert isinstance(stage.outcome(deferred), CancelledError)
        assert stage.outcome(stage.loop.run(nothing)) is None

    def test_it_does_no_harm_when_the_thread_has_ended(self, stage: Stage) -> None:
        """A Deferred may be cancelled after the loop has closed and before the reactor has heard of it."""
        deferred = stage.loop.run(asyncio.Event().wait)
        (thread,) = threads()
        closing = stage.loop.close()
        thread.join(10)
        deferred.cancel()
        assert isinstance(stage.outcome(deferred), CancelledError)
        assert stage.outcome(closing) is None


class TestClosing:
    def test_it_cancels_calls_under_way(self, stage: Stage) -> None:
        """They fail with ``EngineClosed``, and their coroutines are told."""
        cancelled: list[int] = []
        started = [threading.Event() for _ in range(3)]

        async def wait(number: int) -> None:
            started[number].set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(number)
                raise

        deferreds = [stage.loop.run(lambda number=number: wait(number)) for number in range(3)]  # type: ignore[misc]
        assert all(event.wait(10) for event in started)
        closing = stage.loop.close()
        assert all(isinstance(stage.outcome(deferred), EngineClosed) for deferred in deferreds)
        assert stage.outcome(closing) is None
        assert sorted(cancelled) == [0, 1, 2]

    def test_a_call_that_has_not_begun_fails_too(self, stage: Stage) -> None:
        """A call just before ``close`` is not forgotten."""
        release = stage.hold()
        deferred = stage.loop.run(asyncio.Event().wait)
        closing = stage.loop.close()
        release.set()
        assert isinstance(stage.outcome(deferred), EngineClosed)
        assert stage.outcome(closing) is None

    def test_no_call_is_taken_afterwards(self, stage: Stage) -> None:
        """From ``close`` on, a call is refused."""
        stage.outcome(stage.loop.run(nothing))
        assert not stage.loop.closed
        closing = stage.loop.close()
        assert stage.loop.closed
        with pytest.raises(EngineClosed):
            stage.loop.run(nothing)
        stage.outcome(closing)
        with pytest.raises(EngineClosed):
            stage.loop.run(nothing)

    def test_before_any_call_it_is_done_at_once(self, stage: Stage) -> None:
        """A loop that never ran closes without a thread, and without ``at_end``."""
        stage.close()
        assert stage.loop.closed
        assert not stage.ends
        with pytest.raises(EngineClosed):
            stage.loop.run(nothing)
        assert not threads()

    def test_twice_does_no_harm(self, stage: Stage) -> None:
        """Each ``close`` fires: those at the same time, and one that comes later."""
        stage.outcome(stage.loop.run(nothing))
        both = [stage.loop.close(), stage.loop.close()]
        assert [stage.outcome(deferred) for deferred in both] == [None, None]
        assert stage.outcome(stage.loop.close()) is None
        assert stage.ends == [NAME]

    def test_what_lives_in_the_loop_is_closed_last(self, stage: Stage) -> None:
        """``at_end`` is awaited once, in the loop's thread, after all calls have ended."""
        order: list[str] = []
        started = threading.Event()

        async def wait() -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                order.append("call")

        async def at_end() -> None:
            order.append("end")

        stage.at_end = at_end
        stage.loop.run(wait).addErrback(lambda failure: None)
        assert started.wait(10)
        stage.close()
        assert order == ["call", "end"]
        assert stage.ends == [NAME]

    def test_an_end_that_fails_ends_all_the_same(self, stage: Stage) -> None:
        """Where ``at_end`` raises, ``close`` fires, the thread is gone, and the log says so."""

        async def at_end() -> None:
            raise OSError("the connection was lost")

        stage.at_end = at_end
        stage.outcome(stage.loop.run(nothing))
        with capturedLogs() as logs:
            stage.close()
        assert not threads()
        assert "the connection was lost" in str(logs)

    def test_a_call_that_will_not_end_is_left_behind(self, stage: Stage) -> None:
        """After 5 s ``close`` fires all the same, and the log names the thread."""
        stubborn = Stubborn()
        stage.loop.run(stubborn)
        assert stubborn.started.wait(10)
        closing = stage.loop.close()
        stage.reactor.advance(4.9)
        assert not closing.called
        with capturedLogs() as logs:
            stage.reactor.advance(0.2)
        assert closing.called
        (line,) = [event for event in logs if event["log_namespace"] == "dspyreload"]
        assert line["thread"] == NAME
        (thread,) = threads()
        stubborn.let_go()
        thread.join(10)
        stage.reactor.wait()

    def test_a_second_close_waits_for_what_was_left_behind(self, stage: Stage) -> None:
        """A ``close`` after a late one fires as well, when the thread ends after all."""
        stubborn = Stubborn()
        stage.loop.run(stubborn)
        assert stubborn.started.wait(10)
        stage.loop.close()
        stage.reactor.advance(5.1)
        (thread,) = threads()
        second = stage.loop.close()
        stubborn.let_go()
        thread.join(10)
        assert stage.outcome(second) is None
