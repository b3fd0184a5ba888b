"""Whether a thread works for the passes: :class:`AtWork`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

__all__ = ["NAME", "AtWork"]

_log = Logger(namespace="dspyreload")

T = TypeVar("T")

NAME = "dspyreload-pass"

_STOP_LIMIT = 3.0


class AtWork:
    """Whether work is under way on a thread, one piece at a time. For the reactor thread.

    A stop leaves the thread behind: what it finds is not used.
    """

    def __init__(self, clock: Callable[[], IReactorTime]) -> None:
        self._clock = clock
        self._token: object | None = None
        self._left: dict[object, Deferred[None]] = {}  # what was left behind by a stop and has not ended

    @property
    def is_busy(self) -> bool:
        """Whether work was begun that is not done."""
        return self._token is not None

    def begun(self, then: Callable[[T | Failure], None]) -> Callable[[T | Failure], None]:
        """Take note that work begins.

        :param then: called with what came of it, unless :meth:`stop` was called meanwhile.
        :return: to be called with what came of it, also where it could not begin.
        """
        token = self._token = object()

        def ended(outcome: T | Failure) -> None:
            if token is self._token:
                self._token = None
                then(outcome)
            elif token in self._left:
                self._left.pop(token).callback(None)

        return ended

    def stop(self) -> Deferred[None]:
        """Use nothing of what is at work.

        :return: fires when its thread has ended, or after 3 s, with a line in the log that names the thread.
        """
        token, self._token = self._token, None
        if token is None:
            return succeed(None)
        done: Deferred[None] = Deferred()
        limit = self._clock().callLater(_STOP_LIMIT, self._give_up, token)
        self._left[token] = done
        return done.addBoth(lambda _result: limit.cancel() if limit.active() else None)

    def _give_up(self, token: object) -> None:
        done = self._left.pop(token)
        _log.warn(
            "the thread {thread} did not end within {limit} s; what it finds will not be used",
            thread=NAME,
            limit=_STOP_LIMIT,
        )
        done.callback(None)
