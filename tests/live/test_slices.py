"""Long work on a thread lets the reactor on."""

from __future__ import annotations

from dspyreload.live.slices import Slices


class Time:
    """A clock that moves when something works or rests."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rests: list[float] = []

    def rest(self, seconds: float) -> None:
        self.rests.append(self.now)
        self.now += seconds


def test_the_items_come_in_order() -> None:
    """A rest changes nothing of what is done."""
    time = Time()
    assert list(Slices(lambda: time.now, time.rest)(range(100))) == list(range(100))
    assert time.rests == []


def test_it_rests_whenever_a_millisecond_is_used_up() -> None:
    """The next thing that the reactor has to do waits no longer than that."""
    time = Time()
    for _item in Slices(lambda: time.now, time.rest)(range(100)):
        time.now += 0.0003
    gaps = [later - sooner for sooner, later in zip(time.rests, time.rests[1:], strict=False)]
    assert len(gaps) > 20
    assert max(gaps) < 0.0015


def test_all_loops_of_a_pass_count_together() -> None:
    """Many short loops after each other are long work too."""
    time = Time()
    slices = Slices(lambda: time.now, time.rest)
    for _loop in range(10):
        for _item in slices(range(3)):
            time.now += 0.0001
    assert len(time.rests) == 2
