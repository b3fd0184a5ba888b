"""Many calls on watchdog's threads → one wake-up of the reactor."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from dspyreload.disk.tree import passed_over
from dspyreload.model.manifest import MANIFEST

__all__ = ["Burst", "Interest"]

_MOST_PATHS = 1000  # beyond that many, looking everywhere is cheaper
_STORM = 500  # events within a window
_WINDOW = 0.5  # seconds


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
        self._weathers, self._clock = weathers, clock
        self.storm = False
        self._since, self._events = clock(), 0
        self._gate = threading.Lock()
        self._paths: set[str] = set()
        self._whole = self._woken = self._ended = False

    def dispatch(self, event: Any) -> None:
        """Take an event. Never raises: that would end the observer's thread."""
        if self.storm:
            return
        try:
            if self._is_storm():
                self.storm = True
                self._add("", True, True)
                return
            appeared = event.event_type in ("created", "moved", "deleted")
            for name in (event.src_path, event.dest_path):
                if name:
                    self._add(os.path.relpath(os.fsdecode(name), self._root), event.is_directory, appeared)
        except Exception:
            self._add("", True, True)

    def _is_storm(self) -> bool:
        if self._weathers:
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

    def take(self) -> Iterable[str] | None:
        """Return what was gathered: paths, or None for the whole tree. On the reactor thread."""
        with self._gate:
            paths, whole = self._paths, self._whole
            self._paths, self._whole, self._woken = set(), False, False
        return None if whole else paths

    def end(self) -> None:
        """Wake nobody any more."""
        self._ended = True
