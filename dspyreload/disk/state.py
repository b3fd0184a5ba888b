"""The state file: what serves, and the last versions of each module, in a SQLite database that a restart reads.

One connection, used by one thread at a time. Whatever goes wrong is a :class:`StateFault`; then the file is closed, and
:meth:`StateFile.open` tries anew.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
import urllib.parse
from collections.abc import Iterator, Sequence

from dspyreload.disk.owning import NoFile, Ownership, Taken, identity_of
from dspyreload.disk.stored import (
    APPLICATION,
    FORMAT,
    ROW,
    TABLES,
    StateFault,
    StateRefused,
    about,
    damaged,
    kept_version,
    load,
    stored_version,
    words_of,
)
from dspyreload.disk.storing import Written, put, store
from dspyreload.model.faults import shown
from dspyreload.model.restoring import KeptVersion, StoredState
from dspyreload.model.snapshot import Snapshot
from dspyreload.model.steps import Steps, at_once

__all__ = ["StateFile"]

_BUSY = 1.0  # seconds to wait for another program
_LONGEST = 60.0  # seconds that reading or writing may take: a hostile file could have it go on for ever
_STEPS = 100_000  # of SQLite's machine, between two looks at the clock
_HEADER, _SHORTEST = b"SQLite format 3\0", 512  # bytes of a database
_OWN = "give each server a file of its own"


class StateFile:
    """A state file of one modules directory, and of one process at a time.

    :param path: of the file; it is made where there is none. ``directory``: the modules directory, absolute.
    :param limit: bytes; of larger contents nothing is believed.
    :param steps: how the long loops go.
    """

    def __init__(self, path: str, directory: str, limit: int, steps: Steps = at_once) -> None:
        self.path, self.directory, self._limit, self._steps = path, directory, limit, steps
        self._name = shown(path, 300)
        self._ownership = Ownership()
        self._database: sqlite3.Connection | None = None
        self._written = Written()

    @property
    def is_open(self) -> bool:
        """Whether it can be written to."""
        return self._database is not None

    def open(self) -> StoredState:
        """Open the file for this process alone, and read what it keeps as live.

        :raises StateFault: where it can't be used.
        """
        with self._failing():
            self._own()
            database = self._database = self._connected("mode=rw")
            is_new = self._check_format(database)
            database.executescript(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;"
                "PRAGMA journal_size_limit = 4194304;"
            )
            if is_new:
                database.executescript(f"BEGIN IMMEDIATE; {TABLES} COMMIT;")
            self._claim(database)
            state, live, manifest = load(database, self._limit, self._steps)
            self._written = Written(live=live, manifest=manifest)
            return state

    def read(self) -> StoredState:
        """Read what a file keeps that can't be opened for writing.

        :raises StateFault: where that fails too, or another modules directory's is kept there.
        """
        with self._failing():
            journal = f"{os.path.realpath(self.path)}-wal"
            waiting = os.path.exists(journal) and os.path.getsize(journal) > 0
            how = "mode=ro" if waiting else "mode=ro&immutable=1"  # that needs no files beside it
            database = self._database = self._connected(how)
            self._check_format(database)
            self._check_directory(database)
            state, _live, _manifest = load(database, self._limit, self._steps)
        self.close()
        return state

    def probe(self) -> None:
        """Refuse a file that another server or program uses, or that keeps another modules directory; make none.

        :raises StateRefused: where it is so. What else is wrong with it comes out when it is opened.
        """
        if not os.path.exists(self.path):
            return
        try:
            with self._failing():
                self._own()
                database = self._database = self._connected("mode=ro")
                if not self._check_format(database):
                    self._check_directory(database)
        except StateRefused:
            raise
        except StateFault:
            return
        finally:
            self.close()

    def write(self, snapshots: Sequence[Snapshot], root: tuple[int, int] | None, waiting: frozenset[str]) -> None:
        """Keep what is live, and the versions that were.

        :param snapshots: those that were live since the last call, in order.
        :param root: the identity of the modules directory.
        :param waiting: ids that do not serve yet, of which the file keeps the last good version.
        :raises StateFault: where that fails; then the file is as it was, and closed.
        """
        with self._failing():
            assert self._database is not None
            self._check_place()
            self._database.execute("BEGIN IMMEDIATE")
            written = store(self._database, snapshots, root, waiting, self._written, self._steps)
            self._database.execute("COMMIT")
            self._written = written

    def versions(self, module_id: str) -> tuple[KeptVersion, ...]:
        """Return the last versions of a module that are kept, the newest first; damaged ones are left out.

        :raises StateFault: where they can't be read.
        """
        with self._failing():
            assert self._database is not None
            select = f"SELECT {ROW}, v.live_since FROM versions v WHERE module_id = ? ORDER BY number DESC"
            found: list[KeptVersion] = []
            for *row, live_since in self._database.execute(select, (module_id,)).fetchall():
                with contextlib.suppress(StateFault):
                    found.append(kept_version(stored_version(self._database, tuple(row), self._limit), live_since))
            return tuple(found)

    def close(self) -> None:
        """Close it. Twice does no harm."""
        database, self._database = self._database, None
        self._written = Written()
        if database is not None:
            with contextlib.suppress(sqlite3.Error):
                database.close()
        self._ownership.release()

    # Opening

    def _own(self) -> None:
        try:
            self._ownership.take(self.path)
        except Taken as taken:
            whose = "service of this process" if taken.args[0] else f"server{self._whose()}"
            raise StateRefused(f"{self._name} is in use by another {whose}; {_OWN}") from None
        except NoFile:
            raise StateRefused(f"{self._name} is no file; name another one") from None
        start = self._ownership.start(_SHORTEST)
        if start and (len(start) < _SHORTEST or not start.startswith(_HEADER)):  # SQLite writes over what is shorter
            raise StateFault(damaged(self.path))

    def _whose(self) -> str:
        """Say which server uses the file, if it can be told."""
        with contextlib.suppress(sqlite3.Error, OSError, ValueError, TypeError):
            database = self._connected("mode=ro")
            try:
                process, directory = about(database, "process"), about(database, "directory")
            finally:
                database.close()
            return f" (process {int(process)}, of {shown(os.fsdecode(directory), 300)})"
        return ""

    def _connected(self, how: str) -> sqlite3.Connection:
        uri = f"file://{urllib.parse.quote(os.fsencode(self.path))}?{how}"
        database = sqlite3.connect(uri, uri=True, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        _limit_time(database)
        database.executescript("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;")
        return database

    def _check_format(self, database: sqlite3.Connection) -> bool:
        """Refuse what is not ours; say whether there is nothing in it yet."""
        (application,) = database.execute("PRAGMA application_id").fetchone()
        (version,) = database.execute("PRAGMA user_version").fetchone()
        (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application != APPLICATION and (application or version or tables):
            raise StateRefused(f"{self._name} is another program's database, and left alone; name another file")
        if version > FORMAT:
            raise StateFault(f"{self._name} was written by a newer dspyreload; name another file")
        return not tables

    def _claim(self, database: sqlite3.Connection) -> None:
        self._check_directory(database)
        database.execute("BEGIN IMMEDIATE")
        put(database, "directory", os.fsencode(self.directory))
        put(database, "process", os.getpid())
        database.execute("COMMIT")

    def _check_directory(self, database: sqlite3.Connection) -> None:
        found = about(database, "directory")
        other = os.fsdecode(found) if isinstance(found, bytes) else self.directory
        if other != self.directory and os.path.isdir(other) and not _is_same(other, self.directory):
            raise StateRefused(f"{self._name} keeps the modules of {shown(other, 300)}; {_OWN}")

    def _check_place(self) -> None:
        try:
            there = identity_of(os.stat(self.path)) == self._ownership.identity
        except FileNotFoundError:
            there = False
        if not there:
            raise StateFault(f"{self._name} is not there any more")

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """Close the file where something fails, and say what it was."""
        if self._database is not None:
            _limit_time(self._database)
        try:
            yield
        except StateFault:
            self.close()
            raise
        except (sqlite3.Error, OSError, OverflowError, ValueError) as error:
            self.close()
            raise StateFault(words_of(self.path, error)) from error
        except BaseException:
            self.close()
            raise


def _limit_time(database: sqlite3.Connection) -> None:
    until = time.monotonic() + _LONGEST
    database.set_progress_handler(lambda: time.monotonic() > until, _STEPS)


def _is_same(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False
