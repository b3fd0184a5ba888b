"""Who is changing many files at once: git, Mercurial, or a deploy script that says so. Passes wait for them."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

import attrs

from dspyreload.disk.reading import stamp_of
from dspyreload.model.finding import Stamp

__all__ = ["HOLD", "Held", "Holds", "Locks", "look_for_holds"]

Locks = frozenset[tuple[str, Stamp]]
"""Files by absolute path, each with its stat signature: another one by that name is another lock."""

HOLD = ".dspyreload-hold"
"""A file that a deploy script makes before its first change, and deletes after its last."""

_LOCKS = ((".git", "index.lock", "index"), (".hg", "wlock", "dirstate"))
"""What a version control system locks while it writes its working tree, and the file that it renews at the end."""

_DATA = "..data"
"""The link that the kubelet renames to put one set of a ConfigMap's files in place of another."""

_MOST = 4096  # bytes of a .git file


@attrs.frozen
class Holds:
    """What was found in the modules directory and in the folders above it.

    :ivar locks: what asks passes to wait.
    :ivar states: what the version control systems there, and the kubelet, renew with each change of the tree.
    """

    locks: Locks
    states: Locks


class Held(Exception):
    """A look has to wait, or what it saw was half of a change. ``locks``: those that are there."""

    def __init__(self, locks: Locks) -> None:
        super().__init__(", ".join(sorted(path for path, _stamp in locks)))
        self.locks = locks


def look_for_holds(root: str) -> Holds:
    """Look for locks in a directory and above it, by its name and by its real path."""
    trusted = _Trusted(root)
    locks: set[tuple[str, Stamp]] = set()
    states: set[tuple[str, Stamp]] = set()
    for folder in dict.fromkeys((*_upwards(os.path.abspath(root)), *_upwards(os.path.realpath(root)))):
        for lock, state in _places(folder, trusted):
            if (stamp := trusted.stamp(lock)) is not None:
                locks.add((lock, stamp))
            if (stamp := trusted.stamp(state)) is not None:
                states.add((state, stamp))
    return Holds(frozenset(locks), frozenset(states))


def _places(folder: str, trusted: _Trusted) -> Iterator[tuple[str, str]]:
    yield os.path.join(folder, HOLD), os.path.join(folder, _DATA)
    for system, lock, state in _LOCKS:
        entry = os.path.join(folder, system)
        if trusted.stamp(entry) is not None:
            place = _worktree(entry) if os.path.isfile(entry) else entry
            if place is not None:
                yield os.path.join(place, lock), os.path.join(place, state)


class _Trusted:
    """Whose files count: nobody else may make the server wait. ``/tmp`` is above many a directory, and everybody's.

    A file counts that belongs to the server's user, to the owner of the modules directory, or to root; and one of
    somebody else in a folder of theirs that they have not opened to all, such as the ``.git`` that a team shares.
    """

    def __init__(self, root: str) -> None:
        self._users = {0, os.geteuid()}
        with contextlib.suppress(OSError):
            self._users.add(os.stat(root).st_uid)

    def stamp(self, path: str) -> Stamp | None:
        """Return a file's stat signature, or None where there is none that counts."""
        try:
            info = os.lstat(path)  # Mercurial's lock is a link that leads nowhere
            if info.st_uid not in self._users:
                above = os.stat(os.path.dirname(path))
                if above.st_uid not in self._users or above.st_mode & stat.S_IWOTH:
                    return None
        except (OSError, ValueError):
            return None
        return stamp_of(info)


def _upwards(folder: str) -> Iterator[str]:
    while True:
        yield folder
        above = os.path.dirname(folder)
        if above == folder:
            return
        folder = above


def _worktree(path: str) -> str | None:
    """Return where the ``.git`` file of a worktree or a submodule says that git's own files are."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read(_MOST)
    except OSError:
        return None
    key, _, place = text.partition(":")
    return os.path.join(os.path.dirname(path), place.strip()) if key == "gitdir" and "\0" not in place else None
