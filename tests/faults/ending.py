"""That a service ends, whatever the fault: how long its stop took, and that nothing of it is left."""

from __future__ import annotations

import os
import threading

from tests.faults.game import LIMIT, Game, reactor
from tests.faults.rows import Seen

__all__ = ["check", "left", "stop"]

_LONGEST = 15.0  # seconds: three times what a stop may take, for a machine that is busy


def left() -> list[str]:
    """Return what there is of services in this process: threads, ours and watchdog's, and inotify's descriptors."""
    threads = [
        thread.name
        for thread in threading.enumerate()
        if thread.name.startswith("dspyreload") or type(thread).__module__.startswith("watchdog.")
    ]
    descriptors = []
    for number in os.listdir("/proc/self/fd"):
        try:
            to = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:  # the one of this very listing
            continue
        if to == "anon_inode:inotify":
            descriptors.append(to)
    return sorted(threads + descriptors)


async def stop(*games: Game) -> float:
    """Stop the services of all games of this process, and return how many seconds the slowest took."""
    longest = 0.0
    for game in games:
        began = reactor.seconds()
        await game.service.stopService().addTimeout(LIMIT, reactor)
        longest = max(longest, reactor.seconds() - began)
    assert left() == []
    return longest


def check(seen: Seen, *seconds: float) -> None:
    """Hold stops to their limit, and keep the longest for the table."""
    assert max(seconds) <= _LONGEST, f"stopService took {max(seconds):.1f} s"
    seen(f"stopped in {max(seconds):.2f} s")
