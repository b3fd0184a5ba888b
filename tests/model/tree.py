"""What people and tools do to a modules directory, for real, and what a kernel would tell of it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from unittest import mock

import attrs

from dspyreload.disk.holds import HOLD
from dspyreload.disk.identity import identity
from dspyreload.disk.reading import stamp_of
from dspyreload.model.finding import Stamp
from tests.model.contents import CONTENTS

__all__ = ["Event", "Events", "Tree", "same_signature"]


_frozen: dict[tuple[int, int], tuple[int, Stamp]] = {}


def _stamp(info: os.stat_result) -> Stamp:
    mtime, stamp = _frozen.get((info.st_dev, info.st_ino), (0, None))
    return stamp if stamp is not None and mtime == info.st_mtime_ns else stamp_of(info)


@contextlib.contextmanager
def same_signature(racy: bool) -> Iterator[None]:
    """Let :meth:`Tree.rewrite` leave stat signatures as they were.

    :param racy: whether every file counts as one that changed just now; else none does.
    """
    with contextlib.ExitStack() as stack:
        for name in ("reading", "tree"):
            stack.enter_context(mock.patch(f"dspyreload.disk.{name}.stamp_of", _stamp))
        stack.enter_context(mock.patch("dspyreload.disk.reading._TICK_NS", 1 << 62 if racy else 0))
        yield
    _frozen.clear()


@attrs.frozen
class Event:
    """One event, as watchdog has it; paths are relative to the root."""

    kind: str
    path: str
    dest: str = ""
    directory: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether it leads to a look at the whole tree by itself."""
        return self.directory or self.path.startswith("..")


Events = list[Event]
_NOTHING: Events = []


class Tree:
    """A directory, changed as its methods say. They do nothing where the directory is not as they need it.

    :ivar written: the SHA-256 of all that was ever wholly on the disk.
    """

    def __init__(self, base: str, *, linked: bool) -> None:
        self.base, self.root = base, f"{base}/modules"
        self.written: set[str] = set()
        self._times = 10**18
        self._roots = 0
        self._linked = linked
        os.mkdir(f"{base}/outside")
        self._put(f"{base}/outside/a.json", CONTENTS["small 3"])
        self.replace_root(copy=False)

    @property
    def is_there(self) -> bool:
        """Whether the root is."""
        return os.path.isdir(self.root)

    @property
    def identity(self) -> tuple[int, int] | None:
        """What tells the root from another that has its name."""
        return identity(self.root) if self.is_there else None

    @property
    def is_away(self) -> bool:
        """Whether the root was taken away, and can be put there again."""
        return not os.path.lexists(self.root) and os.path.isdir(f"{self.base}/away")

    @property
    def is_held(self) -> bool:
        """Whether somebody asks passes to wait."""
        return os.path.lexists(f"{self.root}/{HOLD}")

    @property
    def has_links(self) -> bool:
        """Whether a file may have several names."""
        return self.is_there and any(entry.is_symlink() for entry in self._entries(self.root))

    def files(self) -> dict[str, bytes]:
        """Return what ends in ``.json`` and is a file of the tree itself, by path."""
        found: dict[str, bytes] = {}
        for entry in self._entries(self.root) if self.is_there else ():
            path = os.path.relpath(entry.path, self.root)
            if entry.is_file(follow_symlinks=False) and path.endswith(".json") and not path.startswith("."):
                with open(entry.path, "rb") as file:
                    found[path] = file.read()
        return dict(sorted(found.items()))

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        with os.scandir(folder) as entries:
            for entry in entries:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    yield from self._entries(entry.path)

    def _put(self, name: str, data: bytes) -> None:
        with open(name, "wb") as file:
            file.write(data)
        self.written.add(hashlib.sha256(data).hexdigest())
        self._times += 1_000_000
        os.utime(name, ns=(self._times, self._times))  # no two alike, however quickly they follow each other

    def _made_room(self, path: str) -> Events | None:
        """Make the folder of a path; return what is told of that, or None where a file can't be there."""
        folder, new = os.path.dirname(path), ""
        while folder and not os.path.lexists(f"{self.root}/{folder}"):
            folder, new = os.path.dirname(folder), folder
        try:
            os.makedirs(os.path.dirname(f"{self.root}/{path}"), exist_ok=True)
        except OSError:
            return None
        if os.path.isdir(f"{self.root}/{path}"):
            return None
        return [Event("created", new, directory=True)] if new else []

    # Files

    def write(self, path: str, data: bytes) -> Events:
        """Save in place."""
        name = f"{self.root}/{path}"
        is_new, room = not os.path.lexists(name), self._made_room(path)
        if room is None or (os.path.exists(name) and not stat.S_ISREG(os.stat(name).st_mode)):
            return _NOTHING
        try:
            self._put(name, data)
        except OSError:
            return _NOTHING  # a link that leads nowhere
        events = [Event("modified", path), Event("closed", path)]
        return [*room, Event("created", path), *events] if is_new else events

    def replace(self, path: str, data: bytes) -> Events:
        """Save by rename."""
        room = self._made_room(path)
        if room is None:
            return _NOTHING
        temporary = f"{path}.tmp"
        self._put(f"{self.root}/{temporary}", data)
        os.replace(f"{self.root}/{temporary}", f"{self.root}/{path}")
        return [*room, Event("created", temporary), Event("closed", temporary), Event("moved", temporary, path)]

    def touch(self, path: str) -> Events:
        """Give a file another time."""
        name = f"{self.root}/{path}"
        if not os.path.isfile(name):
            return _NOTHING
        self._times += 1_000_000
        os.utime(name, ns=(self._times, self._times))
        return [Event("attrib", path)]

    def hold(self) -> Events:
        """Ask passes to wait, as a deploy script does. Its name is hidden: nothing is told of it."""
        self._put(f"{self.root}/{HOLD}", b"")
        return _NOTHING

    def release(self) -> Events:
        """Let passes go on."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.root}/{HOLD}")
        return _NOTHING

    def rewrite(self, path: str, data: bytes) -> bool:
        """Write other bytes of the same size, so that the stat signature stays what it is; say whether it was done."""
        name = f"{self.root}/{path}"
        if not os.path.isfile(name) or (info := os.stat(name)).st_size != len(data):
            return False
        before = _stamp(info)
        self._put(name, data)
        _frozen[(info.st_dev, info.st_ino)] = (self._times, before)
        return True

    def rename(self, path: str, dest: str) -> Events:
        """Rename a file or a link to one."""
        name = f"{self.root}/{path}"
        if not os.path.lexists(name) or os.path.isdir(name) or (room := self._made_room(dest)) is None:
            return _NOTHING
        try:
            os.rename(name, f"{self.root}/{dest}")
        except OSError:
            return room
        return [*room, Event("moved", path, dest)]

    def delete(self, path: str) -> Events:
        """Delete a file, a link or a folder with all that is in it."""
        name = f"{self.root}/{path}"
        if not os.path.lexists(name) or os.path.realpath(os.path.dirname(name)) == f"{self.base}/outside":
            return _NOTHING
        if os.path.isdir(name) and not os.path.islink(name):
            shutil.rmtree(name)
            return [Event("deleted", path, directory=True)]
        os.unlink(name)
        return [Event("deleted", path)]

    # Folders and links

    def move(self, folder: str, dest: str) -> Events:
        """Rename a folder, or move it into another one."""
        source, target = f"{self.root}/{folder}", f"{self.root}/{dest}"
        if not os.path.isdir(source) or os.path.islink(source) or os.path.lexists(target):
            return _NOTHING
        try:
            os.rename(source, target)
        except OSError:
            return _NOTHING  # into itself, or into what is no folder
        return [Event("moved", folder, dest, directory=True)]

    def link(self, path: str, target: str) -> Events:
        """Make a link, or swap one for another at once. ``target`` is seen from the link's folder."""
        name = f"{self.root}/{path}"
        if (os.path.isdir(name) and not os.path.islink(name)) or not os.path.isdir(os.path.dirname(name)):
            return _NOTHING
        os.symlink(target, f"{name}.tmp")
        os.replace(f"{name}.tmp", name)
        return [Event("moved", f"{path}.tmp", path)]

    def swap_data(self, contents: dict[str, bytes]) -> Events:
        """Do what Kubernetes does with a ConfigMap: another folder, and ``..data`` leads to it at once."""
        root, before = self.root, os.path.realpath(f"{self.root}/..data")
        self._times += 1
        version = f"..v{self._times}"
        os.mkdir(f"{root}/{version}")
        for path, data in contents.items():
            os.makedirs(os.path.dirname(f"{root}/{version}/{path}"), exist_ok=True)
            self._put(f"{root}/{version}/{path}", data)
        events = [Event("created", version, directory=True)]
        events += self.link("..data", version)
        if os.path.basename(before).startswith("..v"):
            shutil.rmtree(before, ignore_errors=True)
        return events

    # The root

    def lose_root(self) -> None:
        """Take the whole directory away, as an unmount does."""
        self._discard(f"{self.base}/away")
        os.rename(self.root, f"{self.base}/away")

    def bring_root_back(self) -> None:
        """Put it there again."""
        os.rename(f"{self.base}/away", self.root)

    def replace_root(self, *, copy: bool) -> None:
        """Put another directory in its place: empty, or with the same files.

        Every change of such a kind is found by the timer at the latest.
        """
        self._roots += 1
        new = f"{self.base}/root{self._roots}"
        if copy:
            shutil.copytree(self.root, new, symlinks=True)
        else:
            os.mkdir(new)
        if not self._linked:
            if os.path.lexists(self.root):
                self.lose_root()
            os.rename(new, self.root)
            return
        os.symlink(new, f"{self.base}/next")
        os.replace(f"{self.base}/next", self.root)

    def _discard(self, name: str) -> None:
        if os.path.islink(name):
            os.unlink(name)
        else:
            shutil.rmtree(name, ignore_errors=True)
