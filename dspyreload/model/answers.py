"""What is told of a pass, and what those are told who asked for one module: its event, whatever the pass did to it."""

from __future__ import annotations

from collections.abc import Mapping

from dspyreload.model.changes import Changes, and_more
from dspyreload.model.claimed import claimants, collision
from dspyreload.model.events import HotReloadEvent, ManifestChanged, ModuleChanged, ModuleSkipped, ReloadError
from dspyreload.model.faults import Fault
from dspyreload.model.manifest import MANIFEST, NOTHING_LISTED, fold
from dspyreload.model.snapshot import ModuleVersion, Snapshot
from dspyreload.model.steps import Steps, at_once

__all__ = ["answers_of", "changed_events", "manifest_event", "rejection"]


def rejection(
    after: Snapshot, path: str, fault: Fault, module_id: str | None, restored: frozenset[str] = frozenset()
) -> ReloadError:
    """Return the event of a file that may not go live, with what serves in its place.

    :param restored: ids of which the state file brought back what serves.
    """
    version = after.get(module_id) if module_id is not None else None
    serving = version.version if version is not None else None
    if path == MANIFEST and after.manifest is not None:
        serving = after.manifest.digest or None
    return ReloadError(
        generation=after.generation,
        path=path,
        error=fault.message,
        line=fault.line,
        column=fault.column,
        module_id=module_id,
        serving=serving,
        mend=fault.mend,
        restored=version is not None and module_id in restored,
    )


def changed_events(
    generation: int, live: Mapping[str, ModuleVersion], steps: Steps = at_once
) -> tuple[ModuleChanged, ...]:
    """Return the events of the versions that go live, by id."""
    return tuple(
        ModuleChanged(generation=generation, module_id=name, path=live[name].path, version=live[name].version)
        for name in steps(sorted(live))
    )


def manifest_event(before: Snapshot, after: Snapshot) -> tuple[ManifestChanged, ...]:
    """Return the event of a manifest that came into force, if one did."""
    if after.manifest is before.manifest or after.manifest is NOTHING_LISTED:
        return ()
    old, new = (before.manifest or NOTHING_LISTED).modules, (after.manifest or NOTHING_LISTED).modules
    return (
        ManifestChanged(
            generation=after.generation,
            added=tuple(sorted(new.keys() - old.keys())),
            changed=tuple(sorted(name for name in new.keys() & old.keys() if new[name] != old[name])),
            removed=tuple(sorted(old.keys() - new.keys())),
        ),
    )


def answers_of(
    changes: Changes, after: Snapshot, events: tuple[HotReloadEvent, ...], asked: frozenset[str]
) -> dict[str, HotReloadEvent | None]:
    """Return for each id that was asked for its event, or None where there is no such module.

    Left out are those whose file is looked at a second time, or whose validators have not answered; and those that
    nobody knows while the manifest is looked at a second time.
    """
    answers: dict[str, HotReloadEvent | None] = {}
    by_id = {str(getattr(event, "module_id", "")): event for event in reversed(events)} if asked else {}
    for module_id in asked:
        paths = _paths_of(changes, module_id)
        if any(path in changes.suspects or changes.is_checked(path) for path in paths):
            continue
        event: HotReloadEvent | None = by_id.get(module_id)
        if event is None:
            found = [finding for path in sorted(paths) if (finding := changes.latest(path)) is not None]
            broken = next((finding for finding in found if finding.fault is not None), None)
            if _held_back(changes, after, module_id):
                waiting_words = "it waits with manifest.json, which waits for other files"
                event = rejection(after, MANIFEST, Fault(waiting_words), module_id)
            elif broken is not None and broken.fault is not None:
                fault = and_more(broken.fault, broken.more)
                event = rejection(after, broken.path, fault, module_id, changes.known.restored)
            elif waiting := [finding for finding in found if finding.waits_for is not None]:
                event = rejection(after, waiting[0].path, Fault(f"it waits: {waiting[0].waits_for}"), module_id)
            elif module_id in after and (taken := collision(changes, after[module_id].path)) is not None:
                event = rejection(after, after[module_id].path, taken, module_id, changes.known.restored)
            elif module_id in after:
                event = ModuleSkipped(generation=after.generation, module_id=module_id)
            elif MANIFEST in changes.suspects:
                continue  # it may be gone, and then the module is one without it
        answers[module_id] = event
    return answers


def _held_back(changes: Changes, after: Snapshot, module_id: str) -> bool:
    """Say whether a good file does not go live because it belongs to a manifest that waits."""
    desired = changes.seen.desired
    if desired is None or desired is after.manifest or module_id not in desired.modules:
        return False
    finding = changes.latest(desired[module_id].path)
    version = finding.version if finding is not None else None
    return version is not None and not version.serves_as(after.get(module_id))


def _paths_of(changes: Changes, module_id: str) -> set[str]:
    paths = set(claimants(changes, fold(module_id)))
    if module_id in changes.snapshot:
        paths.add(changes.snapshot[module_id].path)
    desired = changes.seen.desired
    if desired is not None and module_id in desired.modules:
        paths.add(desired[module_id].path)
    return paths
