"""The modules directory, and where to look in it → what was found.

Everything here runs on a worker thread (or offline) and changes nothing that others see: it reads :class:`Known`
and the disk, and returns a :class:`Look`. Each file is read once a pass; digest, decoding and checks are of
those bytes.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping

import msgspec

from dspyreload.disk.identity import identity
from dspyreload.disk.including import Source
from dspyreload.disk.judge import judge, refreshed
from dspyreload.disk.placing import faults_of, warnings_of
from dspyreload.disk.reading import ReadFault, stat_file
from dspyreload.disk.request import Request, RootMissing
from dspyreload.disk.tree import Listing, list_tree
from dspyreload.model.faults import Fault, FaultError
from dspyreload.model.finding import Finding, Kind, Known, Look, ManifestFinding, Stamp
from dspyreload.model.manifest import (
    MANIFEST,
    NOTHING_LISTED,
    ModuleEntry,
    ModuleManifest,
    changed_entries,
    parse_manifest,
)
from dspyreload.model.registrations import Judged

__all__ = ["Request", "RootMissing", "look"]

_OFTEN = 16  # files, between two words of how far it is

_Targets = dict[str, tuple[str | None, ModuleEntry | None]]
"""Files to look at, each with the id and the entry under which it is judged."""


def look(request: Request, known: Known) -> Look:
    """Look at the disk once.

    :raises RootMissing: where the modules directory itself can't be looked at.
    """
    return _Pass(request, known).look()


def _fault_of(fault: ReadFault) -> Fault | None:
    return None if fault.missing else Fault(fault.message, mend=fault.mend)


class _Pass:
    """One look; its caches live as long as it does."""

    def __init__(self, request: Request, known: Known) -> None:
        self.request, self.known = request, known
        self.root = os.path.realpath(request.root)
        self.source = Source(self.root, request.max_file_size, strict=request.strict)
        self.listing: Listing | None = None
        self.listed: Mapping[str, Stamp | None] = {}
        self.findings: dict[str, Finding] = {}
        self.unchanged: dict[str, Finding] = {}
        self.standing: set[Judged] = set()

    def look(self) -> Look:
        root = self._identity()
        replaced = self.known.root not in (None, root)
        manifest = self._manifest()
        desired = self._desired(manifest)
        targets = self._targets(desired, replaced)
        for number, (path, (module_id, entry)) in enumerate(self.request.steps(targets.items())):
            if number % _OFTEN == 0:
                self.request.progress(number, len(targets))
            if not self._is_settled(path, module_id, entry):
                self._look_at(path, module_id, entry)
        hollow = replaced and self._hollow()
        if hollow:  # it removes nothing
            self.findings, self.unchanged = {}, {}
            manifest, desired = None, self.request.in_force
        return Look(
            findings=self.findings,
            unchanged=self.unchanged,
            desired=desired,
            manifest=manifest,
            unlisted=self._unlisted(desired),
            problems=self.listing.problems if self.listing is not None else None,
            shut=tuple(sorted(self.listing.shut)) if self.listing is not None else None,
            writable=frozenset(self.listing.writable) if self.listing is not None else None,
            root=root,
            hollow=hollow,
            fleeting=self._fleeting(),
        )

    def _fleeting(self) -> frozenset[str]:
        findings = self.request.steps(self.findings.items())
        missing = {path for path, found in findings if found.kind is Kind.MISSING and found.entry is None}
        listed = self.listing.files if self.listing is not None else None
        return frozenset(path for path in missing if listed is None or listed.get(path) is not None)

    def _hollow(self) -> bool:
        """Say whether nothing at all that we know of is in the directory that lies where ours was."""
        empty = self.listing is not None and not self.listing.files and self._is_missing(MANIFEST)
        seen = (*self.findings.values(), *self.unchanged.values())
        return empty and all(found.kind is Kind.MISSING for found in seen)

    def _is_missing(self, path: str) -> bool:
        try:
            self.source.read(path)
        except ReadFault as fault:
            return fault.missing
        return False

    def _identity(self) -> tuple[int, int]:
        try:
            with os.scandir(self.root):
                return identity(self.root)
        except OSError as error:
            words = "it is a file" if isinstance(error, NotADirectoryError) else error.strerror or str(error)
            raise RootMissing(words) from None

    def _manifest(self) -> ManifestFinding | None:
        """Return what is new about the manifest, or None."""
        before, request = self.known.manifest, self.request
        if before is not None:
            if not request.watch_manifest and not before.is_kept:
                return None
            now = stat_file(self.root, MANIFEST)
            doubted = before.racy or request.deep or MANIFEST in self.known.suspects
            certain = now is not None or (before.fault is None and not self._is_there(MANIFEST))
            if certain and now == before.stamp and not doubted:
                return None
        try:
            read = self.source.read(MANIFEST)
        except ReadFault as fault:
            return ManifestFinding(stamp=None, digest="", fault=_fault_of(fault))
        if before is not None and before.digest == read.digest:
            return msgspec.structs.replace(before, stamp=read.stamp, racy=read.racy)
        found = ManifestFinding(stamp=read.stamp, digest=read.digest, racy=read.racy, data=read.data)
        if request.in_force is not None and request.in_force.digest == read.digest:
            return msgspec.structs.replace(found, manifest=request.in_force)
        try:
            manifest = parse_manifest(read.data, read.digest)
        except FaultError as error:
            faults = faults_of(error, read.data)
            return msgspec.structs.replace(found, fault=faults[0], more=faults[1:])
        warnings = warnings_of(manifest.warnings, read.data)
        return msgspec.structs.replace(found, manifest=manifest, warnings=warnings)

    def _desired(self, found: ManifestFinding | None) -> ModuleManifest | None:
        latest = found or self.known.manifest
        if latest is None or latest.fault is not None:
            return NOTHING_LISTED if latest is not None and self.request.first else self.request.in_force
        gone = latest.manifest is None and self.known.decides_gone(MANIFEST, self.request.ripe)
        if latest.manifest is None and self.request.in_force is not None and not gone:
            return self.request.in_force
        return latest.manifest

    def _targets(self, desired: ModuleManifest | None, replaced: bool) -> _Targets:
        paths, in_force = self.request.paths, self.request.in_force
        switched = (desired is None) != (in_force is None)
        before = self.known.manifest
        waited = before is not None and before.manifest is not None  # it is broken or gone: what it listed asks for ids
        # What is missing for the second time is gone, or has another name, of which no event has told yet.
        missing = any(self.known.decides_gone(path, self.request.ripe) for path in self.known.suspects)
        anew = desired is None and (waited or missing)
        if paths is None or replaced or switched or anew or not self._all_known(paths):
            self.listing = list_tree(self.root, self.request.extensions, self.request.max_files, self.request.steps)
            self.listed = self.source.listed = self.listing.files
            if desired is None:
                suspects = self.known.suspects.keys() - {MANIFEST}
                paths_of_all = itertools.chain(self.listing.files, self.known.findings, sorted(suspects))
                return dict.fromkeys(self.request.steps(paths_of_all), (None, None))
            return {entry.path: (module_id, entry) for module_id, entry in desired.modules.items()}
        paths = paths | self.known.suspects.keys()
        chosen = self.known.racy | self._concerned() | (paths & self.known.findings.keys())
        for path in paths:
            chosen.update(self.known.users.get(path, ()))
        if desired is None:
            return dict.fromkeys(chosen, (None, None))
        ids = {desired.paths[path] for path in chosen if path in desired.paths}
        ids |= changed_entries(in_force, desired)
        return {desired[module_id].path: (module_id, desired[module_id]) for module_id in ids}

    def _all_known(self, paths: frozenset[str]) -> bool:
        known = self.known
        return all(
            path in known.findings
            or path in known.unlisted
            or path == MANIFEST
            or (known.users.get(path) and not path.lower().endswith(self.request.extensions))
            for path in paths | known.suspects.keys()
        )

    def _unlisted(self, desired: ModuleManifest | None) -> frozenset[str] | None:
        if self.listing is None:
            return None
        if desired is None or desired is NOTHING_LISTED:
            return frozenset()
        listed = desired.paths.keys() | (self.request.in_force or desired).paths.keys()
        included = {text for found in self.findings.values() for text, _stamp in found.stamps[1:]}
        return frozenset(self.listing.files.keys() - listed - self.known.users.keys() - included)

    def _is_settled(self, path: str, module_id: str | None, entry: ModuleEntry | None) -> bool:
        """Say at a glance whether a file is as it was, as nearly all are; where it says no, it is looked at."""
        before = self.known.findings.get(path)
        return (
            before is not None
            and before.kind is Kind.GOOD
            and before.entry is entry
            and (module_id is None or before.module_id == module_id)
            and before.judged in self.standing
            and not before.racy
            and len(before.stamps) == 1
            and self.listed.get(path) == before.stamps[0][1]
            and path not in self.known.suspects
            and not self.request.deep
            and before.module_id not in self.request.asked
        )

    def _look_at(self, path: str, module_id: str | None, entry: ModuleEntry | None) -> None:
        before = self.known.findings.get(path)
        asked = before is not None and before.module_id in self.request.asked
        renamed = before is not None and module_id is not None and before.module_id != module_id
        rejudged = (
            before is None
            or renamed
            or before.entry != entry
            or before.kind is Kind.CHECKING
            or self._registered_since(before)
        )
        # A second look reads what the first one read: it may have found a change that the stat signature hides.
        doubted = rejudged or asked or self.request.deep or path in self.known.suspects
        if before is not None and not doubted and self._stamps_hold(before):
            return
        if entry is None and self.listing is not None and path not in self.listing.files and self.listing.unseen(path):
            return  # its folder can't be listed: nothing says that it is gone
        if entry is None and not path.lower().endswith(self.request.extensions):
            self.findings[path] = Finding(
                path=path, kind=Kind.MISSING, fault=Fault("its ending is not watched any more")
            )
            return
        again = refreshed(before, self.source) if before is not None and not rejudged else None
        found = again or judge(
            path,
            self.source,
            module_id=module_id,
            entry=entry,
            last_id=before.module_id if before is not None else None,
            registrations=self.request.registrations,
        )
        if before is None or not found.says_the_same(before):
            self.findings[path] = found
        elif asked or (found.stamps, found.racy, found.judged) != (before.stamps, before.racy, before.judged):
            self.unchanged[path] = found

    def _concerned(self) -> set[str]:
        """Return the files that something which was registered since decides about."""
        names = self.request.names
        if not names:
            return set()
        return {path for path, found in self.known.findings.items() if any(name in names for name, _ in found.judged)}

    def _registered_since(self, before: Finding) -> bool:
        """Say whether a file would be judged by other registrations than it was."""
        if before.judged not in self.standing:
            token = self.request.registrations.token
            if any(token(name) != judged for name, judged in before.judged):
                return True
            self.standing.add(before.judged)  # nearly all are judged by the same
        return False

    def _stamps_hold(self, before: Finding) -> bool:
        if not before.stamps:
            return before.kind is Kind.MISSING and not self._is_there(before.path)
        if before.racy or before.kind is Kind.UNREADABLE:
            return False
        for path, stamp in before.stamps:
            now = self.listed.get(path) or stat_file(self.root, path)
            if now != stamp or (stamp is None and self._is_there(path)):
                return False
        return True

    def _is_there(self, path: str) -> bool:
        """Say whether a name is there, if only as a link to nowhere, or to itself: that has no stat signature."""
        return os.path.lexists(f"{self.root}/{path}")
