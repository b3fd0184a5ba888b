"""The quiet window: when a pass is due."""

from __future__ import annotations

from twisted.internet.task import Clock

from dspyreload.live.debounce import QuietWindow


def window(clock: Clock, quiet: float = 0.1, max_wait: float = 2.0) -> tuple[QuietWindow, list[float]]:
    """Return a window, and the times at which it called."""
    times: list[float] = []
    return QuietWindow(clock, lambda: times.append(clock.seconds()), quiet, max_wait), times


def test_nothing_is_due_without_a_hint() -> None:
    """A window that nobody hinted at holds no timer."""
    clock = Clock()
    made, times = window(clock)
    clock.advance(60)
    assert (times, made.waiting, clock.getDelayedCalls()) == ([], False, [])


def test_one_call_after_the_quiet_time() -> None:
    """A single hint is due once it has been silent for the quiet time, and not before."""
    clock = Clock()
    made, times = window(clock)
    made.hint()
    clock.advance(0.09)
    assert times == []
    assert made.waiting
    clock.advance(0.011)
    assert len(times) == 1
    assert not made.waiting


def test_each_hint_starts_the_window_anew() -> None:
    """Hints that follow each other closely give one call, a quiet time after the last."""
    clock = Clock()
    made, times = window(clock)
    for _ in range(5):
        made.hint()
        clock.advance(0.05)
    assert times == []
    clock.advance(0.06)
    assert len(times) == 1


def test_a_thousand_hints_hold_one_timer() -> None:
    """However many hints there are, one timer waits."""
    clock = Clock()
    made, times = window(clock)
    for _ in range(1000):
        made.hint()
    assert len(clock.getDelayedCalls()) == 1
    clock.advance(0.1)
    assert len(times) == 1
    assert clock.getDelayedCalls() == []


def test_endless_hints_can_delay_no_longer_than_max_wait() -> None:
    """Junk writes fifty times a second: a call comes each time max_wait is over."""
    clock = Clock()
    made, times = window(clock, quiet=0.1, max_wait=2.0)
    for _ in range(300):  # six seconds
        made.hint()
        clock.advance(0.02)
    assert len(times) == 2
    assert 1.9 <= times[0] <= 2.03
    assert 1.9 <= times[1] - times[0] <= 2.06


def test_max_wait_is_never_less_than_the_quiet_time() -> None:
    """A max_wait below the quiet time does not cut the quiet time short."""
    clock = Clock()
    made, times = window(clock, quiet=1.0, max_wait=0.1)
    made.hint()
    clock.advance(0.5)
    made.hint()
    clock.advance(0.4)
    assert times == []
    clock.advance(0.11)
    assert len(times) == 1


def test_cancel_forgets_the_hints() -> None:
    """After cancel nothing is due and no timer is left; doing it twice does no harm."""
    clock = Clock()
    made, times = window(clock)
    made.hint()
    made.cancel()
    made.cancel()
    assert clock.getDelayedCalls() == []
    clock.advance(5)
    assert times == []


def test_a_hint_from_within_the_call_starts_a_new_window() -> None:
    """A hint while the call is made leads to one more call."""
    clock = Clock()
    times: list[float] = []

    def due() -> None:
        times.append(clock.seconds())
        if len(times) == 1:
            made.hint()

    made = QuietWindow(clock, due, 0.1, 2.0)
    made.hint()
    clock.advance(0.1)
    assert len(times) == 1
    assert made.waiting
    clock.advance(0.1)
    assert len(times) == 2
    assert not made.waiting


def test_a_new_window_has_a_max_wait_of_its_own() -> None:
    """What an earlier window waited does not shorten the next."""
    clock = Clock()
    made, times = window(clock, quiet=0.1, max_wait=0.3)
    made.hint()
    clock.advance(0.1)
    clock.advance(10)
    made.hint()
    clock.advance(0.09)
    made.hint()
    clock.advance(0.09)
    assert len(times) == 1
    clock.advance(0.02)
    assert len(times) == 2


def test_no_quiet_time_means_the_next_turn() -> None:
    """With 0 s the call is made on a later turn of the reactor, not from within the hint."""
    clock = Clock()
    made, times = window(clock, quiet=0.0, max_wait=0.0)
    made.hint()
    assert times == []
    clock.advance(0)
    assert len(times) == 1


def test_hints_of_which_nobody_told_keep_the_window_open() -> None:
    """Whoever hears events need not tell of each: he is asked at the end, and a quiet time after the last is waited."""
    clock = Clock()
    heard: list[float] = []
    times: list[float] = []
    made = QuietWindow(clock, lambda: times.append(clock.seconds()), 0.1, 2.0, lambda: heard.pop() if heard else None)
    made.hint()
    clock.advance(0.07)
    heard.append(clock.seconds())
    clock.advance(0.04)
    assert times == []
    assert made.waiting
    clock.advance(0.07)
    assert times == [clock.seconds()]
    assert not made.waiting


def test_such_hints_do_not_keep_it_open_for_ever() -> None:
    """Somebody who saves without a pause is heard of after max_wait."""
    clock = Clock()
    times: list[float] = []
    made = QuietWindow(clock, lambda: times.append(clock.seconds()), 0.1, 0.5, clock.seconds)
    made.hint()
    for _ in range(100):
        clock.advance(0.01)
    assert len(times) == 1
    assert 0.5 <= times[0] < 0.52


def test_a_hint_that_is_as_old_as_the_window_is_over_with_it() -> None:
    """What was heard before the last hint that was told of adds nothing."""
    clock = Clock()
    times: list[float] = []
    made = QuietWindow(clock, lambda: times.append(clock.seconds()), 0.1, 2.0, lambda: 0.0)
    made.hint()
    clock.advance(0.1)
    assert times == [0.1]
