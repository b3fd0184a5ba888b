"""What the passes say on the board of health: whether what is saved in the modules directory can become live."""

from __future__ import annotations

from typing import ClassVar

from twisted.logger import Logger
from twisted.python.failure import Failure

from dspyreload.disk.scan import RootMissing
from dspyreload.live.live import Live
from dspyreload.model.faults import shown
from dspyreload.model.plan import Plan

__all__ = ["HOLLOW", "RootHealth"]

_log = Logger(namespace="dspyreload")

HOLLOW = "the modules directory is another than before, and empty"
_ROOT, _PASSES, _FOLDERS = "root", "passes", "folders"


class RootHealth:
    """Reports of the directory, of its folders and of passes that fail. For the reactor thread.

    :param root: the modules directory.
    :cvar sources: under which names it reports.
    """

    sources: ClassVar = (_ROOT, _PASSES, _FOLDERS)

    def __init__(self, root: str, live: Live) -> None:
        self._root, self._live, self._board = shown(root), live, live.board

    def looked(self, plan: Plan) -> None:
        """Say what a pass saw, before it is carried out."""
        self._board.solve(_PASSES, "passes succeed again")
        if plan.hollow:
            self._board.report(_ROOT, "failing", f"{self._root}: {HOLLOW}; {self._still()}")
        else:
            number = self._live.snapshot.generation
            self._board.solve(_ROOT, f"{self._root}: the modules directory is {'back' if number else 'there'}")

    def listed(self, shut: tuple[str, ...] | None) -> None:
        """Say which folders can't be listed; None where a pass listed none."""
        if shut:
            more = f" and {len(shut) - 1:,} more folders" if len(shut) > 1 else ""
            where = f"{self._root}/{shown(shut[0])}"
            words = f"{where}{more} can't be listed; change the permissions; what serves of it goes on serving"
            self._board.report(_FOLDERS, "failing", words)
        elif shut is not None:
            self._board.solve(_FOLDERS, f"{self._root}: every folder can be listed again")

    def failed(self, failure: Failure) -> str:
        """Say why a pass failed, with frames in the log where that is not the directory's fault; return it in words."""
        if failure.check(RootMissing):
            reason = f"the modules directory can't be looked at ({shown(str(failure.value))})"
            self._board.report(_ROOT, "failing", f"{self._root}: {reason}; {self._still()}")
        else:
            reason = shown(f"{failure.type.__name__ if failure.type else ''}: {failure.value}")
            _log.failure("a pass failed", failure)
            self._board.report(_PASSES, "failing", f"{self._root}: passes fail ({reason}); {self._still()}")
        return reason

    def _still(self) -> str:
        number = self._live.snapshot.generation
        return f"generation {number} is still serving" if number else "nothing is served; it is waited for"
