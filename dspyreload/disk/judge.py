"""One module's file, read once with all that it includes → what it is: a :class:`Finding`."""

from __future__ import annotations

import hashlib

import msgspec

from dspyreload.disk.including import Included, Source
from dspyreload.disk.placing import faults_of, warnings_of
from dspyreload.disk.reading import FileRead, ReadFault
from dspyreload.model.faults import Fault, FaultError, Warned
from dspyreload.model.finding import Finding, Kind
from dspyreload.model.making import draft_of, make_version
from dspyreload.model.manifest import ModuleEntry, composed
from dspyreload.model.module_file import ModuleDraft
from dspyreload.model.registrations import Registrations
from dspyreload.model.serving import Waits, check_lm, judged_by

__all__ = ["judge", "refreshed"]

_PICKLES = (".pkl", ".pickle")


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
        self.path, self.read, self.files = path, read, Included(path, read, source)
        self.module_id, self.entry, self.registrations = module_id, entry, registrations
        self.warnings: tuple[Warned, ...] = ()

    def finding(self, last_id: str | None) -> Finding:
        draft: ModuleDraft | None = None
        try:
            self._check_hash()
            draft = draft_of(self.path, self.read.data, self.module_id, self.entry, self.registrations)
            self.warnings += draft.warnings
            self.files.gather(draft.text_files)
            found = self._served(draft)
        except FaultError as error:
            faults = faults_of(error, self.read.data)
            found = Finding(path=self.path, kind=Kind.BROKEN, fault=faults[0], more=faults[1:])
        except ReadFault as error:
            fault = faults_of(FaultError(error.message, self.files.place, mend=error.mend), self.read.data)[0]
            found = Finding(path=self.path, kind=Kind.UNREADABLE, fault=fault)
            # These prove nothing, and say whose changes may mend it.
            self.files.stamps = [(path, None) for path, _stamp in self.files.stamps]
        return msgspec.structs.replace(
            found,
            stamps=tuple(self.files.stamps),
            racy=any(read.racy for read in self.files.reads),
            digest=_digest(self.files.digests),
            entry=self.entry,
            module_id=self._id(found.kind, draft, last_id),
            judged=judged_by(draft, self.entry, self.registrations) if draft is not None else (),
            warnings=warnings_of((*self.warnings, *self.files.warnings), self.read.data),
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

    def _served(self, draft: ModuleDraft) -> Finding:
        if self.entry is not None:
            self.warnings += tuple(check_lm(self.entry, self.registrations))
        try:
            version, warnings = make_version(
                draft,
                self.path,
                _digest(self.files.digests),
                self.read.data,
                tuple(text.encode() for text in self.files.texts),
                self.entry,
                self.registrations,
            )
        except Waits as waits:
            return Finding(path=self.path, kind=Kind.PENDING, waits_for=str(waits))
        self.warnings += warnings
        return Finding(path=self.path, kind=Kind.GOOD, version=version)


def _digest(digests: list[str]) -> str:
    """Return the digest of one file, or that of all digests where there are several."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
