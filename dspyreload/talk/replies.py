"""A reply while it is being said: :class:`ReplyStream`."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from dspyreload.lm.reply import Chunk, Reply
from dspyreload.raised import log_raised

__all__ = ["ReplyStream"]

_log = Logger(namespace="dspyreload")


class ReplyStream(Deferred[Reply]):
    """A Deferred of the reply, and an async iterator over what comes before it: chunks, and last the ``Reply``.

    Cancelling it cancels the call. As an iterator it is for coroutines that Twisted runs.
    """

    def __init__(self, on_chunk: Callable[[Chunk], object] | None = None) -> None:
        super().__init__(lambda _stream: self._call.cancel() if self._call is not None else None)
        self._on_chunk = on_chunk
        self._call: Deferred[Reply] | None = None
        self._items: deque[Chunk | Reply | Failure] = deque()
        self._waiting: Deferred[Chunk | Reply] | None = None
        self._iterated = self._over = self._said = False

    def follow(self, call: Deferred[Reply]) -> None:
        """Fire with what a call gives."""
        self._call = call
        call.addBoth(self._end)

    def put(self, chunk: Chunk) -> None:
        """Take a piece of the reply."""
        if self.called:
            return
        if self._on_chunk is not None:
            try:
                self._on_chunk(chunk)
            except Exception:
                if not self._said:  # once: it may do so at each of a hundred pieces
                    log_raised(_log, "on_chunk raised; the reply goes on", Failure(), private=True)
                self._said = True
        self._give(chunk)

    def _end(self, outcome: Reply | Failure) -> None:
        self._call = None
        if self.called:  # it was cancelled
            return
        if isinstance(outcome, Failure):
            self.errback(outcome)
        else:
            self.callback(outcome)
        self._give(outcome)

    def _give(self, item: Chunk | Reply | Failure) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            self._items.append(item)
        elif isinstance(item, Failure):
            self._over = True
            waiting.errback(item)
        else:
            self._over = isinstance(item, Reply)
            waiting.callback(item)

    def __aiter__(self) -> ReplyStream:
        if not self._iterated:
            self._iterated = True
            self.addErrback(lambda _failure: None)  # who iterates hears of it there
        return self

    def __anext__(self) -> Awaitable[Any]:
        if self._items:
            item = self._items.popleft()
            if isinstance(item, Failure):
                self._over = True
                item.raiseException()
            self._over = isinstance(item, Reply)
            return succeed(item)
        if self._over:
            raise StopAsyncIteration
        waiting: Deferred[Chunk | Reply] = Deferred(lambda _deferred: self.cancel())
        self._waiting = waiting
        return waiting

    async def aclose(self) -> None:
        """End the iteration, and the call with it."""
        self._over = True
        self.__aiter__()
        self.cancel()
