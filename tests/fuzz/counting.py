"""What is counted and measured of each input, and how a worker ends with who started it."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["LIMIT", "Counted", "SlowInput", "end_with"]

LIMIT = 1.0
"""Seconds of processor time that one input may take."""

_EVERY = 1.0  # seconds between two looks at the figures
_PR_SET_PDEATHSIG = 1


class SlowInput(Exception):
    """An input took longer than it may."""


class Counted:
    """A reader's target that counts, and measures how long each input takes.

    Of processor time, in the better of two tries: on a busy machine an input can wait for long and be no slow one.
    """

    def __init__(self, target: Callable[[bytes], None], figures: Path, limit: float = LIMIT) -> None:
        self._target, self._figures, self._limit = target, figures, limit
        self._began = self._told = time.monotonic()
        self._longest, self._executions = 0.0, 0

    def __call__(self, data: bytes) -> None:
        took = _timed(self._target, data)
        if took > self._limit:
            took = min(took, _timed(self._target, data))
        self._executions += 1
        self._longest = max(self._longest, took)
        now = time.monotonic()
        if now - self._told > _EVERY or took > self._limit:
            self._told = now
            self._tell(now - self._began)
        if took > self._limit:
            raise SlowInput(f"{took:.2f} s for an input of {len(data)} bytes")

    def _tell(self, seconds: float) -> None:
        figures = {"seconds": seconds, "executions": self._executions, "longest": self._longest}
        beside = self._figures.with_suffix(".new")
        beside.write_text(json.dumps(figures))
        beside.replace(self._figures)


def _timed(target: Callable[[bytes], None], data: bytes) -> float:
    began = time.thread_time()
    target(data)
    return time.thread_time() - began


def end_with(parent: int) -> None:
    """Have the kernel end this process when the one that started it is gone; libFuzzer would go on by itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone")
