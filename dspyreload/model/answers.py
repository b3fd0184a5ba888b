"""What those are told who asked for one module: its event, whatever the pass did to it."""

from __future__ import annotations

from dspyreload.model.changes import Changes, and_more
from dspyreload.model.claimed import claimants
from dspyreload.model.events import HotReloadEvent, ModuleSkipped, ReloadError
from dspyreload.model.faults import Fault
from dspyreload.model.finding import Kind
from dspyreload.model.manifest import MANIFEST, fold
from dspyreload.model.snapshot import Snapshot

__all__ = ["answers_of", "rejection"]


def rejection(after: Snapshot, path: str, fault: Fault, module_id: str | None) -> ReloadError:
    """Return the event of a file that may not go live, with what serves in its place."""
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
    )


def answers_of(
    changes: Changes, after: Snapshot, events: tuple[HotReloadEvent, ...], asked: frozenset[str]
) -> dict[str, HotReloadEvent | None]:
    """Return for each id that was asked for its event, or None where there is no such module.

    Left out are those whose file is looked at a second time, or whose validators have not answered.
    """
    answers: dict[str, HotReloadEvent | None] = {}
    by_id = {str(getattr(event, "module_id", "")): event for event in reversed(events)} if asked else {}
    for module_id in asked:
        paths = _paths_of(changes, module_id)
        if any(path in changes.suspects or _is_checked(changes, path) for path in paths):
            continue
        event: HotReloadEvent | None = by_id.get(module_id)
        if event is None:
            found = [finding for path in sorted(paths) if (finding := changes.latest(path)) is not None]
            broken = next((finding for finding in found if finding.fault is not None), None)
            if _held_back(changes, after, module_id):
                event = rejection(
                    after, MANIFEST, Fault("it waits with manifest.json, which waits for other files"), module_id
                )
            elif broken is not None and broken.fault is not None:
                event = rejection(after, broken.path, and_more(broken.fault, broken.more), module_id)
            elif waiting := [finding for finding in found if finding.waits_for is not None]:
                event = rejection(after, waiting[0].path, Fault(f"it waits: {waiting[0].waits_for}"), module_id)
            elif module_id in after:
                event = ModuleSkipped(generation=after.generation, module_id=module_id)
        answers[module_id] = event
    return answers


def _is_checked(changes: Changes, path: str) -> bool:
    finding = changes.latest(path)
    return finding is not None and finding.kind is Kind.CHECKING


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
