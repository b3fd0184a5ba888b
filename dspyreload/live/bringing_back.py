"""What served before a restart, brought back before a pass looks at the disk: :class:`BringingBack`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from dspyreload.live.at_work import NAME, AtWork
from dspyreload.live.committing import Committing
from dspyreload.live.live import Live
from dspyreload.live.slices import Slices
from dspyreload.model.registrations import Registrations
from dspyreload.model.restoring import Restored, StoredState, restore
from dspyreload.reactor import IReactor, StartThread, in_thread

__all__ = ["BringingBack"]

_log = Logger(namespace="dspyreload")


class BringingBack:
    """Brings back at the start what can be, and the rest when the game registers what it needs.

    :param at_work: whether a thread works already is for the caller to ask.
    """

    def __init__(
        self,
        committing: Committing,
        live: Live,
        at_work: AtWork,
        clock: Callable[[], IReactor],
        registrations: Callable[[], Registrations],
        start_thread: StartThread,
    ) -> None:
        self._committing, self._live, self._at_work = committing, live, at_work
        self._clock, self._registrations, self._start_thread = clock, registrations, start_thread
        self._started: Deferred[None] | None = None
        self._tried: frozenset[str] = frozenset()

    def expect(self, state: StoredState) -> Deferred[None]:
        """Bring back this at the next :meth:`begin`.

        :return: fires when that is done; never where :meth:`stop` comes first.
        """
        self._committing.kept = state
        self._started = deferred = Deferred[None]()
        return deferred

    def is_due(self, names: Iterable[str]) -> bool:
        """Say whether there is something to bring back now.

        :param names: what was registered since a pass began last.
        """
        return self._committing.kept is not None and (self._started is not None or bool(set(names) - self._tried))

    def set_tried(self, names: Iterable[str]) -> None:
        """Take note that the rest was tried with these registrations, and with no others since a pass began last."""
        self._tried = frozenset(names)

    def retry(self, name: str) -> None:
        """Try the rest once more: something was registered again under a name."""
        self._tried -= {name}

    def begin(self, names: Iterable[str], then: Callable[[], None]) -> None:
        """Bring back what can be, beside the reactor.

        :param then: called on the reactor thread when it is done.
        """
        state, snapshot, known = self._committing.kept, self._live.snapshot, self._committing.known
        assert state is not None, "it is due"
        registrations = self._registrations()
        self.set_tried(names)

        def done(outcome: Restored | Failure) -> None:
            if isinstance(outcome, Failure):
                _log.failure("what served before can't be brought back", outcome)
                self._committing.kept = None
            else:
                self._committing.kept = outcome.waiting
                self._committing.bring_back(outcome)
            started, self._started = self._started, None
            if started is not None:
                started.callback(None)
            then()

        ended = self._at_work.begun(done)
        work = lambda: restore(state, snapshot, known, registrations, Slices())  # noqa: E731 - of these, whatever comes
        in_thread(self._clock(), self._start_thread, NAME, work, ended)

    def stop(self) -> None:
        """Forget it: the next start reads it again."""
        self._started = self._committing.kept = None
