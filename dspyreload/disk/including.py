"""What a module's file is made of: its includes and its instruction file, and what those include."""

from __future__ import annotations

import os
import posixpath

from dspyreload.disk.placing import faults_of
from dspyreload.disk.reading import FileRead, ReadFault, read_file
from dspyreload.disk.tree import passed_over
from dspyreload.model.faults import Fault, FaultError, Path, Warned, did_you_mean, near_names, quoted, shown
from dspyreload.model.finding import Stamp
from dspyreload.model.jsontext import text_of
from dspyreload.model.manifest import relative_path
from dspyreload.model.module_file import IncludedFile, TextFiles, parse_included

__all__ = ["Included", "Source"]

_MOST_TEXT_FILES = 64
_MAKE_IT = "make it, or correct its name, which counts from the folder of the file that names it"


class Source:
    """The files as one pass reads them: each at most once.

    :ivar listed: the stat signatures of a listing; for those that are the same, what was read puts its own in.
    """

    def __init__(self, root: str, limit: int, *, strict: bool = False) -> None:
        self.root, self.limit, self.strict = root, limit, strict
        self.listed: dict[str, Stamp | None] = {}
        self._said: dict[str, Fault | tuple[IncludedFile | None, str]] = {}
        self._names: dict[str, list[str]] = {}
        self._close: dict[str, list[str]] = {}
        self._reads: dict[str, FileRead | tuple[str, bool, str]] = {}

    def read(self, path: str) -> FileRead:
        """Read a file, or give what reading it gave before.

        :raises ReadFault: as :func:`read_file` does.
        """
        found = self._reads.get(path)
        if found is None:
            try:
                found = read_file(self.root, path, self.limit)
                if self.listed.get(path) == found.stamp:
                    self.listed[path] = found.stamp  # one object, for ten thousand files
            except ReadFault as fault:
                # Not the exception itself: it holds its frames, and ten thousand of those are work for the collector.
                found = (fault.message, fault.missing, fault.mend)
            if self.strict and not isinstance(found, tuple) and found.shared:
                found = ("its group or all may write this file", False, "run chmod go-w on it")
            self._reads[path] = found
        if isinstance(found, tuple):
            message, missing, mend = found
            raise ReadFault(message, missing=missing, mend=mend) from None
        return found

    def near(self, path: str, but: frozenset[str] = frozenset()) -> str:
        """Say which file was perhaps meant by one that is missing: the end of a message, or nothing."""
        folder, _, name = path.rpartition("/")
        if path not in self._close:
            self._close[path] = near_names(name, self._listed(folder), len(but) + 1)
        known = [other for other in self._close[path] if posixpath.join(folder, other) not in but]
        return did_you_mean(name, known[:1])

    def _listed(self, folder: str) -> list[str]:
        if folder not in self._names:
            try:
                names = os.listdir(f"{self.root}/{folder}")
            except OSError:
                names = []
            self._names[folder] = [name for name in names if not passed_over(name)]
        return self._names[folder]

    def said(self, path: str, read: FileRead) -> Fault | tuple[IncludedFile | None, str]:
        """Return what an included file says, as a module's file where it is one, or what is wrong with it."""
        found = self._said.get(path)
        if found is None:
            try:
                included = parse_included(read.data) if path.lower().endswith(".json") else None
                found = included, text_of(read.data) if included is None else included.instruction
            except FaultError as error:
                found = faults_of(error, read.data)[0]
            self._said[path] = found
        return found


class Included:
    """One module's file with all that it includes, gathered.

    :ivar reads: the files that were read, its own first; ``digests``: theirs, "" for one that is missing.
    :ivar stamps: the stat signature of each, None for one that can't be had.
    :ivar texts: what they say, in order. ``warnings``: what is odd about them.
    :ivar place: where the module's file names the one that can't be read.
    """

    def __init__(self, path: str, read: FileRead, source: Source) -> None:
        self.source, self._path = source, path
        self.reads = [read]
        self.digests = [read.digest]
        self.stamps: list[tuple[str, Stamp | None]] = [(path, read.stamp)]
        self.texts: list[str] = []
        self.warnings: tuple[Warned, ...] = ()
        self.place: Path = ()

    def gather(self, names: TextFiles) -> None:
        """Read what the file names.

        :raises FaultError: where one is missing, has a fault, or includes what leads to it.
        :raises ReadFault: where one can't be read.
        """
        self._gather(names, (self._path,), ())

    def _gather(self, names: TextFiles, chain: tuple[str, ...], above: Path) -> None:
        """Read what a file is made of, and what that is made of.

        :param chain: the module's file, and what led from it to the file that has these names.
        :param above: where the module's file names the first of those; empty for its own names.
        """
        named: set[str] = set()
        for name, own in names:
            place = above or own
            try:
                path = relative_path(name, own, posixpath.dirname(chain[-1]))
            except FaultError as error:
                if not above:
                    raise
                raise _inside(faults_of(error, self.source.read(chain[-1]).data)[0], chain[-1], place) from None
            if path in chain:
                raise FaultError(_circle((*chain[chain.index(path) :], path)), place)
            if not above and path in named:
                raise FaultError(f"{quoted(name)} is included twice; delete one of them", place)
            named.add(path)
            if path in dict(self.stamps):
                continue  # what two of its files include is said once
            if len(self.reads) > _MOST_TEXT_FILES:
                raise FaultError(f"more than {_MOST_TEXT_FILES} includes; put some of them into one file", place)
            self._add_text(path, self._read_text(path, chain, place), chain, place)

    def _read_text(self, path: str, chain: tuple[str, ...], place: Path) -> FileRead:
        by = "" if len(chain) == 1 else f", which {quoted(chain[-1])} includes,"
        try:
            read = self.source.read(path)
        except ReadFault as fault:
            if not fault.missing:
                self.stamps.append((path, None))
                self.place = place
                raise ReadFault(f"{shown(path)}: {fault.message}", mend=fault.mend) from None
            self.stamps.append((path, None))
            self.digests.append("")
            near = self.source.near(path, frozenset(chain))
            mend = "" if near else _MAKE_IT
            raise FaultError(f"the file {quoted(path)}{by} is missing{near}", place, mend=mend) from None
        self.stamps.append((path, read.stamp))
        self.digests.append(read.digest)
        self.reads.append(read)
        return read

    def _add_text(self, path: str, read: FileRead, chain: tuple[str, ...], place: Path) -> None:
        said = self.source.said(path, read)
        if isinstance(said, Fault):
            raise _inside(said, path, place)
        included, text = said
        if included is not None:
            self._gather(included.text_files, (*chain, path), place)
        if text.strip():
            self.texts.append(text)
        elif included is None:
            self.warnings += (Warned(f"the file {quoted(path)} is empty", place, "write something into it"),)


def _inside(fault: Fault, path: str, place: Path) -> FaultError:
    """Tell of a fault of an included file where the module's own file names what led to it."""
    where = f"{shown(path)}:{fault.line or 1}:{fault.column or 1}"
    return FaultError(f"in {where}: {fault.message}", place, mend=fault.mend)


def _circle(chain: tuple[str, ...]) -> str:
    if len(chain) == 2:
        return f"{quoted(chain[0])} includes itself; delete it from its own includes"
    links = ", which includes ".join(quoted(path) for path in chain[1:])
    return f"the includes go round in a circle: {quoted(chain[0])} includes {links}; delete one of them"
