"""Threads for programs that are not async."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from dspyreload.lm.pool import ThreadPool

NAME = "dspyreload-program"
speaker: contextvars.ContextVar[str] = contextvars.ContextVar("pool_speaker", default="nobody")


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test's coroutine; one that would hang fails."""
    asyncio.run(asyncio.wait_for(test(), 10))


Threads = Callable[[], list[threading.Thread]]


class Gate:
    """A function that waits in its thread until the test lets it go.

    :ivar names: of the calls that began, in order.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.began, self._go = asyncio.Semaphore(0), threading.Event()
        self._loop = asyncio.get_running_loop()

    def call(self, name: str) -> Callable[[], str]:
        """Return a function that waits, and then returns its name."""

        def wait() -> str:
            self.names.append(name)
            self._loop.call_soon_threadsafe(self.began.release)
            assert self._go.wait(10)
            return name

        return wait

    def open(self) -> None:
        """Let all go."""
        self._go.set()


@pytest.fixture(autouse=True)
def threads() -> Iterator[Threads]:
    """Return the threads that this test began and that are alive. At its end they end."""
    others = set(threading.enumerate())

    def alive() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == NAME and thread not in others]

    yield alive
    for thread in alive():
        thread.join(10)
    assert alive() == []


def test_a_function_runs_in_a_daemon_thread() -> None:
    """One that hangs must keep no process alive; its result is what ``run`` gives."""

    async def test() -> None:
        thread = await ThreadPool(1).run(threading.current_thread)
        assert thread is not threading.current_thread()
        assert (thread.name, thread.daemon) == (NAME, True)

    run(test)


@pytest.mark.parametrize("error", [LookupError("no such thing"), SystemExit(1), KeyboardInterrupt()])
def test_what_it_raises_is_raised_to_who_asked(error: BaseException) -> None:
    """The very exception, those too that would end a process; the pool goes on."""

    def fail() -> None:
        raise error

    async def test() -> None:
        pool = ThreadPool(1)
        with pytest.raises(type(error)) as caught:
            await pool.run(fail)
        assert caught.value is error
        assert await pool.run(lambda: "next") == "next"

    run(test)


def test_a_stop_iteration_does_not_hang_the_call() -> None:
    """No future takes one: the call fails with another error that shows it."""

    async def test() -> None:
        with pytest.raises(RuntimeError, match="the program raised StopIteration"):
            await ThreadPool(1).run(lambda: next(iter(())))

    run(test)


def test_it_sees_the_tasks_variables_and_changes_none() -> None:
    """``dspy.context`` is made of these: a program in a thread finds the language model of its own call."""

    def change() -> str:
        seen = speaker.get()
        speaker.set("somebody else")
        return seen

    async def call(name: str, pool: ThreadPool) -> tuple[str, str]:
        speaker.set(name)
        return await pool.run(change), speaker.get()

    async def test() -> None:
        pool = ThreadPool(4)
        names = ["Ann", "Ben", "Cid"]
        assert await asyncio.gather(*(call(name, pool) for name in names)) == [(name, name) for name in names]

    run(test)


def test_no_more_run_at_once_than_there_are_places(threads: Threads) -> None:
    """The others wait."""

    async def test() -> None:
        gate, pool = Gate(), ThreadPool(2)
        calls = [asyncio.ensure_future(pool.run(gate.call(name))) for name in "abcde"]
        for _ in "ab":
            await gate.began.acquire()
        assert len(threads()) == 2
        assert not any(call.done() for call in calls)
        assert sorted(gate.names) == ["a", "b"]
        gate.open()
        assert await asyncio.gather(*calls) == list("abcde")

    run(test)


def test_who_came_first_is_served_first() -> None:
    """With one place, in the order of the calls."""

    async def test() -> None:
        order: list[int] = []
        pool = ThreadPool(1)
        await asyncio.gather(*(pool.run(lambda n=n: order.append(n)) for n in range(50)))  # type: ignore[misc]
        assert order == list(range(50))

    run(test)


def test_a_cancelled_call_ends_at_once_and_holds_its_place() -> None:
    """No thread can be stopped: it counts until its function returns, so that there are never more of them."""

    async def test() -> None:
        gate, pool = Gate(), ThreadPool(1)
        call = asyncio.ensure_future(pool.run(gate.call("first")))
        await gate.began.acquire()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        following = asyncio.ensure_future(pool.run(gate.call("second")))
        for _ in range(5):
            await asyncio.sleep(0)
        assert gate.names == ["first"]
        gate.open()
        assert await following == "second"

    run(test)


def test_a_call_that_is_cancelled_while_it_waits_never_runs() -> None:
    """And it takes no place from others."""

    async def test() -> None:
        gate, pool = Gate(), ThreadPool(1)
        calls = [asyncio.ensure_future(pool.run(gate.call(name))) for name in "abc"]
        await gate.began.acquire()
        calls[1].cancel()
        gate.open()
        assert (await calls[0], await calls[2]) == ("a", "c")
        assert calls[1].cancelled()
        assert gate.names == ["a", "c"]

    run(test)


def test_a_loop_that_has_ended_leaves_a_thread_alone(threads: Threads) -> None:
    """A function that returns after its loop is gone: nobody waits, and its thread ends without a word."""
    go = threading.Event()

    async def test() -> None:
        call = asyncio.ensure_future(ThreadPool(1).run(lambda: go.wait(10)))
        await asyncio.sleep(0)
        call.cancel()

    run(test)
    assert len(threads()) == 1
    go.set()


def test_a_thread_that_can_not_be_started_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call fails as the machine says; the next one finds the place free."""

    def full(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def test() -> None:
        pool = ThreadPool(1)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", full)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                await pool.run(lambda: None)
        assert await pool.run(lambda: "next") == "next"

    run(test)
