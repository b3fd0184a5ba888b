"""One module's file, read once with all that it includes → what it is: a :class:`Finding`."""

from __future__ import annotations

import hashlib
import os
import posixpath

import msgspec

from dspyreload.disk.reading import FileRead, ReadFault, read_file
from dspyreload.disk.tree import passed_over
from dspyreload.model.defaults import effective_default
from dspyreload.model.faults import Fault, FaultError, Path, Warned, did_you_mean, quoted, shown
from dspyreload.model.finding import Finding, Kind, Stamp
from dspyreload.model.jsontext import Places, line_column, text_of
from dspyreload.model.manifest import ModuleEntry, composed, default_id, relative_path
from dspyreload.model.module_file import ModuleDraft, TextFiles, parse_included, parse_module
from dspyreload.model.registrations import Registrations
from dspyreload.model.serving import Waits, check_lm, judged_by, serve
from dspyreload.model.snapshot import ModuleVersion

__all__ = ["Source", "faults_of", "judge", "refreshed", "warnings_of"]

_MOST_TEXT_FILES = 64
_PICKLES = (".pkl", ".pickle")
_MAKE_IT = "make it, or correct its name, which counts from the folder of the file that names it"


class Source:
    """The files as one pass reads them: each at most once."""

    def __init__(self, root: str, limit: int) -> None:
        self.root, self.limit = root, limit
        self._reads: dict[str, FileRead | tuple[str, bool, str]] = {}

    def read(self, path: str) -> FileRead:
        """Read a file, or give what reading it gave before.

        :raises ReadFault: as :func:`read_file` does.
        """
        found = self._reads.get(path)
        if found is None:
            try:
                found = read_file(self.root, path, self.limit)
            except ReadFault as fault:
                # Not the exception itself: it holds its frames, and ten thousand of those are work for the collector.
                found = (fault.message, fault.missing, fault.mend)
            self._reads[path] = found
        if isinstance(found, tuple):
            message, missing, mend = found
            raise ReadFault(message, missing=missing, mend=mend) from None
        return found

    def near(self, path: str, but: frozenset[str] = frozenset()) -> str:
        """Say which file was perhaps meant by one that is missing: the end of a message, or nothing."""
        folder, _, name = path.rpartition("/")
        try:
            names = os.listdir(f"{self.root}/{folder}")
        except OSError:
            return ""
        known = [other for other in names if not passed_over(other) and posixpath.join(folder, other) not in but]
        return did_you_mean(name, known)


def faults_of(error: FaultError, data: bytes) -> tuple[Fault, ...]:
    """Find the lines and columns of a file's faults; slow, and only done when there are some."""
    text, faults = _text(data), (error, *error.others)
    # Only a text that was accepted has places; to look for some in one that is no JSON could take all of the memory.
    places = Places(text if any(fault.offset is None for fault in faults) else "")
    return tuple(
        places.fault(fault.message, fault.path, key=fault.key, mend=fault.mend)
        if fault.offset is None
        else Fault(fault.message, *line_column(text, fault.offset), fault.mend)
        for fault in faults
    )


def warnings_of(warnings: tuple[Warned, ...], data: bytes) -> tuple[Fault, ...]:
    """Find the lines and columns of a file's warnings."""
    if not warnings:
        return ()
    places = Places(_text(data))
    return tuple(places.fault(warning.message, warning.path, key=True, mend=warning.mend) for warning in warnings)


def _text(data: bytes) -> str:
    try:
        return text_of(data)
    except FaultError:
        return data.decode("utf-8", "replace").removeprefix("\ufeff")


def refreshed(before: Finding, source: Source) -> Finding | None:
    """Return an earlier finding with fresh stat signatures where all of its bytes are the same, else None."""
    if not before.stamps or any(stamp is None for _path, stamp in before.stamps):
        return None
    try:
        reads = [source.read(path) for path, _stamp in before.stamps]
    except ReadFault:
        return None
    if _digest([read.digest for read in reads]) != before.digest:
        return None
    stamps = tuple((path, read.stamp) for (path, _old), read in zip(before.stamps, reads, strict=True))
    return msgspec.structs.replace(before, stamps=stamps, racy=any(read.racy for read in reads))


def judge(
    path: str,
    source: Source,
    *,
    module_id: str | None,
    entry: ModuleEntry | None,
    last_id: str | None,
    registrations: Registrations,
) -> Finding:
    """Read a module's file and what it includes, decode it, check it.

    :param module_id: the id under which the manifest lists it; None without a manifest.
    :param last_id: the id that it had before, for a file that can't be read now.
    """
    if path.lower().endswith(_PICKLES):
        fault = Fault("a pickle can run code, and is never read; save the program as .json")
        return Finding(path=path, kind=Kind.UNREADABLE, entry=entry, module_id=module_id or last_id, fault=fault)
    try:
        read = source.read(path)
    except ReadFault as error:
        kind = Kind.MISSING if error.missing else Kind.UNREADABLE
        return Finding(
            path=path,
            kind=kind,
            entry=entry,
            module_id=module_id or last_id,
            fault=Fault(error.message, mend=error.mend),
        )
    return _Judging(path, source, read, module_id, entry, registrations).finding(last_id)


class _Judging:
    def __init__(
        self,
        path: str,
        source: Source,
        read: FileRead,
        module_id: str | None,
        entry: ModuleEntry | None,
        registrations: Registrations,
    ) -> None:
        self.path, self.source, self.read = path, source, read
        self.module_id, self.entry, self.registrations = module_id, entry, registrations
        self.reads = [read]
        self.place: Path = ()  # of an include that can't be read
        self.texts: list[str] = []
        self.warnings: tuple[Warned, ...] = ()
        self.stamps: list[tuple[str, Stamp | None]] = [(path, read.stamp)]
        self.digests = [read.digest]

    def finding(self, last_id: str | None) -> Finding:
        draft: ModuleDraft | None = None
        try:
            self._check_hash()
            draft = self._draft()
            self._gather(draft.text_files, (self.path,), ())
            found = self._served(draft)
        except FaultError as error:
            faults = faults_of(error, self.read.data)
            found = Finding(path=self.path, kind=Kind.BROKEN, fault=faults[0], more=faults[1:])
        except ReadFault as error:
            fault = faults_of(FaultError(error.message, self.place, mend=error.mend), self.read.data)[0]
            found = Finding(path=self.path, kind=Kind.UNREADABLE, fault=fault)
            # These prove nothing, and say whose changes may mend it.
            self.stamps = [(path, None) for path, _stamp in self.stamps]
        return msgspec.structs.replace(
            found,
            stamps=tuple(self.stamps),
            racy=any(read.racy for read in self.reads),
            digest=_digest(self.digests),
            entry=self.entry,
            module_id=self._id(found.kind, draft, last_id),
            judged=judged_by(draft, self.entry, self.registrations) if draft is not None else (),
            warnings=warnings_of(self.warnings, self.read.data),
            saved_at=max(read.stamp[3] for read in self.reads) / 1e9,
        )

    def _id(self, kind: Kind, draft: ModuleDraft | None, last_id: str | None) -> str | None:
        drafted = composed(draft.module.module_id) if draft is not None else None
        if kind in (Kind.GOOD, Kind.PENDING):
            return self.module_id or drafted
        return self.module_id or last_id or drafted  # a broken file can't take its good version off another id

    def _check_hash(self) -> None:
        if self.entry is not None and self.entry.hash not in (None, self.read.digest):
            raise FaultError(
                "the file does not have the hash that manifest.json lists;"
                " if it is meant to be so, run dspyreload hash to list the new one"
            )

    def _draft(self) -> ModuleDraft:
        entry = self.entry
        draft = parse_module(
            self.read.data,
            self.module_id or default_id(self.path),
            signature_name=entry.signature_name if entry is not None else None,
            predictor_type=entry.predictor_type if entry is not None else None,
            default=effective_default(
                entry.default if entry is not None else None,
                self.registrations.defaults,
                self.path,
                entry.tags if entry is not None else (),
            ),
        )
        if self.module_id is not None and composed(draft.module.module_id) != self.module_id:
            raise FaultError(
                f"the file says it is {quoted(draft.module.module_id)},"
                f" and manifest.json lists it as {quoted(self.module_id)}; correct one of them",
                ("module_id",),
            )
        self.warnings += draft.warnings
        return draft

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
                raise self._inside(error, chain[-1], place) if above else error from None
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
        try:
            included = parse_included(read.data) if path.lower().endswith(".json") else None
            text = text_of(read.data) if included is None else included.instruction
        except FaultError as error:
            raise self._inside(error, path, place) from None
        if included is not None:
            self._gather(included.text_files, (*chain, path), place)
        if text.strip():
            self.texts.append(text)
        elif included is None:
            self.warnings += (Warned(f"the file {quoted(path)} is empty", place, "write something into it"),)

    def _inside(self, error: FaultError, path: str, place: Path) -> FaultError:
        """Tell of a fault of an included file where the module's own file names what led to it."""
        fault = faults_of(error, self.source.read(path).data)[0]
        where = f"{shown(path)}:{fault.line or 1}:{fault.column or 1}"
        return FaultError(f"in {where}: {fault.message}", place, mend=fault.mend)

    def _served(self, draft: ModuleDraft) -> Finding:
        module = draft.complete(tuple(self.texts))
        if self.entry is not None:
            self.warnings += tuple(check_lm(self.entry, self.registrations))
        try:
            served = serve(draft, module, self.entry, self.registrations)
        except Waits as waits:
            return Finding(path=self.path, kind=Kind.PENDING, waits_for=str(waits))
        self.warnings += served.warnings
        version = ModuleVersion(
            module_id=composed(module.module_id),
            path=self.path,
            version=_digest(self.digests),
            data=self.read.data,
            texts=tuple(text.encode() for text in self.texts),
            entry=self.entry,
            registration=served.registration,
            default=draft.default if self.entry is None or self.entry.program is None else None,
        )
        self.registrations.prove(version)
        return Finding(path=self.path, kind=Kind.GOOD, version=version)


def _digest(digests: list[str]) -> str:
    """Return the digest of one file, or that of all digests where there are several."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _circle(chain: tuple[str, ...]) -> str:
    if len(chain) == 2:
        return f"{quoted(chain[0])} includes itself; delete it from its own includes"
    links = ", which includes ".join(quoted(path) for path in chain[1:])
    return f"the includes go round in a circle: {quoted(chain[0])} includes {links}; delete one of them"
