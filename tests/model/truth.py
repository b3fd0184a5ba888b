"""What should be served: a plain function of what is on the disk and of what was served before.

It is written from the rules that always hold, and not from the code that keeps them; it is slow, and has no memory but
what it is given. Only whether bytes are a good module or a readable manifest is asked of the formats' own readers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import attrs

from dspyreload.disk.identity import identity
from dspyreload.model.faults import FaultError
from dspyreload.model.manifest import MANIFEST, ModuleEntry, parse_manifest
from dspyreload.model.snapshot import Snapshot
from tests.model.judged import Disk, Good, Version, Why, judge

__all__ = ["FIRST", "State", "Truth", "perhaps_revived", "revived", "state_of", "truth"]

Entries = Mapping[str, ModuleEntry]


@attrs.frozen
class State:
    """What serves.

    :ivar manifest: the bytes of the one in force; None for none; empty where it was broken at the start.
    :ivar root: the directory when it last held something; ``first``: nothing was ever served.
    """

    modules: dict[str, Version] = attrs.field(factory=dict)
    manifest: bytes | None = None
    root: tuple[int, int] | None = attrs.field(default=None, eq=False)
    first: bool = attrs.field(default=False, eq=False)


FIRST = State(first=True)


@attrs.frozen
class Truth:
    """What should serve, and what should have been said.

    :ivar complaints: why a file is rejected, by path, where it is.
    :ivar looked_at: paths that were judged; of others nothing new is known, unless ``all_of_it``: they are not there.
    :ivar waiting: ids that wait with the manifest.
    """

    state: State
    complaints: dict[str, Why]
    looked_at: frozenset[str]
    waiting: frozenset[str] = frozenset()
    all_of_it: bool = False


def state_of(snapshot: Snapshot, root: tuple[int, int] | None = None) -> State:
    """Return what a real snapshot serves."""
    modules = {
        name: Version(version.path, version.data, version.texts, version.tags) for name, version in snapshot.items()
    }
    manifest = snapshot.manifest.data if snapshot.manifest is not None else None
    return State(modules, manifest, root, snapshot.generation == 0)


def truth(root: str, before: State) -> Truth:
    """Say what should serve once nothing changes any more."""
    if not os.path.isdir(root):
        return Truth(before, {}, frozenset())
    disk, here = Disk(root), identity(root)
    data = disk.read(MANIFEST)
    paths = {version.path for version in before.modules.values()}
    paths |= {entry.path for entry in (_entries(before.manifest) or {}).values()}
    known = any(os.path.lexists(f"{root}/{path}") for path in paths)
    if before.root not in (None, here) and data is None and not disk.files() and not known:
        return Truth(before, {}, frozenset())  # a volume that is not mounted yet
    found = _truth(disk, before, data)
    state = attrs.evolve(found.state, root=here, first=False)
    return attrs.evolve(found, state=state, looked_at=found.looked_at | {MANIFEST})


def revived(root: str, before: State, kept: State) -> State:
    """Say what serves when a state file was read: what the disk could not give is there again.

    :param before: what served, read from the disk. ``kept``: what the state file holds.
    """
    if before.first or not os.path.isdir(root):
        return kept if before.first else before
    disk, entries = Disk(root), _entries(before.manifest)
    lost = before.manifest == b"" and bool(kept.manifest)  # the manifest was broken, and nothing served
    taken = {name.casefold() for name in before.modules}
    modules, files = dict(before.modules), disk.files()
    for name, version in kept.modules.items():
        entry = entries.get(name) if entries is not None else None
        listed = version.path in files if entries is None else (entry is not None and entry.path == version.path)
        if name.casefold() in taken or version.path in (other.path for other in before.modules.values()):
            continue
        if lost or (listed and isinstance(judge(disk, version.path, name if entry else None, entry), tuple)):
            modules[name] = version
    manifest = kept.manifest if lost and modules else before.manifest
    return State(modules, manifest, before.root)


def perhaps_revived(before: State, kept: State, now: State) -> State:
    """Say the same where it is not known how the files were when they were looked at last: by what serves now."""
    there = {
        name: version
        for name, version in kept.modules.items()
        if name not in before.modules and now.modules.get(name) == version
    }
    lost = before.manifest == b"" and bool(kept.manifest) and bool(there)
    return State({**before.modules, **there}, kept.manifest if lost else before.manifest, before.root, before.first)


def _truth(disk: Disk, before: State, data: bytes | str | None) -> Truth:
    entries = _entries(before.manifest)
    if data is None:
        return _claimed(disk, before)
    try:
        if isinstance(data, str):
            raise FaultError(data)  # noqa: TRY301
        wanted: Entries = parse_manifest(data).modules
    except FaultError:
        if before.first:
            found = Truth(State({}, b""), {}, frozenset())
        elif entries is None:
            found = _claimed(disk, before)
        else:
            found = _listed(disk, before, entries, entries, before.manifest)
        return _told(found, ("broken", data))
    assert isinstance(data, bytes)
    return _listed(disk, before, entries, wanted, data)


def _entries(manifest: bytes | None) -> Entries | None:
    if not manifest:
        return None if manifest is None else {}
    return parse_manifest(manifest).modules


def _told(found: Truth, why: Why) -> Truth:
    return attrs.evolve(found, complaints={**found.complaints, MANIFEST: why})


def _listed(disk: Disk, before: State, old: Entries | None, wanted: Entries, data: bytes | None) -> Truth:
    """With a manifest: it comes into force with all that it adds, changes and removes, or all of that waits."""
    seen = {name: judge(disk, entry.path, name, entry) for name, entry in wanted.items()}
    touched = {name for name, entry in wanted.items() if old is None or old.get(name) != entry}
    lacking = [name for name in touched if not isinstance(seen[name], Good)]
    waits = bool(lacking) and not before.first
    modules: dict[str, Version] = {}
    complaints: dict[str, Why] = {}
    frozen = touched | (before.modules.keys() - wanted.keys()) if waits else set[str]()
    for name in {*wanted, *frozen}:
        found = seen.get(name)
        if isinstance(found, Good) and name not in frozen:
            modules[name] = found.version
        elif name in before.modules and (found is not None or name in frozen):
            modules[name] = before.modules[name]
        if isinstance(found, tuple):
            complaints[wanted[name].path] = found
        elif found is None and name in wanted and name not in frozen:
            complaints[wanted[name].path] = ("missing", name)
    state = State(modules, before.manifest if waits else data)
    paths = frozenset(entry.path for entry in wanted.values())
    result = Truth(state, complaints, paths, frozenset(frozen))
    return _told(result, ("waits", data)) if waits else result


def _claimed(disk: Disk, before: State) -> Truth:
    """Without a manifest: an id is that of the file that has it, for as long as that is there and asks for it."""
    paths = sorted({*disk.files(), *(version.path for version in before.modules.values())})
    seen = {path: judge(disk, path) for path in paths}
    good = {path: found for path, found in seen.items() if isinstance(found, Good)}
    owners = {name.casefold(): version.path for name, version in before.modules.items()}
    holders: dict[str, str] = {}
    for path, found in good.items():
        key = found.module_id.casefold()
        owner = owners.get(key)
        if owner is not None and isinstance(seen[owner], tuple):
            continue  # its last good version has the id
        if key not in holders or path == owner:
            holders[key] = path
    modules = {good[path].module_id: good[path].version for path in holders.values()}
    for name, version in before.modules.items():
        there = seen[version.path]
        if there is None or name.casefold() in holders:
            continue
        if isinstance(there, Good) and holders.get(there.module_id.casefold()) == version.path:
            continue  # it serves under another id
        modules[name] = version
    complaints: dict[str, Why] = {path: found for path, found in seen.items() if isinstance(found, tuple)}
    for path, found in good.items():
        if holders.get(found.module_id.casefold()) != path:
            complaints[path] = ("taken", found.module_id, found.version.data, found.version.texts)
    existing = frozenset(path for path in paths if seen[path] is not None)
    return Truth(State(modules), complaints, existing, all_of_it=True)
