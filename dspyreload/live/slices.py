"""Long work on a thread, in slices that let the reactor on: :class:`Slices`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from dspyreload.reactor import REST

__all__ = ["Slices"]

T = TypeVar("T")

_SLICE = 0.001  # seconds; by itself the interpreter changes threads after 5 ms, and later where several wait


class Slices:
    """Goes through items and sleeps for a moment whenever a slice of time is used up: ``model.steps.Steps``.

    The interpreter runs one thread at a time. One that computes keeps the reactor waiting for 5 ms each time it has
    something to do; one that sleeps lets it on at once. One of these is for one thread, and counts for all its loops.

    :param clock: seconds. ``sleep``: what a rest is.
    """

    def __init__(
        self, clock: Callable[[], float] = time.perf_counter, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._until = clock() + _SLICE

    def __call__(self, items: Iterable[T], /) -> Iterator[T]:
        """Give the items, with rests between."""
        clock = self._clock
        for item in items:
            yield item
            if clock() >= self._until:
                self._sleep(REST)
                self._until = clock() + _SLICE
