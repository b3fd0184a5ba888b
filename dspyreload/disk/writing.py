"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile

from dspyreload.errors import HotReloadFailed
from dspyreload.model.faults import shown

__all__ = ["make_file", "replace_file"]


def replace_file(root: str, path: str, text: str) -> None:
    """Write a file beside the old one and rename it over: a reader sees one or the other.

    Its mode stays, and so do its owner and group, as far as this user may give files away: a server that may read it
    as its group still can.

    :param path: relative to ``root``; the file that a symlink leads to is written.
    :raises HotReloadFailed: where that fails; then the old one is as it was.
    """
    target = os.path.realpath(os.path.join(root, path))
    name = ""
    try:
        handle, name = tempfile.mkstemp(prefix=".dspyreload-", suffix=".tmp", dir=os.path.dirname(target))
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        info = os.stat(target)
        for owner in ((-1, info.st_gid), (info.st_uid, -1)):
            with contextlib.suppress(PermissionError):
                os.chown(name, *owner)
        os.chmod(name, info.st_mode & 0o7777)  # last: another owner takes a special bit away
        os.replace(name, target)
    except BaseException as error:
        if name:
            with contextlib.suppress(OSError):
                os.unlink(name)
        if isinstance(error, OSError):
            raise HotReloadFailed(path, f"it can't be written: {shown(error.strerror or str(error))}") from None
        raise


def make_file(root: str, path: str, text: str) -> None:
    """Write a new file, and the folders above it.

    :raises HotReloadFailed: where one is there already, or that fails; then there is none.
    """
    target = os.path.join(root, path)
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
    except FileExistsError as error:
        raise HotReloadFailed(
            path, f"it can't be written: {shown(str(error.filename))} is a file; move it away"
        ) from None
    except OSError as error:
        raise HotReloadFailed(path, f"it can't be written: {shown(error.strerror or str(error))}") from None
    try:
        with open(target, "x", encoding="utf-8") as file:
            try:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(target)
                raise
    except FileExistsError:
        raise HotReloadFailed(path, "it is there already, and is never written over") from None
    except OSError as error:
        raise HotReloadFailed(path, f"it can't be written: {shown(error.strerror or str(error))}") from None
