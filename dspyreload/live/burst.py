"""Many calls on watchdog's threads → one wake-up of the reactor for each quiet window."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

import attrs

from dspyreload.disk.tree import passed_over
from dspyreload.model.manifest import MANIFEST

__all__ = ["Burst", "Gathered", "Interest"]

_MOST_PATHS = 1000  # beyond that many, looking everywhere is cheaper
_STORM = 250  # events within a window: more than a busy log makes
_WINDOW = 0.2  # seconds


@attrs.frozen
class Gathered:
    """What watchdog's threads have told.

    :ivar paths: relative to the root, or None for the whole tree; empty for nothing.
    :ivar latest: when the last of it came, in seconds of the clock; None for nothing.
    """

    paths: Collection[str] | None = ()
    latest: float | None = None


@attrs.frozen
class Interest:
    """Which paths are worth a look.

    :ivar extensions: endings of files that may be modules, lower case.
    :ivar is_known: whether a module is made of a file, whatever its ending. Asked on watchdog's threads.
    """

    extensions: tuple[str, ...]
    is_known: Callable[[str], bool]

    def hint(self, path: str, *, directory: bool, appeared: bool) -> str | None:
        """Return what a change of ``path`` hints at: the path, "" for the whole tree, or None for nothing.

        :param directory: whether the event is one of a directory.
        :param appeared: whether the name came or went, rather than its content.
        """
        parts = path.split("/")
        if path in ("", ".") or any(part.startswith("..") for part in parts):
            return ""  # a ConfigMap's swap, which names no file that changed
        if any(passed_over(part) for part in parts):
            return None
        if directory:
            return ""
        if path == MANIFEST or path.lower().endswith(self.extensions) or self.is_known(path):
            return path
        return "" if appeared and "." not in parts[-1] else None  # a symlink to a folder looks like a file


class Burst(logging.Handler):
    """Gathers hints on watchdog's threads: its event handler, and the handler of its log of lost events.

    The first one wakes the reactor, which takes what is there when it likes; until it says that it listens again,
    only a storm wakes it.

    :param clock: seconds; asked on watchdog's threads.
    :param weathers: a storm of events is nothing special.
    :ivar storm: there were more events than are worth hearing one by one: from then on none is heard, and the watch is
        to be dropped. watchdog's threads fight for the interpreter lock for each of them, whatever we do with it.
    """

    def __init__(
        self,
        root: str,
        interest: Interest,
        wake: Callable[[], None],
        *,
        weathers: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(logging.WARNING)
        self._root, self._interest, self._wake = root, interest, wake
        self._above = f"{root.rstrip('/')}/"
        self._weathers, self._clock = weathers, clock
        self.storm = False
        self._since, self._events = clock(), 0
        self._gate = threading.Lock()
        self._paths: set[str] = set()
        self._latest: float | None = None
        self._whole = self._woken = self._ended = False

    def dispatch(self, event: Any) -> None:
        """Take an event. Never raises: that would end the observer's thread."""
        if self.storm:
            return
        try:
            paths = [self._relative(os.fsdecode(name)) for name in (event.src_path, event.dest_path) if name]
            if self._is_storm(paths):
                self.storm = True
                with self._gate:
                    self._woken = False  # that can't wait
                self._add("", True, True)
                return
            appeared = event.event_type in ("created", "moved", "deleted")
            for path in paths:
                self._add(path, event.is_directory, appeared)
        except Exception:
            self._add("", True, True)

    def _relative(self, path: str) -> str:
        # In a storm each of these microseconds is taken from the game.
        return path[len(self._above) :] if path.startswith(self._above) else os.path.relpath(path, self._root)

    def _is_storm(self, paths: list[str]) -> bool:
        # A ConfigMap's new files are all written beside the old ones, and then it is over.
        if self._weathers or any(path.startswith("..") or "/.." in path for path in paths):
            return False
        now = self._clock()
        if now - self._since > _WINDOW:
            self._since, self._events = now, 0
        self._events += 1
        return self._events > _STORM

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line of watchdog's log: events were lost."""
        if "overflow" in record.getMessage():
            self._add("", True, True)

    def _add(self, path: str, directory: bool, appeared: bool) -> None:
        hint = self._interest.hint(path, directory=directory, appeared=appeared)
        if hint is None:
            return
        with self._gate:
            self._latest = self._clock()
            self._whole = self._whole or hint == "" or len(self._paths) >= _MOST_PATHS
            if not self._whole:
                self._paths.add(hint)
            if self._woken or self._ended:
                return
            self._woken = True
        try:
            self._wake()
        except Exception:
            self._woken = False  # the reactor is gone, or not there yet: the next event tries again

    def take(self, *, listen: bool) -> Gathered:
        """Return what was gathered. On the reactor thread.

        :param listen: be woken by the next hint; else the reactor comes by itself.
        """
        with self._gate:
            gathered = Gathered(None if self._whole else self._paths, self._latest)
            self._paths, self._whole, self._latest = set(), False, None
            self._woken = self._woken and not listen
        return gathered

    def end(self) -> None:
        """Wake nobody any more."""
        self._ended = True
