"""Without a manifest: which file has an id.

An id belongs to the file that has it. A newcomer that claims it is rejected by name, and takes it when that file
goes; a rename is no collision.
"""

from __future__ import annotations

from dspyreload.model.changes import Changes
from dspyreload.model.faults import quoted, shown
from dspyreload.model.finding import Finding, Kind
from dspyreload.model.jsontext import placed, text_of
from dspyreload.model.manifest import fold
from dspyreload.model.snapshot import ModuleVersion

__all__ = ["plan_claimed"]


def plan_claimed(changes: Changes) -> None:
    """Plan for a directory that has no manifest: every file may be a module."""
    keys: set[str] = set()
    served: set[str] = set()  # ids that serve, and whose file may have become something else
    if changes.in_force is not None:  # the manifest is gone
        changes.in_force = None
        served.update(changes.snapshot)
    for path, finding in changes.found.items():
        before = changes.known.findings.get(path)
        keys |= {fold(f.module_id) for f in (finding, before) if f is not None and f.module_id is not None}
        if path in changes.known.serves:
            served.add(changes.known.serves[path])
        _claim(changes, path, before, finding)
        if finding.kind is Kind.MISSING:
            changes.collided.pop(path, None)
        if finding.kind in (Kind.BROKEN, Kind.UNREADABLE):
            changes.reject(path, finding)
    for path in changes.known.suspects:  # it may have an id after all
        suspect = changes.known.findings.get(path)
        if suspect is not None and suspect.module_id is not None:
            keys.add(fold(suspect.module_id))
    live = {fold(name): changes.snapshot[name] for name in served if name in changes.snapshot}
    holders: dict[str, str] = {}
    for key in sorted(keys | live.keys()):
        version = live.get(key) or _live_under(changes, key)
        holder = _settle(changes, key, version)
        if version is not None:
            served.add(version.module_id)
        if holder is not None:
            holders[holder.path] = str(holder.module_id)
            served.add(changes.known.serves.get(holder.path, ""))
    changes.gone += [name for name in served if _is_gone(changes, name, holders)]


def _is_gone(changes: Changes, module_id: str, holders: dict[str, str]) -> bool:
    """Say whether the file of a live module is missing, or serves as another one now.

    While it is neither, the last good version serves: the file may be broken, or ask for an id that it can't have.
    """
    version = changes.snapshot.get(module_id)
    if version is None or module_id in changes.live or version.path in changes.suspects:
        return False
    finding = changes.latest(version.path)
    missing = finding is None or finding.kind is Kind.MISSING
    return missing or holders.get(version.path, module_id) != module_id


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


def _settle(changes: Changes, key: str, live: ModuleVersion | None) -> Finding | None:
    """Say which good file has an id, and have it served."""
    paths = claimants(changes, key)
    if live is not None and live.path in changes.suspects:
        _hold_newcomers(changes, key, live.path)
        return None
    able = (Kind.GOOD, Kind.PENDING)
    good = [
        path
        for path in paths
        if (found := changes.latest(path)) is not None and found.kind in able and path not in changes.suspects
    ]
    holder = live.path if live is not None and live.path in paths else (good[0] if good else None)
    for path in paths:
        changes.collided.pop(path, None)
        if path != holder and path in good:
            _collide(changes, path, str(holder))
    finding = changes.latest(holder) if holder is not None else None
    if finding is None or finding.kind is not Kind.GOOD:
        return None
    changes.serve(finding.path, finding)
    return finding


def _hold_newcomers(changes: Changes, key: str, suspect: str) -> None:
    """Leave newcomers to the second look: the file that has the id may be on its way to one of them, a rename."""
    for path in claimants(changes, key):
        if path != suspect and changes.found.pop(path, None) is not None:
            changes.suspect(path)
    changes.claims[key] = changes.known.claims.get(key, ())


def _live_under(changes: Changes, key: str) -> ModuleVersion | None:
    serves = changes.known.serves
    for path in (*claimants(changes, key), *changes.known.claims.get(key, ())):
        if path in serves and fold(serves[path]) == key:
            return changes.snapshot.get(serves[path])
    return None


def _collide(changes: Changes, path: str, holder: str) -> None:
    finding = changes.latest(path)
    assert finding is not None
    assert finding.module_id is not None
    asked = (finding.module_id, finding.digest)
    changes.collided[path] = asked
    if changes.known.collided.get(path) != asked:
        message = f"the id {quoted(finding.module_id)} is already that of {shown(holder)}; give this file another"
        data = finding.version.data if finding.version is not None else b""
        changes.errors.append((path, placed(text_of(data), message, ("module_id",)), finding.module_id))
