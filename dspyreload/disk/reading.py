"""One bounded, confined read of a regular file."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import stat
import time

import msgspec

from dspyreload.model.faults import shown
from dspyreload.model.finding import Stamp

__all__ = ["OTHERS_MAY_WRITE", "FileRead", "ReadFault", "compact", "read_file", "stamp_of", "stat_file"]

_TICK_NS = 20_000_000
"""File times move in ticks of up to 10 ms: a file that changed this lately may change again unseen."""

OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
"""Of a mode: group or world may write the file or the folder."""

_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


class FileRead(msgspec.Struct, frozen=True, gc=False):
    """The bytes of a file, their SHA-256, and the stat signature under which they were read.

    ``racy``: it changed so lately, or while it was read, that the signature proves nothing yet.
    ``shared``: its group or all may write it.
    """

    data: bytes
    digest: str
    stamp: Stamp
    racy: bool
    shared: bool = False


class ReadFault(Exception):
    """A file that can't be read; ``missing`` where there is none. ``mend``: what to do, where that does not say it."""

    def __init__(self, message: str, *, missing: bool = False, mend: str = "") -> None:
        super().__init__(message)
        self.message, self.missing, self.mend = message, missing, mend


def stamp_of(info: os.stat_result) -> Stamp:
    """Return the stat signature: device, inode, size, and the times of change of bytes and of inode, in ns."""
    return (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


def compact(stamp: Stamp) -> Stamp:
    """Return the same signature in less memory: a number that stands in it twice, or in all of them, is one object."""
    device, inode, size, changed, inode_changed = stamp
    return (_device(device), inode, size, changed, changed if inode_changed == changed else inode_changed)


@functools.lru_cache(maxsize=64)
def _device(number: int) -> int:
    return number


def stat_file(root: str, path: str) -> Stamp | None:
    """Return a file's stat signature, or None where it can't be had."""
    try:
        return stamp_of(os.stat(f"{root}/{path}"))
    except (OSError, ValueError):
        return None


def read_file(root: str, path: str, limit: int) -> FileRead:
    """Read a file once.

    :param root: the real path of the modules directory; the file's real path must lie below it.
    :param path: relative POSIX text.
    :param limit: bytes; a larger file is not read.
    :raises ReadFault: where it is missing, too large, outside, no regular file, or the system says no.
    """
    name = f"{root}/{path}"
    try:
        # Looked at before it is opened: opening a device or a FIFO can already do something.
        _check_regular(os.stat(name), limit)
        handle = os.open(name, _FLAGS)
        try:
            before = os.fstat(handle)
            _check_regular(before, limit)
            _check_inside(root, name, handle)
            data = _read(handle, before.st_size, limit)
            after = os.fstat(handle)
        finally:
            os.close(handle)
    except (FileNotFoundError, NotADirectoryError):
        raise ReadFault("the file is missing", missing=True) from None
    except OSError as error:
        raise ReadFault(_reason(error)) from None
    stamp = stamp_of(after)
    racy = stamp != stamp_of(before) or max(stamp[3], stamp[4]) > time.time_ns() - _TICK_NS
    return FileRead(
        data, hashlib.sha256(data).hexdigest(), compact(stamp), racy, bool(after.st_mode & OTHERS_MAY_WRITE)
    )


def _check_regular(info: os.stat_result, limit: int) -> None:
    if not stat.S_ISREG(info.st_mode):
        kind = "a folder" if stat.S_ISDIR(info.st_mode) else "a pipe or a device"
        raise ReadFault(f"this is {kind}, not a file", mend="put a file in its place, or name another one")
    if info.st_size > limit:
        raise ReadFault(f"the file has {info.st_size:,} bytes; {limit:,} are allowed; make it smaller")


def _check_inside(root: str, name: str, handle: int) -> None:
    try:
        real = os.readlink(f"/proc/self/fd/{handle}")  # of the very file that is open, whatever the name says by now
    except OSError:
        real = os.path.realpath(name)
    if not real.startswith(root.rstrip("/") + "/"):
        raise ReadFault("the file lies outside of the modules directory (a link leads out of it); copy it into it")


def _read(handle: int, size: int, limit: int) -> bytes:
    chunks: list[bytes] = []
    left = limit + 1
    # No more room than is needed: Python cuts what was too much off, and the C library's heap is left full of holes.
    step = min(size + 1, 1 << 20)
    while left and (chunk := os.read(handle, min(left, step))):
        chunks.append(chunk)
        left -= len(chunk)
        if len(chunk) == size:  # of one more that was asked for: this is all
            break
        step = 1 << 16
    if not left:
        raise ReadFault(f"the file has more than {limit:,} bytes, which are allowed; make it smaller")
    return b"".join(chunks)


def _reason(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return "the file may not be read here (permission denied); change its permissions"
    if error.errno == errno.ELOOP:
        return "the file is a link that leads to itself; put the file itself in its place"
    if error.errno == errno.ENAMETOOLONG:
        return "the name is too long; give the file a shorter one"
    return f"the file can't be read: {shown(error.strerror or str(error))}; ask who keeps this machine"
