"""The working set of a plan: what one pass found, sorted into what to serve, what to say, and what to look at again."""

from __future__ import annotations

import attrs

from dspyreload.model.faults import Fault
from dspyreload.model.finding import Finding, Kind, Known, Look, ManifestFinding
from dspyreload.model.manifest import MANIFEST, ModuleManifest, fold
from dspyreload.model.snapshot import ModuleVersion, Snapshot
from dspyreload.model.steps import Steps, at_once

__all__ = ["Changes", "and_more"]


def and_more(fault: Fault, more: tuple[Fault, ...]) -> Fault:
    """Say of a file's first fault that there are more; ``dspyreload check`` lists them all."""
    return attrs.evolve(fault, message=f"{fault.message} (and {len(more)} more)") if more else fault


@attrs.define
class Changes:
    """What a pass is going to change; made by :func:`~dspyreload.model.plan.make_plan` and nobody else.

    :ivar ripe: suspects whose second look this was; None where a first look decides.
    :ivar found: findings that this look decided, by path.
    :ivar suspects: paths that want a second look, and when the first was.
    :ivar missing: paths that this look did not find.
    :ivar newcomers: paths that ask for the id of a suspect, and that id (folded): they wait for its second look.
    :ivar live: versions that go live, by id. ``gone``: ids that are no longer served.
    :ivar mended: ids whose file was broken, and is again what serves.
    :ivar errors: path, fault and id of each rejection. ``skipped``: ids that were looked at and are unchanged.
    :ivar in_force: the manifest that will be in force.
    :ivar collided: files whose id another file has.
    :ivar steps: how the long loops go.
    :ivar claims: without a manifest: which paths claim an id, where that changes.
    """

    snapshot: Snapshot
    known: Known
    seen: Look
    ripe: frozenset[str] | None
    now: float
    steps: Steps = at_once
    found: dict[str, Finding] = attrs.field(factory=dict)
    suspects: dict[str, float] = attrs.field(factory=dict)
    live: dict[str, ModuleVersion] = attrs.field(factory=dict)
    gone: list[str] = attrs.field(factory=list)
    errors: list[tuple[str, Fault, str | None]] = attrs.field(factory=list)
    skipped: list[str] = attrs.field(factory=list)
    mended: list[str] = attrs.field(factory=list)
    warnings: list[tuple[str, Fault]] = attrs.field(factory=list)
    claims: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    collided: dict[str, tuple[str, str]] = attrs.field(factory=dict)
    missing: set[str] = attrs.field(factory=set)
    newcomers: dict[str, str] = attrs.field(factory=dict)
    manifest: ManifestFinding | None = None
    manifest_reported: str = ""
    in_force: ModuleManifest | None = None
    _ids: dict[str, str] | None = None

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        known: Known,
        seen: Look,
        ripe: frozenset[str] | None,
        now: float,
        steps: Steps = at_once,
    ) -> Changes:
        """Begin with what was found, sifted into decided and suspect."""
        changes = cls(
            snapshot,
            known,
            seen,
            ripe,
            now,
            steps,
            collided=dict(known.collided),
            manifest=known.manifest,
            manifest_reported=known.manifest_reported,
            in_force=snapshot.manifest,
        )
        changes._sift()
        changes._sift_manifest()
        return changes

    @property
    def first(self) -> bool:
        """Whether nothing was ever served: then all that is good serves, whatever the rest is like."""
        return self.snapshot.generation == 0

    def decides(self, path: str) -> bool:
        """Say whether this look decides that a path is missing or broken."""
        return self.ripe is None or path in self.ripe

    def suspect(self, path: str) -> None:
        """Have a path looked at a second time."""
        self.suspects[path] = self.known.suspects.get(path, self.now)

    def latest(self, path: str) -> Finding | None:
        """Return what is known of a module's file after this look."""
        return self.found.get(path) or self.known.findings.get(path)

    def is_checked(self, path: str) -> bool:
        """Say whether a module's file is with the game's validators."""
        finding = self.latest(path)
        return finding is not None and finding.kind is Kind.CHECKING

    def live_under(self, key: str) -> ModuleVersion | None:
        """Return what served before under a folded id."""
        if self._ids is None:
            self._ids = {fold(module_id): module_id for module_id in self.steps(self.snapshot)}
        return self.snapshot[self._ids[key]] if key in self._ids else None

    def serve(self, path: str, finding: Finding) -> None:
        """Let a good file's version go live, unless it is what serves already."""
        version = finding.version
        if version is None:
            return
        if not version.serves_as(self.snapshot.get(version.module_id)):
            self.live[version.module_id] = version
            return
        before = self.known.findings.get(path)
        if path in self.found and before is not None and before.kind in (Kind.BROKEN, Kind.UNREADABLE):
            self.skipped.append(version.module_id)
            self.mended.append(version.module_id)

    def reject(self, path: str, finding: Finding) -> None:
        """Report a file that may not go live, once for each content."""
        before = self.known.findings.get(path)
        if before is None or (before.digest, before.fault) != (finding.digest, finding.fault):
            fault = finding.fault or Fault("the file can't be served")
            self.errors.append((path, and_more(fault, finding.more), finding.module_id))

    def _sift(self) -> None:
        for path, finding in self.steps(self.seen.findings.items()):
            heard_of = path in self.known.findings or path in self.known.suspects or path in self.seen.fleeting
            if finding.kind is Kind.MISSING and finding.entry is None and not heard_of:
                continue
            if finding.kind in (Kind.GOOD, Kind.PENDING, Kind.CHECKING):
                self.found[path] = finding
            elif finding.kind is not Kind.MISSING:
                self._decide(path, finding)
            elif self._gone(path):
                self.found[path] = finding

    def _gone(self, path: str) -> bool:
        """Say whether a missing path is gone; if not yet, have it looked at again."""
        self.missing.add(path)
        certain = self.ripe is None or path not in self.seen.fleeting
        if certain and self.known.decides_gone(path, self.ripe):
            return True
        # What was broken at the first look, if anything, and is missing now, is missing for the first time.
        since = self.known.suspects.get(path) if path in self.known.missing else None
        self.suspects[path] = self.now if since is None else since
        return False

    def _decide(self, path: str, finding: Finding) -> None:
        before = self.known.findings.get(path)
        rejudged = before is not None and finding.digest != "" and finding.digest == before.digest
        if path in self.known.newcomers or (path in self.known.missing and self.ripe is not None):
            self.suspects[path] = self.now  # it was whole or missing at the last look, and is broken for the first time
        elif rejudged or self.decides(path):  # bytes that were there before are not half written
            self.found[path] = finding
        else:
            self.suspect(path)

    def _sift_manifest(self) -> None:
        found = self.seen.manifest
        if found is None:
            return
        if found.says_the_same(self.known.manifest):
            self.manifest = found
        elif self.known.manifest is not None and not self._decides_manifest(found):
            return
        else:
            self.manifest, self.manifest_reported = found, ""  # one that waited and comes back is rejected anew
            if found.fault is not None:
                self.errors.append((MANIFEST, and_more(found.fault, found.more), None))
            else:
                self.warnings += [(MANIFEST, warning) for warning in found.warnings]

    def _decides_manifest(self, found: ManifestFinding) -> bool:
        if found.manifest is not None:
            return True
        if found.fault is None:
            return self._gone(MANIFEST)
        if not self.decides(MANIFEST):
            self.suspect(MANIFEST)
        return self.decides(MANIFEST)
