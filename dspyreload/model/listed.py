"""With a manifest: what commits together.

A changed manifest commits with every entry that it adds or changes, or waits, and the files of those entries wait
with it. Entries that it does not touch keep their state, so a file that was broken before vetoes nobody.
"""

from __future__ import annotations

from dspyreload.model.changes import Changes
from dspyreload.model.claimed import claim
from dspyreload.model.faults import Fault, did_you_mean, nearest, quoted, shown
from dspyreload.model.finding import Kind
from dspyreload.model.jsontext import placed, text_of
from dspyreload.model.manifest import MANIFEST, ModuleManifest, changed_entries

__all__ = ["plan_listed"]

_MOST_HINTS = 20


def plan_listed(changes: Changes, desired: ModuleManifest) -> None:
    """Plan for the manifest that the disk asks for."""
    touched = changed_entries(changes.in_force, desired)
    lacking = [] if changes.first else [name for name in changes.steps(touched) if not _ready(changes, desired, name)]
    if lacking:
        _wait(changes, desired, lacking)
        if changes.in_force is None:  # should this manifest go, ids are claimed as before it came
            for path, finding in changes.steps(changes.found.items()):
                claim(changes, path, changes.known.findings.get(path), finding)
    else:
        if not changes.seen.hollow:  # else nothing is known of the one that was rejected: it is not said again
            changes.manifest_reported = ""  # should that come back, it is said again
        if desired is not changes.in_force:
            _put_in_force(changes, desired, touched)
    for path, finding in changes.steps(changes.found.items()):
        module_id = finding.module_id
        if finding.kind in (Kind.BROKEN, Kind.UNREADABLE):
            changes.reject(path, finding)
        elif module_id is None or (lacking and module_id in touched):
            continue
        elif finding.kind is not Kind.MISSING:
            changes.serve(path, finding)
        elif module_id in changes.snapshot:
            changes.gone.append(module_id)
        else:
            changes.errors.append((path, _missing(changes, path), module_id))


def _missing(changes: Changes, path: str) -> Fault:
    few = len(changes.errors) < _MOST_HINTS  # a renamed folder: the others are missing for the same reason
    near = did_you_mean(path, changes.seen.unlisted or ()) if few else ""
    mend = "make the file, or delete its entry" if not near else ""
    return Fault(f"manifest.json lists this file, and it is missing{near}", mend=mend)


def _ready(changes: Changes, desired: ModuleManifest, module_id: str) -> bool:
    entry = desired[module_id]
    finding = changes.latest(entry.path)
    if finding is None or (finding.module_id, finding.entry) != (module_id, entry) or entry.path in changes.suspects:
        return False
    return finding.kind in (Kind.GOOD, Kind.PENDING)


def _put_in_force(changes: Changes, desired: ModuleManifest, touched: set[str]) -> None:
    if changes.in_force is None:
        changes.claims, changes.collided = dict.fromkeys(changes.known.claims, ()), {}
    changes.in_force = desired
    changes.gone += [module_id for module_id in changes.snapshot if module_id not in desired.modules]
    for module_id in changes.steps(touched):
        path = desired[module_id].path
        finding = changes.latest(path)
        if finding is not None and path not in changes.found and path not in changes.suspects:
            changes.serve(path, finding)


def _wait(changes: Changes, desired: ModuleManifest, lacking: list[str]) -> None:
    if changes.manifest_reported == desired.digest or any(changes.is_checked(desired[name].path) for name in lacking):
        return
    if not changes.decides(MANIFEST):
        changes.suspect(MANIFEST)
        return
    changes.manifest_reported = desired.digest
    names = sorted(lacking)
    words = ", ".join(_lack(changes, desired[module_id].path) for module_id in names[:5])
    more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
    text = text_of(changes.manifest.data) if changes.manifest is not None else ""
    fault = placed(text, f"the manifest waits for {words}{more}", ("modules", names[0], "path"))
    changes.errors.append((MANIFEST, fault, None))


def _lack(changes: Changes, path: str) -> str:
    finding = changes.latest(path)
    if finding is not None and finding.kind is not Kind.MISSING:
        return f"{shown(path)} (which has a fault)"
    near = nearest(path, changes.seen.unlisted or ())
    return f"{shown(path)} (missing{f'; did you mean {quoted(near)}?' if near is not None else ''})"
