"""What came of a look → what is live.

The order: commit, the state file, stats, the log; then in ``passes`` the Deferreds of who asked, and on a later turn of
the reactor the subscribers.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from dspyreload.live.live import Live
from dspyreload.live.report import report, report_pending, report_restored
from dspyreload.live.stats import HotReloadStats
from dspyreload.model.finding import Known
from dspyreload.model.manifest import fold
from dspyreload.model.plan import Plan, apply
from dspyreload.model.restoring import Restored, StoredState
from dspyreload.model.snapshot import Snapshot

__all__ = ["Committing"]

_log = Logger(namespace="dspyreload")

OnCommit = Callable[[Snapshot, tuple[int, int] | None, frozenset[str]], None]


class Committing:
    """Commits plans, and what served before a restart. For the reactor thread.

    :param retired: told after a commit which modules were replaced or are gone.
    :ivar known: what is known of the disk; no other file replaces it.
    :ivar kept: what served before a restart and was not brought back yet: ``bringing_back`` says what that is.
    :ivar stats: where it is counted.
    :ivar on_commit: called with what is live now, the identity of the directory, and the ids of ``kept``.
    """

    def __init__(self, live: Live, retired: Callable[[tuple[str, ...]], None]) -> None:
        self.known = Known()
        self.kept: StoredState | None = None
        self.stats = HotReloadStats()
        self.on_commit: OnCommit = lambda snapshot, root, waiting: None
        self._live, self._retired = live, retired
        self._pending_said = False

    def carry_out(self, plan: Plan) -> None:
        """Do what a pass has planned."""
        first = self._live.snapshot.generation == 0
        is_new = plan.snapshot is not self._live.snapshot
        apply(self.known, plan)
        if is_new:
            self._commit(plan.snapshot)
        if plan.changed or plan.deleted:
            self._retired(plan.retired)
        self.stats.passes += 1
        self.stats.count(len(plan.changed), len(plan.errors), len(plan.skipped))
        report(_log, plan, first=first)
        if self._pending_said:
            report_pending(_log, plan.pending.items())
        self._live.publish(plan.events)

    def paths_of(self, module_id: str) -> set[str]:
        """Return the files that may be a module's."""
        snapshot = self._live.snapshot
        paths = set(self.known.claims.get(fold(module_id), ()))
        if module_id in snapshot:
            paths.add(snapshot[module_id].path)
        if snapshot.manifest is not None and module_id in snapshot.manifest.modules:
            paths.add(snapshot.manifest[module_id].path)
        return paths

    def bring_back(self, restored: Restored) -> None:
        """Make live what served before a restart."""
        self.known = restored.known
        if restored.snapshot is not self._live.snapshot:
            self._commit(restored.snapshot)
        self.stats.count(len(restored.changed), len(restored.errors), 0)
        report_restored(_log, restored)
        self._live.publish(restored.events)

    def keep(self) -> None:
        """Have what is live now kept for a restart."""
        waiting = self.kept.ids if self.kept is not None else frozenset[str]()
        self.on_commit(self._live.snapshot, self.known.root, waiting)

    def report_pending(self) -> None:
        """Say what waits for the game to register something; from now on, say so of what comes to wait."""
        self._pending_said = True
        report_pending(_log, self.known.pending.values())

    def stop(self) -> None:
        """Let the next start begin anew: nothing is suspect, and what waits for the game is said again."""
        self._pending_said = False
        # A copy: a thread that goes on reads the old one.
        self.known = self.known.copied()

    def _commit(self, snapshot: Snapshot) -> None:
        self._live.commit(snapshot)
        self.keep()
