"""Which files there are: one listing of the modules directory, and which names count."""

from __future__ import annotations

import os
import re

import attrs

from dspyreload.disk.reading import stamp_of
from dspyreload.model.faults import shown
from dspyreload.model.finding import Stamp
from dspyreload.model.manifest import MANIFEST

__all__ = ["Listing", "list_tree", "passed_over"]

_TEMPORARY = re.compile(r".*~|.*\.sw[a-z]|.*\.tmp|.*\.bak|4913|#.*#|.*___jb_(tmp|old|bak)___")


def passed_over(name: str) -> bool:
    """Say whether a name is hidden (``.git``, ``..data``), or one that editors and tools leave behind."""
    return name.startswith(".") or _TEMPORARY.fullmatch(name) is not None


@attrs.define
class Listing:
    """The files of a tree, by relative path, each with its stat signature (None: no regular file).

    :ivar problems: what could not be listed, by relative path, in words.
    :ivar cut: whether there were more files than are allowed.
    """

    files: dict[str, Stamp | None] = attrs.field(factory=dict)
    problems: dict[str, str] = attrs.field(factory=dict)
    cut: bool = False

    def unseen(self, path: str, by_listing: bool = True) -> bool:
        """Say whether a path may be there though it is not listed.

        :param by_listing: whether only the listing can tell of it; false for a path that a manifest names.
        """
        if self.cut and by_listing:
            return True
        return any(not folder or path.startswith(f"{folder}/") for folder in self.problems) and not self.cut


def list_tree(root: str, extensions: tuple[str, ...], limit: int) -> Listing:
    """List what may be a module under the real path ``root``; at most ``limit`` files.

    A symlinked folder is followed where it stays inside, each at most once, so that links can lead round for no longer
    than the tree is large.
    """
    return _Lister(root, extensions, limit).list()


class _Lister:
    def __init__(self, root: str, extensions: tuple[str, ...], limit: int) -> None:
        self.root, self.extensions, self.limit = root, extensions, limit
        self.found = Listing()
        self.folders = [""]
        self.links: list[str] = []
        self.followed: set[str] = set()

    def list(self) -> Listing:
        while self.folders or self.links:
            if not self.folders:  # links last and in order, so that it is always the same ones that are followed
                self.follow()
                continue
            folder = self.folders.pop()
            try:
                with os.scandir(f"{self.root}/{folder}") as entries:
                    for entry in entries:
                        self.sort_in(entry, folder)
            except OSError as error:
                self.found.problems[folder] = f"the folder can't be listed: {shown(error.strerror or str(error))}"
        return self.found

    def sort_in(self, entry: os.DirEntry[str], folder: str) -> None:
        name = entry.name
        if passed_over(name):
            return
        path = f"{folder}/{name}" if folder else name
        try:
            if entry.is_dir():
                (self.links if entry.is_symlink() else self.folders).append(path)
            elif name.lower().endswith(self.extensions) and path != MANIFEST:
                self.put(path, stamp_of(entry.stat()) if entry.is_file() else None)
        except OSError:
            return  # a symlink that leads nowhere, or gone since the folder was listed

    def put(self, path: str, stamp: Stamp | None) -> None:
        try:
            path.encode()
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
