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

    ``problems``: what could not be listed, by relative path, in words. ``hidden``: folders among them.
    """

    files: dict[str, Stamp | None] = attrs.field(factory=dict)
    problems: dict[str, str] = attrs.field(factory=dict)

    def unseen(self, path: str) -> bool:
        """Say whether a path lies in a folder that could not be listed: then nothing says that it is gone."""
        return any(path.startswith(f"{folder}/") for folder in self.problems) or "" in self.problems


def list_tree(root: str, extensions: tuple[str, ...], limit: int) -> Listing:
    """List what may be a module under the real path ``root``; at most ``limit`` files.

    Symlinked folders are followed where they stay inside and do not lead back to a folder above themselves.
    """
    found = Listing()
    stack: list[tuple[str, tuple[str, ...]]] = [("", (root,))]
    while stack:
        folder, above = stack.pop()
        try:
            with os.scandir(f"{root}/{folder}") as entries:
                for entry in entries:
                    if len(found.files) >= limit:
                        found.problems[""] = f"more than {limit:,} files; the rest is left out"
                        return found
                    _sort_in(entry, folder, root, above, extensions, found, stack)
        except OSError as error:
            found.problems[folder] = f"the folder can't be listed: {shown(error.strerror or str(error))}"
    return found


def _sort_in(
    entry: os.DirEntry[str],
    folder: str,
    root: str,
    above: tuple[str, ...],
    extensions: tuple[str, ...],
    found: Listing,
    stack: list[tuple[str, tuple[str, ...]]],
) -> None:
    name = entry.name
    if passed_over(name):
        return
    path = f"{folder}/{name}" if folder else name
    if not name.isascii():
        try:
            name.encode()
        except UnicodeEncodeError:
            found.problems[path] = "the name is not UTF-8; rename the file"
            return
    try:
        if entry.is_dir():
            if not entry.is_symlink():
                stack.append((path, above))
            else:
                real = os.path.realpath(entry.path)
                if real.startswith(f"{root}/") and real not in above and not f"{root}/{folder}/".startswith(f"{real}/"):
                    stack.append((path, (*above, real)))
        elif name.lower().endswith(extensions) and path != MANIFEST:
            info = entry.stat()
            found.files[path] = stamp_of(info) if entry.is_file() else None
    except OSError:
        return  # a symlink that leads nowhere, or gone since the folder was listed
