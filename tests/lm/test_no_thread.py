"""A machine that has no thread, or no descriptor, left for language models."""

from __future__ import annotations

import errno
import threading
from typing import Any, cast
from unittest import mock

import pytest

from dspyreload.errors import LoopNotStarted
from dspyreload.lm.executor import DaemonExecutor
from dspyreload.lm.loop import LMLoop
from dspyreload.testing import ReactorClock


async def nothing() -> None:
    """Return at once."""


NO_THREAD = RuntimeError("can't start new thread")


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        ("dspyreload.lm.loop.threading.Thread.start", NO_THREAD),
        ("dspyreload.lm.loop.DaemonLoop", OSError(errno.EMFILE, "Too many open files")),
    ],
    ids=["no thread", "no descriptor"],
)
def test_a_loop_that_can_not_be_started_is_tried_again_with_the_next_call(place: str, fault: Exception) -> None:
    """The call says why, nothing is left half started, and when the machine has recovered the next one runs."""
    reactor = ReactorClock()
    loop = LMLoop(lambda: cast(Any, reactor), nothing)
    with mock.patch(place, side_effect=fault), pytest.raises(LoopNotStarted, match=r"start new thread|Too many"):
        loop.run(nothing)
    fired: list[Any] = []
    loop.run(nothing).addBoth(fired.append)
    while not fired:
        reactor.wait()
    assert fired == [None]
    loop.close().addBoth(fired.append)
    while len(fired) < 2:
        reactor.wait()


def test_an_executor_without_a_thread_runs_nothing_later() -> None:
    """What could not be begun is not begun behind the back of who was told so."""
    executor, ran = DaemonExecutor(), threading.Event()
    no_thread = mock.patch("dspyreload.lm.executor.threading.Thread.start", side_effect=NO_THREAD)
    with no_thread, pytest.raises(RuntimeError, match="new thread"):
        executor.submit(ran.set)
    assert executor.submit(lambda: "done").result(10) == "done"
    executor.shutdown()
    assert not ran.is_set()


def test_an_executor_that_has_threads_needs_no_more() -> None:
    """Where the machine has none left, those that there are do the work."""
    executor = DaemonExecutor()
    assert executor.submit(lambda: 1).result(10) == 1
    with mock.patch("dspyreload.lm.executor.threading.Thread.start", side_effect=NO_THREAD):
        assert executor.submit(lambda: 2).result(10) == 2
    executor.shutdown()
