"""Without a manifest: which file has an id.

An id belongs to the file that has it. A newcomer that claims it is rejected by name, and takes it when that file
goes; a rename is no collision.
"""

from __future__ import annotations

from dspyreload.model.changes import Changes
from dspyreload.model.faults import Fault, quoted, shown
from dspyreload.model.finding import Finding, Kind
from dspyreload.model.jsontext import placed, text_of
from dspyreload.model.manifest import MANIFEST, fold
from dspyreload.model.snapshot import ModuleVersion

__all__ = ["claim", "claimants", "collision", "plan_claimed"]


def plan_claimed(changes: Changes) -> None:
    """Plan for a directory that has no manifest: every file may be a module."""
    _hold_moved(changes)
    keys: dict[str, None] = {}  # a set, in order
    served: set[str] = set()  # ids that serve, and whose file may have become something else
    found = changes.found
    if changes.in_force is not None:  # the manifest is gone: what it did not list has a claim again, changed or not
        changes.in_force = None
        served.update(changes.snapshot)
        found = {path: f for path, f in changes.known.findings.items() if path not in changes.suspects} | found
    for path, finding in changes.steps(found.items()):
        before = changes.known.findings.get(path)
        keys |= {fold(f.module_id): None for f in (finding, before) if f is not None and f.module_id is not None}
        if path in changes.known.serves:
            served.add(changes.known.serves[path])
        claim(changes, path, before, finding)
        if finding.kind is Kind.MISSING:
            changes.collided.pop(path, None)
        if finding.kind in (Kind.BROKEN, Kind.UNREADABLE):
            changes.reject(path, finding)
    for path in changes.known.suspects:  # it may have an id after all
        suspect = changes.known.findings.get(path)
        if suspect is not None and suspect.module_id is not None:
            keys[fold(suspect.module_id)] = None
    live = {fold(name): changes.snapshot[name] for name in changes.steps(served) if name in changes.snapshot}
    holders: dict[str, str] = {}
    for key in changes.steps(keys | dict.fromkeys(live)):
        version = live.get(key) or _live_under(changes, key)
        holder = _settle(changes, key, version)
        if version is not None:
            served.add(version.module_id)
        if holder is not None:
            holders[holder.path] = str(holder.module_id)
            served.add(changes.known.serves.get(holder.path, ""))
    taken = {fold(name): name for name in changes.steps(holders.values())}
    changes.gone += [name for name in changes.steps(served) if _is_gone(changes, name, holders, taken)]


def _hold_moved(changes: Changes) -> None:
    """Hold what is missing while nothing is decided about the file that asks for its id: it may have been moved.

    That one is with the game's validators, was whole at the last look and is being written now, or is being written
    since it was made: then nobody knows for which id it will ask.
    """
    known = changes.known
    unread = any(path not in known.findings and path != MANIFEST for path in changes.suspects)
    undecided = {key for path, key in known.newcomers.items() if path in changes.suspects}
    for path in changes.suspects:
        before = known.findings.get(path)
        if before is not None and before.module_id is not None:
            undecided.add(fold(before.module_id))
    for path in changes.steps((*known.checking, *changes.found)):
        finding = changes.latest(path)
        if finding is not None and finding.kind is Kind.CHECKING and finding.module_id is not None:
            undecided.add(fold(finding.module_id))
    missing = [path for path, finding in changes.steps(changes.found.items()) if finding.kind is Kind.MISSING]
    for path in changes.steps(missing):
        if unread or fold(known.serves.get(path, "")) in undecided:
            del changes.found[path]
            changes.suspect(path)


def _is_gone(changes: Changes, module_id: str, holders: dict[str, str], taken: dict[str, str]) -> bool:
    """Say whether the file of a live module is missing, or serves as another one now, or its id is another file's.

    While it is none of these, the last good version serves: the file may be broken, or ask for an id that is taken.
    """
    version = changes.snapshot.get(module_id)
    if version is None or module_id in changes.live or version.path in changes.suspects:
        return False
    if taken.get(fold(module_id), module_id) != module_id:  # in other letters
        return True
    finding = changes.latest(version.path)
    missing = finding is None or finding.kind is Kind.MISSING
    return missing or holders.get(version.path, module_id) != module_id


def claimants(changes: Changes, key: str) -> tuple[str, ...]:
    """Return the paths that claim a folded id."""
    return changes.claims.get(key, changes.known.claims.get(key, ()))


def claim(changes: Changes, path: str, before: Finding | None, finding: Finding) -> None:
    """Take note of the id that a file has now, in place of the one that it had."""
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
    kept = live is not None and (live.path in paths or _is_broken(changes, live.path))
    holder = live.path if live is not None and kept else (good[0] if good else None)
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
            changes.newcomers[path] = key
    changes.claims[key] = changes.known.claims.get(key, ())


def _live_under(changes: Changes, key: str) -> ModuleVersion | None:
    serves = changes.known.serves
    for path in (*claimants(changes, key), *changes.known.claims.get(key, ())):
        if path in serves and fold(serves[path]) == key:
            return changes.snapshot.get(serves[path])
    return changes.live_under(key)


def _is_broken(changes: Changes, path: str) -> bool:
    """Say whether nobody can tell which id a file asks for: then the one that it serves is its own."""
    finding = changes.latest(path)
    return finding is not None and finding.kind in (Kind.BROKEN, Kind.UNREADABLE)


def _collide(changes: Changes, path: str, holder: str) -> None:
    finding = changes.latest(path)
    assert finding is not None
    assert finding.module_id is not None
    asked = (finding.module_id, finding.digest)
    changes.collided[path] = asked
    if changes.known.collided.get(path) != asked:
        changes.errors.append((path, _taken(finding, finding.module_id, holder), finding.module_id))


def collision(changes: Changes, path: str) -> Fault | None:
    """Say again why a file may not go live that asks for the id of another one; None where it does not."""
    finding = changes.latest(path)
    if path not in changes.collided or finding is None or finding.module_id is None:
        return None
    key = fold(finding.module_id)
    others = [other for other in claimants(changes, key) if other not in changes.collided]
    live = changes.live_under(key)
    return _taken(finding, finding.module_id, others[0] if others or live is None else live.path)


def _taken(finding: Finding, module_id: str, holder: str) -> Fault:
    message = f"the id {quoted(module_id)} is already that of {shown(holder)}; give this file another"
    data = finding.version.data if finding.version is not None else b""
    return placed(text_of(data), message, ("module_id",))
