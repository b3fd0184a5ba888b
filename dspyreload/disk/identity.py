"""What tells a directory from all others that ever lay under its name: :func:`identity`."""

from __future__ import annotations

import ctypes
import functools
import os
import struct
from collections.abc import Callable

__all__ = ["identity"]

_HERE = -100  # AT_FDCWD: a relative path is one of the working directory
_MADE = 0x800  # STATX_BTIME
_SIZE = 256  # of the kernel's struct statx
_MASK_AT, _MADE_AT = 0, 80  # in it: what was filled in; when the file was made, seconds and nanoseconds
_BITS = (1 << 63) - 1


def identity(path: str) -> tuple[int, int]:
    """Return a directory's device, and its inode number mixed with the time when it was made.

    The number alone is given again: ext4 gives it to a directory that is made when another was just deleted, and
    each tmpfs to its root. Where the file system does not tell the time, the number has to do.

    :raises OSError: where it can't be looked at.
    """
    info = os.stat(path)
    made = int(getattr(info, "st_birthtime", 0) * 10**9) or _made(path)
    return (info.st_dev, (info.st_ino ^ made) & _BITS)


def _made(path: str) -> int:
    """Return when a file was made, in nanoseconds since the epoch, or 0. Linux tells it, and Python does not."""
    statx = _statx()
    if statx is None:
        return 0
    buffer = ctypes.create_string_buffer(_SIZE)
    if statx(_HERE, os.fsencode(path), 0, _MADE, buffer) != 0:
        return 0
    (filled,) = struct.unpack_from("=I", buffer, _MASK_AT)
    seconds, nanoseconds = struct.unpack_from("=qI", buffer, _MADE_AT)
    return seconds * 10**9 + nanoseconds if filled & _MADE else 0


@functools.cache
def _statx() -> Callable[..., int] | None:
    try:
        function = ctypes.CDLL(None).statx
    except (OSError, AttributeError):  # another system, or a C library from before 2018
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p)
    function.restype = ctypes.c_int
    return function
