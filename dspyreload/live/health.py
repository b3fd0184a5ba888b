"""How a service does, since when, and why: what an operator looks at first."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import attrs
from twisted.logger import Logger

from dspyreload.model.faults import shown

__all__ = ["Health", "HealthBoard", "Status"]

_log = Logger(namespace="dspyreload")

Status = Literal["ok", "degraded", "failing"]

_LONGEST = 2000  # characters of a line
_WORST: tuple[Status, ...] = ("failing", "degraded", "ok")


@attrs.frozen
class Health:
    """How a service does.

    :ivar status: ``ok``; ``degraded``: everything is served, and something that should help is not there; or
        ``failing``: what is saved does not become live.
    :ivar since: when it came to be so, in seconds since the epoch.
    :ivar reasons: why, in words; empty where it is ok.
    """

    status: Status
    since: float
    reasons: tuple[str, ...] = ()


@attrs.frozen
class _Problem:
    status: Status
    reason: str


class HealthBoard:
    """What is wrong at present, by who says so. Each change is logged once. For the reactor thread.

    :param changed: told how things are whenever a problem comes or goes.
    :param clock: seconds since the epoch.
    """

    def __init__(
        self, changed: Callable[[Health], None] = lambda health: None, clock: Callable[[], float] = time.time
    ) -> None:
        self._changed, self._clock = changed, clock
        self._problems: dict[str, _Problem] = {}
        self._status: Status = "ok"
        self._since = clock()

    def health(self) -> Health:
        """Say how things are."""
        worst_first = sorted(self._problems.values(), key=lambda problem: _WORST.index(problem.status))
        return Health(self._status, self._since, tuple(problem.reason for problem in worst_first))

    def report(self, source: str, status: Status, reason: str) -> None:
        """Put a problem on the board. One of a source that has one of the same status already is not news.

        :param source: who says so, such as ``state``.
        :param reason: a whole sentence, without a full stop; harmless already.
        """
        before = self._problems.get(source)
        self._problems[source] = _Problem(status, reason)
        if before is None or before.status != status:
            say = _log.error if status == "failing" else _log.warn
            self._tell(say, reason)

    def solve(self, source: str, words: str) -> None:
        """Take the problem of a source off the board, if it has one.

        :param words: what is well again.
        """
        if self._problems.pop(source, None) is not None:
            self._tell(_log.info, words)

    def forget(self, *sources: str) -> None:
        """Take problems off the board of which nobody can say any more whether they last."""
        for source in sources:
            self._problems.pop(source, None)
        self._weigh()

    def _weigh(self) -> None:
        statuses = {problem.status for problem in self._problems.values()}
        status: Status = next((status for status in _WORST if status in statuses), "ok")
        if status != self._status:
            self._status, self._since = status, self._clock()

    def _tell(self, say: Callable[..., None], words: str) -> None:
        self._weigh()
        say("{words}; health is {health}", words=shown(words, _LONGEST), health=self._status)
        self._changed(self.health())
