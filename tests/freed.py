"""Waiting for what nobody holds any more to be gone.

The turn of the reactor, and the thread, that said that all is over hold what they said it of for a moment longer.
"""

from __future__ import annotations

import gc
import time
import weakref
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.task import deferLater

__all__ = ["freed", "freed_in_reactor"]

reactor: Any = installed
_LIMIT = 20.0
_PAUSE = 0.01


def freed(*things: weakref.ref[Any]) -> bool:
    """Let other threads let go of things; say whether all are gone."""
    end = time.monotonic() + _LIMIT
    while not _gone(things) and time.monotonic() < end:
        time.sleep(_PAUSE)
    return _gone(things)


async def freed_in_reactor(*things: weakref.ref[Any]) -> bool:
    """Let the reactor and other threads let go of things; say whether all are gone."""
    end = time.monotonic() + _LIMIT
    while not _gone(things) and time.monotonic() < end:
        await deferLater(reactor, _PAUSE)
    return _gone(things)


def _gone(things: tuple[weakref.ref[Any], ...]) -> bool:
    gc.collect()
    return all(thing() is None for thing in things)
