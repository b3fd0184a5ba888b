"""How many calls may begin in one turn of the LM loop: :class:`Pace`."""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["Pace"]

_AT_ONCE = 16


class Pace:
    """Lets calls begin a few at a time, first come first served.

    asyncio runs tasks in step: of a thousand that begin together, the first request would leave when the last is
    written, and while all of them wait nothing is computed. A few at a time, some are under way while others are being
    written.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._begun = 0  # in this turn of the loop

    async def turn(self) -> None:
        """Return when this task may begin."""
        loop = asyncio.get_running_loop()
        if self._begun == 0:
            loop.call_soon(self._next, loop)
        self._begun += 1
        if self._begun <= _AT_ONCE and not self._waiting:
            return
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append(future)
        await future

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._begun = 0
        while self._waiting and self._begun < _AT_ONCE:
            future = self._waiting.popleft()
            if not future.done():  # else it was cancelled
                future.set_result(None)
                self._begun += 1
        if self._begun:
            loop.call_soon(self._next, loop)
