"""Without a manifest: which file has an id.

An id belongs to the file that has it. A newcomer that claims it is rejected by name, and takes it when that file
goes; a rename is no collision.
"""

from __future__ import annotations

from dspyreload.model.changes import Changes
from dspyreload.model.faults import Fault, quoted, shown
from dspyreload.model.finding import Finding, Kind
from dspyreload.model.manifest import fold
from dspyreload.model.snapshot import ModuleVersion

__all__ = ["plan_claimed"]


def plan_claimed(changes: Changes) -> None:
    """Plan for a directory that has no manifest: every file may be a module."""
    affected: dict[str, ModuleVersion | None] = {}
    if changes.in_force is not None:  # the manifest is gone
        changes.in_force = None
        affected.update((fold(module_id), version) for module_id, version in changes.snapshot.items())
    for path, finding in changes.found.items():
        before = changes.known.findings.get(path)
        for module_id in (finding.module_id, before.module_id if before is not None else None):
            if module_id is not None:
                affected.setdefault(fold(module_id))
        kept = changes.snapshot.get(changes.kept.pop(path, ""))
        if kept is not None and kept.path == path:
            affected[fold(kept.module_id)] = kept
        _claim(changes, path, before, finding)
        if finding.kind in (Kind.BROKEN, Kind.UNREADABLE):
            changes.reject(path, finding)
    free = [_settle(changes, key, affected[key] or _live_under(changes, key)) for key in sorted(affected)]
    for version in free:
        if version is None or version.module_id in changes.live:
            continue
        if version.path in changes.collided:  # its file asks for an id that it can't have: it keeps the one it had
            changes.kept[version.path] = version.module_id
        else:
            changes.gone.append(version.module_id)


def claimants(changes: Changes, key: str) -> tuple[str, ...]:
    """Return the paths that claim a folded id."""
    return changes.claims.get(key, changes.known.claims.get(key, ()))


def _claim(changes: Changes, path: str, before: Finding | None, finding: Finding) -> None:
    if before is not None and before.module_id is not None:
        key = fold(before.module_id)
        changes.claims[key] = tuple(other for other in claimants(changes, key) if other != path)
    if finding.module_id is not None and finding.kind is not Kind.MISSING:
        key = fold(finding.module_id)
        changes.claims[key] = tuple(sorted({*claimants(changes, key), path}))


def _settle(changes: Changes, key: str, live: ModuleVersion | None) -> ModuleVersion | None:
    """Say which file has an id, and return the live version that lost its file to none."""
    paths = claimants(changes, key)
    if live is not None and live.path in changes.suspects:
        _hold_newcomers(changes, key, live.path)
        return None
    able = (Kind.GOOD, Kind.PENDING)
    good = [path for path in paths if (found := changes.latest(path)) is not None and found.kind in able]
    holder = live.path if live is not None and live.path in paths else (good[0] if good else None)
    finding = changes.latest(holder) if holder is not None else None
    for path in paths:
        changes.collided.pop(path, None)
        if path != holder and path in good:
            _collide(changes, path, str(holder))
    if holder is not None and finding is not None:
        changes.serve(holder, finding)
    return live if live is not None and (finding is None or finding.module_id != live.module_id) else None


def _hold_newcomers(changes: Changes, key: str, suspect: str) -> None:
    """Leave newcomers to the second look: the file that has the id may be on its way to one of them, a rename."""
    for path in claimants(changes, key):
        if path != suspect and changes.found.pop(path, None) is not None:
            changes.suspect(path)
    changes.claims[key] = changes.known.claims.get(key, ())


def _live_under(changes: Changes, key: str) -> ModuleVersion | None:
    names = {key}
    for path in (*claimants(changes, key), *changes.known.claims.get(key, ())):
        for finding in (changes.known.findings.get(path), changes.found.get(path)):
            if finding is not None and finding.module_id is not None and fold(finding.module_id) == key:
                names.add(finding.module_id)
    return next((changes.snapshot[name] for name in sorted(names) if name in changes.snapshot), None)


def _collide(changes: Changes, path: str, holder: str) -> None:
    finding = changes.latest(path)
    assert finding is not None
    assert finding.module_id is not None
    changes.collided[path] = finding.module_id
    if changes.known.collided.get(path) != finding.module_id:
        message = f"the id {quoted(finding.module_id)} is already that of {shown(holder)}; give this file another"
        changes.errors.append((path, Fault(message), finding.module_id))
