"""What a pass would change: the live snapshot and what was seen → the next snapshot, and what to say of it.

The rules that are kept in this file and in ``changes``, ``listed`` and ``claimed``, and nowhere else:

- Whole or not at all: one snapshot or the next.
- The last good version serves. Only a file that is gone removes a module.
- A file that is missing or broken at a first look is a suspect; the second look decides.
- Each rejection is said once for each content.
"""

from __future__ import annotations

import attrs

from dspyreload.model.answers import answers_of, changed_events, manifest_event, rejection
from dspyreload.model.changes import Changes
from dspyreload.model.claimed import plan_claimed
from dspyreload.model.events import (
    HotReloadEvent,
    ManifestChanged,
    ModuleChanged,
    ModuleDeleted,
    ModuleSkipped,
    ReloadError,
)
from dspyreload.model.faults import Fault, quoted
from dspyreload.model.finding import Finding, Kind, Known, Look
from dspyreload.model.listed import plan_listed
from dspyreload.model.manifest import MANIFEST, default_id
from dspyreload.model.snapshot import Snapshot
from dspyreload.model.steps import Steps, at_once

__all__ = ["Plan", "apply", "make_plan"]


@attrs.frozen(kw_only=True)
class Plan:
    """The outcome of a pass.

    :ivar snapshot: what to serve; the very object that serves already where nothing changes.
    :ivar events: in the order in which subscribers see them: ``manifest``, ``changed``, ``deleted``, ``errors`` and
        ``skipped``, which are kept apart too, so that nobody has to walk through all of them on the reactor.
    :ivar retired: ids whose version before no longer serves.
    :ivar answers: for each id that was asked for, its event, or None where there is no such module; without those
        whose file is looked at a second time, or whose validators have not answered.
    :ivar again: paths to be looked at a second time.
    :ivar notes: files that the manifest does not list, each to be said once; ``warnings``: what else is odd of files.
    :ivar writable: files and folders that others may write, each to be said once.
    :ivar shut: folders that may not be listed; None where that is not known anew.
    :ivar pending: modules that this pass found to wait, by id, and for what, in words.
    :ivar checking: files whose validators have not answered yet.
    :ivar saved_at: when each changed module's file was saved, in seconds since the epoch; without those that changed
        for another reason.
    :ivar root: the identity of the modules directory as it is now; ``hollow``: another than before, and empty.
    :ivar mended: ids whose file was broken, and is again what serves; so named is the manifest, too.
    """

    snapshot: Snapshot
    events: tuple[HotReloadEvent, ...]
    manifest: tuple[ManifestChanged, ...]
    changed: tuple[ModuleChanged, ...]
    deleted: tuple[ModuleDeleted, ...]
    errors: tuple[ReloadError, ...]
    skipped: tuple[ModuleSkipped, ...]
    retired: tuple[str, ...]
    answers: dict[str, HotReloadEvent | None]
    again: frozenset[str]
    notes: tuple[tuple[str, Fault], ...]
    warnings: tuple[tuple[str, Fault], ...] = ()
    writable: tuple[str, ...] = ()
    shut: tuple[str, ...] | None = None
    pending: dict[str, str]
    checking: frozenset[str]
    saved_at: dict[str, float]
    root: tuple[int, int] | None
    hollow: bool
    mended: tuple[str, ...]
    _known: Known


def make_plan(
    snapshot: Snapshot,
    known: Known,
    seen: Look,
    *,
    ripe: frozenset[str] | None,
    asked: frozenset[str],
    now: float,
    steps: Steps = at_once,
) -> Plan:
    """Plan what to do about what was seen. Pure: nothing that is passed in changes.

    :param ripe: suspects whose second look this was; None where a first look decides.
    :param asked: ids that somebody waits for.
    :param now: seconds of any clock, to remember when a suspect was first seen.
    :param steps: how the long loops go.
    """
    changes = Changes.of(snapshot, known, seen, ripe, now, steps)
    if seen.desired is not None:
        plan_listed(changes, seen.desired)
    else:
        plan_claimed(changes)
    for path, finding in steps(seen.unchanged.items()):
        noticed = finding.stamps != known.findings[path].stamps or finding.module_id in asked
        version = finding.version
        # Not one that asks for an id that it can't have, or waits with the manifest: unchanged, it is not what serves.
        if noticed and version is not None and version.serves_as(snapshot.get(version.module_id)):
            changes.skipped.append(version.module_id)
    return _plan(changes, asked)


def apply(known: Known, plan: Plan) -> None:
    """Remember what a pass learned, once its plan is carried out: assignments and updates, no loop of ours."""
    new = plan._known
    if new.complete:
        known.findings, known.serves, known.claims, known.users = new.findings, new.serves, new.claims, new.users
    else:
        known.findings.update(new.findings)
        known.serves.update(new.serves)
        known.claims.update(new.claims)
        known.users.update(new.users)
    known.suspects, known.missing, known.racy, known.unlisted = new.suspects, new.missing, new.racy, new.unlisted
    known.newcomers = new.newcomers
    known.manifest, known.manifest_reported = new.manifest, new.manifest_reported
    known.collided, known.problems, known.root = new.collided, new.problems, new.root
    known.writable = new.writable
    known.pending, known.checking, known.restored = new.pending, new.checking, new.restored


def _plan(changes: Changes, asked: frozenset[str]) -> Plan:
    before = changes.snapshot
    gone = tuple(sorted({module_id for module_id in changes.gone if module_id not in changes.live}))
    after = before
    if changes.live or gone or changes.in_force is not before.manifest or changes.first:
        after = before.commit(changes.live, gone, changes.in_force, changes.steps)
    number = after.generation
    manifest = manifest_event(before, after)
    changed = changed_events(number, changes.live, changes.steps)
    deleted = tuple(ModuleDeleted(generation=number, module_id=name) for name in changes.steps(gone))
    restored = changes.known.restored
    rejected = sorted(changes.errors, key=lambda error: error[0])
    errors = tuple(rejection(after, *error, restored) for error in changes.steps(rejected))
    skipped = tuple(
        ModuleSkipped(generation=number, module_id=name)
        for name in changes.steps(sorted(set(changes.skipped)))
        if name in after and name not in changes.live
    )
    events: tuple[HotReloadEvent, ...] = (*manifest, *changed, *deleted, *errors, *skipped)
    return Plan(
        snapshot=after,
        events=events,
        manifest=manifest,
        changed=changed,
        deleted=deleted,
        errors=errors,
        skipped=skipped,
        retired=(*changes.live, *gone),
        answers=answers_of(changes, after, events, asked),
        again=frozenset(changes.suspects),
        notes=_unlisted(changes),
        warnings=(*changes.warnings, *_remarks(changes), *_problems(changes)),
        writable=tuple(sorted((changes.seen.writable or frozenset()) - changes.known.writable)),
        shut=changes.seen.shut,
        pending={
            str(finding.module_id): finding.waits_for
            for finding in changes.steps(changes.found.values())
            if finding.waits_for is not None
        },
        checking=_checking(changes, changes.found),
        saved_at={
            name: finding.saved_at
            for name, version in changes.steps(changes.live.items())
            if (finding := changes.latest(version.path)) is not None
            and ((past := changes.known.findings.get(version.path)) is None or past.digest != finding.digest)
        },
        root=changes.seen.root,
        hollow=changes.seen.hollow,
        mended=tuple(sorted({*changes.mended, *_mended_manifest(changes)})),
        known=_learned(changes),
    )


def _mended_manifest(changes: Changes) -> tuple[str, ...]:
    """Name the manifest where it was rejected, and is again the one that is in force."""
    before, now, force = changes.known.manifest, changes.manifest, changes.in_force
    if before is None or now is None or now.fault is not None or force is None:
        return ()
    if before.fault is None and before.digest != changes.known.manifest_reported:
        return ()
    return (MANIFEST,) if force is changes.snapshot.manifest and now.digest == force.digest else ()


def _unlisted(changes: Changes) -> tuple[tuple[str, Fault], ...]:
    if changes.seen.unlisted is None:
        return ()
    fresh = sorted(changes.seen.unlisted - changes.known.unlisted)
    message = "manifest.json does not list this file; it is not served"
    return tuple((path, Fault(message, mend=_entry_for(path))) for path in fresh)


def _entry_for(path: str) -> str:
    key, value = (quoted(text, 1000) for text in (default_id(path), path))  # to be copied, and so not cut short
    return f'to serve it, add to "modules" there: {key}: {{"path": {value}, "hash": null}}'


def _remarks(changes: Changes) -> tuple[tuple[str, Fault], ...]:
    """Name what is odd inside of files, where they are new."""
    found = changes.steps(changes.found.items())
    return tuple((path, warning) for path, finding in found for warning in finding.warnings)


def _problems(changes: Changes) -> tuple[tuple[str, Fault], ...]:
    """Name the folders and files that can't be looked at, where that is new."""
    problems, said = changes.seen.problems or {}, changes.known.problems
    return tuple((path or ".", Fault(text)) for path, text in sorted(problems.items()) if said.get(path) != text)


def _learned(changes: Changes) -> Known:
    seen, known, snapshot = changes.seen, changes.known, changes.snapshot
    steps = changes.steps
    refreshed = {path: finding for path, finding in steps(seen.unchanged.items()) if path not in changes.suspects}
    looked = changes.found | refreshed
    findings, serves = looked, {version.path: module_id for module_id, version in steps(changes.live.items())}
    forgotten = {path for path, f in steps(changes.found.items()) if f.kind is Kind.MISSING and f.entry is None}
    retired = {snapshot[name].path for name in steps((*changes.live, *changes.gone)) if name in snapshot}
    retired -= serves.keys()
    complete = bool(forgotten or retired)
    claims, users = changes.claims, _users(known, looked, steps)
    if complete:
        claims = {key: paths for key, paths in {**known.claims, **claims}.items() if paths}
        users = {text: paths for text, paths in {**known.users, **users}.items() if paths}
        findings = {path: f for path, f in {**known.findings, **looked}.items() if path not in forgotten}
        serves = {path: name for path, name in {**known.serves, **serves}.items() if path not in retired}
    return Known(
        findings=findings,
        serves=serves,
        complete=complete,
        suspects=changes.suspects,
        missing=frozenset(changes.missing),
        newcomers=changes.newcomers,
        claims=claims,
        users=users,
        unlisted=seen.unlisted if seen.unlisted is not None else known.unlisted,
        racy=(known.racy - looked.keys()) | {path for path, finding in steps(looked.items()) if finding.racy},
        manifest=changes.manifest,
        manifest_reported=changes.manifest_reported,
        collided=changes.collided,
        problems=seen.problems if seen.problems is not None else known.problems,
        writable=seen.writable if seen.writable is not None else known.writable,
        root=known.root if seen.hollow else seen.root,
        pending=_pending(changes, looked),
        checking=_checking(changes, looked),
        restored=known.restored
        and known.restored - {f.module_id for f in steps(looked.values()) if f.kind is Kind.GOOD},
    )


def _checking(changes: Changes, looked: dict[str, Finding]) -> frozenset[str]:
    asked = {path for path, finding in changes.steps(looked.items()) if finding.kind is Kind.CHECKING}
    return (changes.known.checking - looked.keys()) | asked


def _pending(changes: Changes, looked: dict[str, Finding]) -> dict[str, tuple[str, str]]:
    pending = {path: words for path, words in changes.known.pending.items() if path not in looked}
    if (in_force := changes.in_force) is not None:
        pending = {path: words for path, words in pending.items() if path in in_force.paths}
    for path, finding in changes.steps(looked.items()):
        if finding.waits_for is not None:
            pending[path] = (str(finding.module_id), finding.waits_for)
    return pending


def _users(known: Known, looked: dict[str, Finding], steps: Steps) -> dict[str, tuple[str, ...]]:
    """Say which modules' files are made of a text file, where that changes."""
    users: dict[str, set[str]] = {}
    for path, finding in steps(looked.items()):
        before = known.findings.get(path)
        old = {text for text, _stamp in before.stamps[1:]} if before is not None else set()
        new = {text for text, _stamp in finding.stamps[1:]}
        for text in old ^ new:
            users.setdefault(text, set(known.users.get(text, ())))
            (users[text].add if text in new else users[text].discard)(path)
    return {text: tuple(sorted(paths)) for text, paths in users.items()}
