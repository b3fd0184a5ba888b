"""What served before a restart, and what is known of the disk → what serves again."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import msgspec

from dspyreload.model.answers import changed_events, manifest_event, rejection
from dspyreload.model.events import HotReloadEvent, ManifestChanged, ModuleChanged, ReloadError
from dspyreload.model.faults import FaultError, quoted
from dspyreload.model.finding import Finding, Kind, Known, ManifestFinding
from dspyreload.model.making import draft_of, make_version
from dspyreload.model.manifest import NOTHING_LISTED, ModuleEntry, ModuleManifest, composed, fold
from dspyreload.model.registrations import Registrations
from dspyreload.model.serving import Waits, check_lm
from dspyreload.model.snapshot import ModuleVersion, Snapshot
from dspyreload.model.steps import Steps, at_once

__all__ = ["KeptVersion", "Restored", "Stored", "StoredState", "restore"]


class Stored(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One module version as it was kept: see :class:`~dspyreload.ModuleVersion`. Nothing of it is believed."""

    module_id: str
    path: str
    version: str
    data: bytes
    texts: tuple[bytes, ...] = ()
    entry: ModuleEntry | None = None


class KeptVersion(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A version of a module as a state file keeps it: a way back is to save ``data`` at ``path`` again.

    :ivar version: its SHA-256, as in :class:`~dspyreload.ModuleVersion`. ``path``: of the module's file.
    :ivar live_since: when it went live last, in seconds since the epoch.
    :ivar data: the file's bytes. ``texts``: those of the files in its ``include``, in order, then
        of its ``instruction_file``.
    """

    module_id: str
    version: str
    path: str
    live_since: float
    data: bytes
    texts: tuple[bytes, ...] = ()


@attrs.frozen(kw_only=True)
class StoredState:
    """What was live when it was kept last.

    :ivar root: the identity of the modules directory then (``disk.identity``).
    :ivar faults: what of it could not be read, in words.
    :ivar ids: of the modules: nobody has to walk through them on the reactor.
    """

    modules: tuple[Stored, ...] = ()
    manifest: ModuleManifest | None = None
    generation: int = 0
    root: tuple[int, int] | None = None
    faults: tuple[str, ...] = ()
    ids: frozenset[str] = attrs.field(init=False)

    @ids.default
    def _ids(self) -> frozenset[str]:
        return frozenset(stored.module_id for stored in self.modules)


@attrs.frozen(kw_only=True)
class Restored:
    """What comes of it.

    :ivar snapshot: what to serve; the very one that serves already where nothing came back.
    :ivar known: what the next pass starts from.
    :ivar manifest: of the manifest that came back, if one did.
    :ivar changed: what came back. ``errors``: the files in whose place it serves, where they were rejected already.
    :ivar faults: what can't be served any more, by id, in words.
    :ivar waiting: what waits for the game to register something: to be tried again.
    """

    snapshot: Snapshot
    known: Known
    manifest: tuple[ManifestChanged, ...] = ()
    changed: tuple[ModuleChanged, ...] = ()
    errors: tuple[ReloadError, ...] = ()
    faults: tuple[tuple[str, str], ...] = ()
    waiting: StoredState | None = None

    @property
    def events(self) -> tuple[HotReloadEvent, ...]:
        """All events, in order."""
        return (*self.manifest, *self.changed, *self.errors)


def restore(
    state: StoredState, snapshot: Snapshot, known: Known, registrations: Registrations, steps: Steps = at_once
) -> Restored:
    """Say what serves again. Before the first look: all of it. Later: what the disk could not give.

    Everything is decoded and checked as a file would be. Pure, but for making programs once.
    """
    first = snapshot.generation == 0
    wanted = tuple(stored for stored in steps(state.modules) if first or _lacks(stored, state, snapshot, known))
    if not first:
        taken = {fold(module_id) for module_id in snapshot}
        wanted = tuple(
            stored for stored in wanted if fold(stored.module_id) not in taken and stored.path not in known.serves
        )
    live: dict[str, ModuleVersion] = {}
    waits: list[tuple[Stored, str]] = []
    faults: list[tuple[str, str]] = []
    for stored in steps(_once(wanted)):
        try:
            live[stored.module_id] = _revived(stored, registrations)
        except Waits as waiting:
            waits.append((stored, str(waiting)))
        except FaultError as fault:
            faults.append((stored.module_id, fault.message))
    waiting_state = attrs.evolve(state, modules=tuple(stored for stored, _words in waits)) if waits else None
    emptied = state.manifest is not None and not faults  # nothing was served, by a manifest that was in force
    if not live and not (first and (waits or emptied)):
        return Restored(snapshot=snapshot, known=known, faults=tuple(faults), waiting=waiting_state)
    if first:
        after = attrs.evolve(snapshot.commit(live, (), state.manifest), generation=max(1, state.generation))
        seeded = _seeded(state, live, waits)
    else:
        held = snapshot.manifest is NOTHING_LISTED and state.manifest is not None
        after = snapshot.commit(live, (), state.manifest if held else snapshot.manifest)
        seeded = _added(known, live, listed=after.manifest is not None)
    number = after.generation
    changed = changed_events(number, live)
    return Restored(
        snapshot=after,
        known=seeded,
        manifest=manifest_event(snapshot, after),
        changed=changed,
        errors=() if first else tuple(_errors(after, seeded, live)),
        faults=tuple(faults),
        waiting=waiting_state,
    )


def _lacks(stored: Stored, state: StoredState, snapshot: Snapshot, known: Known) -> bool:
    """Say whether a module does not serve though its file is there, or its manifest can't be read."""
    if stored.module_id in snapshot:
        return False
    manifest = snapshot.manifest
    if manifest is NOTHING_LISTED and state.manifest is not None:
        return True
    if manifest is not None and manifest.paths.get(stored.path) != stored.module_id:
        return False
    finding = known.findings.get(stored.path)
    if finding is None:  # broken at a first look, and not decided
        return stored.path in known.suspects and stored.path not in known.missing
    return finding.kind not in (Kind.GOOD, Kind.MISSING)


def _once(wanted: tuple[Stored, ...]) -> Iterator[Stored]:
    """List what has an id and a path that none before it has."""
    seen: set[str] = set()
    for stored in wanted:
        names = {f"id {fold(stored.module_id)}", f"path {stored.path}"}
        if not names & seen:
            yield stored
        seen |= names


def _revived(stored: Stored, registrations: Registrations) -> ModuleVersion:
    entry = stored.entry
    listed = stored.module_id if entry is not None else None
    draft = draft_of(stored.path, stored.data, listed, entry, registrations)
    if composed(draft.module.module_id) != stored.module_id:
        raise FaultError(f"it says that it is {quoted(draft.module.module_id)}")
    if entry is not None:
        tuple(check_lm(entry, registrations))  # its warnings were told when it went live first
    version, _warnings = make_version(
        draft, stored.path, stored.version, stored.data, stored.texts, entry, registrations
    )
    return version


def _seeded(state: StoredState, live: dict[str, ModuleVersion], waits: list[tuple[Stored, str]]) -> Known:
    """Return what the first pass starts from: all of it is known, and none of it was seen on the disk."""
    findings = {version.path: _unseen(version) for version in live.values()}
    for stored, words in waits:
        findings[stored.path] = Finding(
            path=stored.path,
            kind=Kind.PENDING,
            digest=stored.version,
            entry=stored.entry,
            module_id=stored.module_id,
            waits_for=words,
        )
    manifest = state.manifest
    return Known(
        findings=findings,
        serves={version.path: module_id for module_id, version in live.items()},
        claims={} if manifest is not None else {fold(str(f.module_id)): (f.path,) for f in findings.values()},
        manifest=ManifestFinding(stamp=None, digest=manifest.digest, racy=True, manifest=manifest, data=manifest.data)
        if manifest is not None
        else None,
        root=state.root,
        pending={stored.path: (stored.module_id, words) for stored, words in waits},
        restored=frozenset(live),
    )


def _unseen(version: ModuleVersion) -> Finding:
    """Return what is known of a file that serves, and was not seen on the disk."""
    return Finding(
        path=version.path,
        kind=Kind.GOOD,
        digest=version.version,
        entry=version.entry,
        module_id=version.module_id,
        version=version,
    )


def _added(known: Known, live: dict[str, ModuleVersion], *, listed: bool) -> Known:
    claims = dict(known.claims)
    if not listed:
        for module_id, version in live.items():
            key = fold(module_id)
            claims[key] = tuple(sorted({*claims.get(key, ()), version.path}))
    findings = dict(known.findings)
    for module_id, version in live.items():  # a file that could never be read has told no id yet
        seen = findings.get(version.path)
        named = msgspec.structs.replace(seen, module_id=module_id) if seen is not None else _unseen(version)
        findings[version.path] = named
    return attrs.evolve(
        known.copied(),
        findings=findings,
        serves={**known.serves, **{version.path: module_id for module_id, version in live.items()}},
        claims=claims,
        restored=known.restored | live.keys(),
        suspects=known.suspects,
        missing=known.missing,
    )


def _errors(after: Snapshot, known: Known, live: dict[str, ModuleVersion]) -> Iterator[ReloadError]:
    for module_id, version in sorted(live.items()):
        finding = known.findings.get(version.path)
        if finding is not None and finding.fault is not None and finding.kind is not Kind.MISSING:
            yield rejection(after, version.path, finding.fault, module_id, known.restored)
