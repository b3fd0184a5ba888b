"""How long passes wait for whoever is changing many files at once."""

from __future__ import annotations

from twisted.logger import Logger

from dspyreload.disk.holds import Held, Locks
from dspyreload.model.faults import shown

__all__ = ["Holding"]

_log = Logger(namespace="dspyreload")

_LIMIT = 15  # times max_wait
_WORTH_SAYING = 1.0  # seconds of waiting


class Holding:
    """Remembers since when passes wait, and for which locks they do not wait any more.

    :ivar overdue: locks that nobody waits for any more: whoever made them is gone. None for any.
    :ivar states: what version control renewed last, as the last look found it.
    """

    def __init__(self) -> None:
        self.overdue: Locks | None = frozenset()
        self.states: Locks = frozenset()
        self._late: Locks = frozenset()
        self._since: float | None = None
        self._said = False

    def wait(self, held: Held, now: float, max_wait: float) -> bool:
        """Say whether a pass that was held waits on; if not, it looks all the same.

        :param now: seconds of the clock.
        """
        limit = max_wait * _LIMIT
        if self._since is None:
            self._since, self._said = now, False
        who = shown(str(held), 300) or "whoever changes the files"
        if now - self._since >= limit:
            _log.warn(
                "waited {limit:g} s for {who}; looking all the same; delete it: it is not waited for again",
                limit=limit,
                who=who,
            )
            self.overdue, self._late = None, held.locks | (self.overdue or frozenset())
            return False
        if now - self._since >= _WORTH_SAYING and not self._said:
            self._said = True
            _log.info("waiting for {who} to be gone, {limit:g} s at most", limit=limit, who=who)
        return True

    def over(self) -> None:
        """Take note that a pass has looked."""
        self._since = None
        if self.overdue is None:
            self.overdue = self._late
