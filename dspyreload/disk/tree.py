"""Which files there are: one listing of the modules directory, and which names count."""

from __future__ import annotations

import errno
import os
import re

import attrs

from dspyreload.disk.reading import OTHERS_MAY_WRITE, stamp_of
from dspyreload.model.faults import shown
from dspyreload.model.finding import Stamp
from dspyreload.model.manifest import MANIFEST
from dspyreload.model.steps import Steps, at_once

__all__ = ["Listing", "list_tree", "passed_over"]

_TEMPORARY = re.compile(r".*~|.*\.sw[a-z]|.*\.tmp|.*\.bak|4913|#.*#|.*___jb_(tmp|old|bak)___")


def passed_over(name: str) -> bool:
    """Say whether a name is hidden (``.git``, ``..data``), or one that editors and tools leave behind."""
    if name.startswith("."):
        return True
    return not name.endswith(".json") and _TEMPORARY.fullmatch(name) is not None  # no such name ends so


@attrs.define
class Listing:
    """The files of a tree, by relative path, each with its stat signature (None: no regular file).

    :ivar problems: what could not be listed, by relative path, in words.
    :ivar shut: folders among these that are there, and may not be listed.
    :ivar cut: whether there were more files than are allowed.
    :ivar writable: files and folders ("." for the whole) that group or world may write, and that can be written at all.
    """

    files: dict[str, Stamp | None] = attrs.field(factory=dict)
    problems: dict[str, str] = attrs.field(factory=dict)
    shut: list[str] = attrs.field(factory=list)
    cut: bool = False
    writable: list[str] = attrs.field(factory=list)

    def unseen(self, path: str) -> bool:
        """Say whether a path may be there though it is not listed."""
        return self.cut or any(not folder or path.startswith(f"{folder}/") for folder in self.problems)


def list_tree(root: str, extensions: tuple[str, ...], limit: int, steps: Steps = at_once) -> Listing:
    """List what may be a module under the real path ``root``; at most ``limit`` files.

    A symlinked folder is followed where it stays inside, each at most once, so that links can lead round for no longer
    than the tree is large.
    """
    return _Lister(root, extensions, limit, steps).list()


class _Lister:
    def __init__(self, root: str, extensions: tuple[str, ...], limit: int, steps: Steps) -> None:
        self.root, self.extensions, self.limit, self.steps = root, extensions, limit, steps
        self.found = Listing()
        self.folders = [""]
        self.links: list[str] = []
        self.followed: set[str] = set()

    def list(self) -> Listing:
        read_only = self.read_only()
        while self.folders or self.links:
            if not self.folders:  # links last and in order, so that it is always the same ones that are followed
                self.follow()
                continue
            folder = self.folders.pop()
            try:
                if os.stat(f"{self.root}/{folder}").st_mode & OTHERS_MAY_WRITE:
                    self.found.writable.append(folder or ".")
                above = f"{folder}/" if folder else ""
                with os.scandir(f"{self.root}/{folder}") as entries:
                    for entry in self.steps(entries):
                        if not passed_over(entry.name):
                            self.sort_in(entry, above + entry.name)
            except OSError as error:
                self.found.problems[folder] = f"the folder can't be listed: {shown(error.strerror or str(error))}"
                if not isinstance(error, (FileNotFoundError, NotADirectoryError)):  # else it was moved meanwhile
                    self.found.shut.append(folder)
        if read_only:
            self.found.writable.clear()
        return self.found

    def read_only(self) -> bool:
        """Say whether nobody can write there, whatever the modes say: a ConfigMap's say that all may."""
        try:
            return bool(os.statvfs(self.root).f_flag & os.ST_RDONLY)
        except OSError:
            return False

    def sort_in(self, entry: os.DirEntry[str], path: str) -> None:
        may_be = path.lower().endswith(self.extensions) and path != MANIFEST
        try:
            if entry.is_dir():
                (self.links if entry.is_symlink() else self.folders).append(path)
                return
            info = entry.stat() if entry.is_file() else None
            if info is not None and info.st_mode & OTHERS_MAY_WRITE:
                self.found.writable.append(path)  # also the manifest, and texts: they decide as much as modules do
            if may_be:
                self.put(path, stamp_of(info) if info is not None else None)
        except OSError as error:  # else it is gone since the folder was listed
            if error.errno == errno.ELOOP and may_be:
                self.put(path, None)  # a symlink that leads to itself: who reads it says so

    def put(self, path: str, stamp: Stamp | None) -> None:
        try:
            path.isascii() or path.encode()
        except UnicodeEncodeError:
            self.found.problems[path] = "the name is not UTF-8; rename the file"
            return
        if len(self.found.files) >= self.limit:
            self.found.problems[""], self.found.cut = f"more than {self.limit:,} files; the rest is left out", True
            self.folders.clear()
            self.links.clear()
        else:
            self.found.files[path] = stamp

    def follow(self) -> None:
        self.links.sort(reverse=True)
        link = self.links.pop()
        real = os.path.realpath(f"{self.root}/{link}")
        above = f"{self.root}/{link}".startswith(f"{real}/")
        if not f"{real}/".startswith(f"{self.root}/") and not above:
            self.found.problems[link] = (
                "a link to a folder outside of the modules directory; it is not followed; copy the folder into it"
            )
        elif not above and real not in self.followed:
            self.followed.add(real)
            self.folders.append(link)
