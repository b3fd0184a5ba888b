"""What is there in this process that was not there before.

Counts would not do: what an earlier test left behind may end in the middle of this one.
"""

from __future__ import annotations

import gc
import os
import threading

__all__ = ["Before"]


class Before:
    """The threads and descriptors of this process at a moment."""

    def __init__(self) -> None:
        gc.collect()
        self._threads = set(threading.enumerate())
        self._descriptors = _descriptors()

    def threads(self) -> set[threading.Thread]:
        """Return the threads that are alive and were not."""
        return set(threading.enumerate()) - self._threads

    def descriptors(self) -> set[tuple[int, str]]:
        """Return number and target of the descriptors that are open and were not."""
        gc.collect()
        return _descriptors() - self._descriptors


def _descriptors() -> set[tuple[int, str]]:
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add((int(number), os.readlink(f"/proc/self/fd/{number}")))
        except FileNotFoundError:  # the one of this very listing
            continue
    return found
