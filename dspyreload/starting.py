"""Starting under ``twistd``: what the game registers, what ``--strict`` asks for, and a start that is refused."""

from __future__ import annotations

import contextlib
import gc
import os
import pwd
import sys
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.util import switchUID

from dspyreload.config import HotReloadConfig
from dspyreload.disk.check import check_directory
from dspyreload.disk.scan import RootMissing
from dspyreload.engine import DSPyEngine
from dspyreload.errors import DSPyReloadError
from dspyreload.live.service import HotReloadService
from dspyreload.model.faults import counted, joined, shown
from dspyreload.setups import run_setup

__all__ = ["Faults", "OwnProcess", "Setup", "faults_of", "may_read", "refuse"]

_log = Logger(namespace="dspyreload")


@attrs.frozen
class Faults:
    """What keeps a strict server from starting.

    :ivar lines: each of it, as a line of the log. ``words``: how much it is, and the first of it, in one line.
    """

    lines: tuple[str, ...]
    words: str


def faults_of(engine: DSPyEngine, *, complete: bool) -> Faults | None:
    """Read everything as at a first start, and say what a strict server does not start with; None for nothing.

    :param complete: the game registers no more: a module that waits for something will wait for ever.
    """
    config, refuses = HotReloadConfig(strict=True), engine.validators.verdict
    try:
        report = check_directory(engine.directory, config, engine.registrations(), refuses, complete=complete)
    except RootMissing as error:
        words = f"{shown(engine.directory)} can't be looked at: {shown(str(error))}"
        return Faults((words,), f"--strict: {words}")
    faults = [remark for remark in report.remarks if remark.level == "fault"]
    lines = [
        f"{shown(remark.path, 300)}{f':{remark.line}:{remark.column}' * remark.placed}: "
        + joined(remark.message, remark.mend)
        for remark in faults
    ]
    writable = [path for path in report.writable if path not in {remark.path for remark in faults}]
    for path in writable:
        place = os.path.normpath(os.path.join(engine.directory, path))
        lines.append(f"{shown(place, 300)}: its group or all may write it; run chmod go-w on it")
    lines += [f"{shown(path, 300)}: the folder can't be listed; change its permissions" for path in report.shut]
    if not lines:
        return None
    counts = [counted(len(faults), "fault")] if faults else []
    counts += [f"{counted(len(report.shut), 'folder')} that can't be listed"] if report.shut else []
    counts += [f"{counted(len(writable), 'path')} that others may write"] if writable else []
    first = " (the first: " if len(lines) > 1 else " ("
    more = "; dspyreload check names all" if len(faults) > 1 else ""
    return Faults(tuple(lines), f"--strict: {', '.join(counts)}{first}{lines[0]}); nothing is served{more}")


def may_read(directory: str, uid: int | None, gid: int | None) -> bool:
    """Say whether a user may list a directory: this one, or the one that the server becomes.

    :param uid: the user's number, or None for this user. ``gid``: the group's, or None for the user's own.
    """
    uid = None if uid == os.getuid() else uid
    if uid is None and gid is None:
        return os.access(directory, os.R_OK | os.X_OK)
    child = os.fork()  # with another user's groups; there is no thread yet
    if child == 0:
        status = 1
        try:
            if gid is None:
                gid = pwd.getpwuid(uid or 0).pw_gid
            switchUID(uid, gid)
            status = int(not os.access(directory, os.R_OK | os.X_OK))
        except (OSError, KeyError):
            status = 0  # twistd itself says that it can't become that user
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def refuse(words: str, parent: Mapping[str, Any] | None) -> NoReturn:
    """End a start with one line and exit status 1, and leave no pid file.

    :param parent: ``twistd``'s own options.
    :raises DSPyReloadError: in a daemon: ``twistd`` hands it to the command that waits for the daemon, and would have
        that wait for ever after a ``SystemExit``.
    """
    if parent is not None and not parent.get("nodaemon"):
        raise DSPyReloadError(words)
    name = parent.get("pidfile") if parent is not None else None
    if name:
        with contextlib.suppress(OSError, ValueError):
            with open(name, encoding="ascii") as file:
                is_ours = int(file.read(32)) == os.getpid()
            if is_ours:
                os.unlink(name)
    raise SystemExit(words)


_SWITCH = 0.001  # seconds that one thread may keep the others waiting; Python's own are five times as many


def _spare(_result: object) -> None:
    """Let the garbage collector pass over what is there now: it would go through all of DSPy again and again."""
    gc.freeze()


class OwnProcess(Service):
    """Changes what only a process of our own may: the garbage collector, and how soon threads take turns."""

    def __init__(self, hot_reload: HotReloadService) -> None:
        self._hot_reload = hot_reload
        self._before = sys.getswitchinterval()

    def startService(self) -> None:
        """Begin, and spare the collector what was made until all is loaded."""
        super().startService()
        self._before = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH)
        self._hot_reload.when_ready().addCallbacks(_spare, lambda _stopped: None)

    def stopService(self) -> None:
        """Leave the process as it was."""
        super().stopService()
        sys.setswitchinterval(self._before)
        gc.unfreeze()


class Setup(Service):
    """Runs the game's ``setup(engine)``, and ends the engine with the process.

    :param parent: ``twistd``'s own options.
    """

    def __init__(
        self,
        engine: DSPyEngine,
        module: str | None,
        lms: Collection[str],
        *,
        strict: bool = False,
        parent: Mapping[str, Any] | None = None,
    ) -> None:
        self._engine, self._module, self._lms = engine, module, lms
        self._strict, self._parent = strict, parent

    def startService(self) -> None:
        """Let the game register what it has; under ``--strict``, look at everything with that.

        :raises SystemExit, DSPyReloadError: as :func:`refuse` does.
        """
        if self._module is not None:
            try:
                run_setup(self._module, self._engine)
            except DSPyReloadError as error:
                words = shown(str(error), 1000)
                _log.error("{error}", error=words)
                refuse(words, self._parent)  # one line: twistd would print its own frames around it
        if self._strict and (faults := faults_of(self._engine, complete=True)) is not None:
            for line in faults.lines:
                _log.error("{line}", line=shown(line, 1000))
            refuse(faults.words, self._parent)
        super().startService()
        if self._engine.lm is None and self._lms:
            _log.warn(
                "none of the LMs {names} is chosen for modules that name none: use --lm, or call one of them default",
                names=", ".join(shown(name) for name in sorted(self._lms)),
            )
        if self._engine.lm is not None:
            self._engine.warm().addErrback(self._not_warm).addCallback(_spare)

    def stopService(self) -> Deferred[None]:
        """End the engine."""
        super().stopService()
        return self._engine.close()

    def _not_warm(self, failure: Failure) -> None:
        reason = shown(failure.getErrorMessage(), 300)
        _log.error("the language model can't be used: {reason}", reason=reason)
