"""A file of one process: held by a lock that ends with the process, however that ends.

SQLite's own locks are held for moments only, and the kernel drops them all when a process closes any descriptor of the
file. So a file that is owned already is not even opened a second time here.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import threading

__all__ = ["NoFile", "Ownership", "Taken", "identity_of"]

_GATE = threading.Lock()
_OWNED: set[tuple[int, int]] = set()
"""Device and inode of each file that this process owns."""


class Taken(Exception):
    """Another owns the file; ``args[0]``: whether that is in this process."""


class NoFile(Exception):
    """It is a pipe, a socket or a device."""


class Ownership:
    """A hold on one file, or none.

    :ivar identity: device and inode of the file that is held.
    """

    def __init__(self) -> None:
        self.identity: tuple[int, int] | None = None
        self._handle: int | None = None

    def take(self, path: str) -> None:
        """Hold a file; it is made where there is none, for its owner's eyes alone.

        :raises Taken: where somebody else holds it.
        :raises NoFile: where it is something else.
        """
        with _GATE:
            with contextlib.suppress(FileNotFoundError):
                if identity_of(os.stat(path)) in _OWNED:
                    raise Taken(True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
            handle = os.open(path, flags, 0o600)
            try:
                self.identity = _locked(handle)
            except BaseException:
                os.close(handle)
                raise
            self._handle = handle
            _OWNED.add(self.identity)

    def start(self, length: int) -> bytes:
        """Return the first bytes of the file that is held."""
        assert self._handle is not None
        return os.pread(self._handle, length, 0)

    def release(self) -> None:
        """Let go of it, after all else that has it open. Twice does no harm."""
        with _GATE:
            handle, self._handle = self._handle, None
            identity, self.identity = self.identity, None
            if handle is not None:
                os.close(handle)
            if identity is not None:
                _OWNED.discard(identity)


def _locked(handle: int) -> tuple[int, int]:
    info = os.fstat(handle)
    if not stat.S_ISREG(info.st_mode):
        raise NoFile
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Taken(False) from None
    return identity_of(info)


def identity_of(info: os.stat_result) -> tuple[int, int]:
    """Return what tells a file from all others: device and inode."""
    return (info.st_dev, info.st_ino)
