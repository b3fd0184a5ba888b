"""What a pass says in the log: once, in plain words, with fields for observers that want them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection

from twisted.logger import Logger

from dspyreload.model.events import ReloadError
from dspyreload.model.faults import counted, joined, shown
from dspyreload.model.manifest import MANIFEST
from dspyreload.model.plan import Plan
from dspyreload.model.restoring import Restored

__all__ = ["report", "report_damage", "report_pending", "report_restored"]

_MOST_LINES = 20
_LONGEST = 2000  # characters of a line
_LATELY = 60.0  # seconds; a file that was saved before then changed for another reason


def report(log: Logger, plan: Plan, *, first: bool = False) -> None:
    """Log the outcome of a pass. Above 20 lines of a kind: one summary.

    :param first: whether this was the first reading, which says how much was loaded and not each of it.
    """
    if first:
        names = ", ".join(shown(event.module_id) for event in plan.changed[:_MOST_LINES])
        log.info(
            "loaded {modules} ({names}), generation {generation}; {rejected} rejected{again}",
            modules=counted(len(plan.changed), "module"),
            names=names + (", ..." if len(plan.changed) > _MOST_LINES else "") or "none",
            generation=plan.snapshot.generation,
            rejected=len(plan.errors),
            again=f", {len(plan.again)} to be looked at again" if plan.again else "",
        )
    else:
        _changes(log, plan)
    _deletions(log, plan)
    _rejections(log, plan.errors)
    _asides(log, plan)


def _changes(log: Logger, plan: Plan) -> None:
    for change in plan.manifest:
        log.info(
            "manifest.json is live: {added} added, {changed} changed, {removed} removed; generation {generation}",
            added=len(change.added),
            changed=len(change.changed),
            removed=len(change.removed),
            generation=change.generation,
        )
    if len(plan.changed) > _MOST_LINES:
        log.info(
            "{count} modules are live, generation {generation}",
            count=len(plan.changed),
            generation=plan.snapshot.generation,
        )
        return
    for event in plan.changed:
        after = max(0.0, time.time() - plan.saved_at.get(event.module_id, 0.0))
        log.info(
            "{shown_id} is live: version {version:.12}, generation {generation}{since}",
            shown_id=shown(event.module_id), module_id=event.module_id, path=event.path, version=event.version,
            generation=event.generation, after=after,
            since=f", {after:.2f} s after the save" if after < _LATELY else "",
        )  # fmt: skip


def _deletions(log: Logger, plan: Plan) -> None:
    unlisted = {module_id for change in plan.manifest for module_id in change.removed}
    for event in plan.deleted[:_MOST_LINES]:
        log.warn(
            "{shown_id} is no longer served: {reason}; generation {generation}",
            reason=_why_gone(event.module_id, plan, unlisted),
            shown_id=shown(event.module_id),
            module_id=event.module_id,
            generation=event.generation,
        )
    if len(plan.deleted) > _MOST_LINES:
        log.warn("{count} more modules are no longer served", count=len(plan.deleted) - _MOST_LINES)


def _why_gone(module_id: str, plan: Plan, unlisted: set[str]) -> str:
    if module_id in unlisted:
        return f"{MANIFEST} no longer lists it"
    in_force = plan.snapshot.manifest
    if in_force is not None and module_id not in in_force.modules:  # before it there was none
        return f"{MANIFEST} does not list it"
    return "there is no file for it any more"  # it is gone, or says that it is another module


def _where(path: str, line: int | None, column: int | None) -> str:
    """Name a place harmlessly; however long the path is, its line is there."""
    return ":".join(str(part) for part in (shown(path, 300), line, column) if part is not None)


def _rejections(log: Logger, errors: tuple[ReloadError, ...]) -> None:
    for event in errors[:_MOST_LINES]:
        _rejection(log, event)
    if len(errors) > _MOST_LINES:
        log.error("{count} more files are rejected", count=len(errors) - _MOST_LINES)


def _rejection(log: Logger, event: ReloadError) -> None:
    log.error(
        "{where}: {told}",
        where=_where(event.path, event.line, event.column), told=shown(joined(event.error, _still(event)), _LONGEST),
        error=event.error, path=event.path, line=event.line, column=event.column, module_id=event.module_id,
        version=event.serving, generation=event.generation,
    )  # fmt: skip


def _still(event: ReloadError) -> str:
    if event.path == MANIFEST:
        return "the manifest before it is still in force" if event.serving else "no manifest is in force"
    if event.serving is None:
        return "nothing is served in its place"
    if event.restored:
        return f"version {event.serving[:12]} of {shown(str(event.module_id))} serves, brought back from the state file"
    return f"version {event.serving[:12]} of {shown(str(event.module_id))} is still serving"


def report_damage(log: Logger, path: str, faults: tuple[str, ...]) -> None:
    """Say what of a state file could not be read."""
    state = shown(path, 300)
    for fault in faults[:_MOST_LINES]:
        log.warn("{state}: {fault}", state=state, fault=shown(fault, 500))
    if len(faults) > _MOST_LINES:
        log.warn("{state}: {count} more things are not what was written", state=state, count=len(faults) - _MOST_LINES)


def report_restored(log: Logger, restored: Restored) -> None:
    """Say what the state file brought back after a restart, and what of it can't be served any more."""
    if restored.changed:
        names = ", ".join(shown(event.module_id) for event in restored.changed[:_MOST_LINES])
        log.info(
            "{modules} brought back from the state file ({names}), generation {generation}",
            modules=counted(len(restored.changed), "module"),
            names=names + (", ..." if len(restored.changed) > _MOST_LINES else ""),
            generation=restored.snapshot.generation,
        )
    _rejections(log, restored.errors)
    for module_id, words in restored.faults[:_MOST_LINES]:
        log.warn(
            "{shown_id} can't be brought back from the state file: {words}",
            shown_id=shown(module_id),
            words=shown(words, _LONGEST),
        )
    if len(restored.faults) > _MOST_LINES:
        log.warn(
            "{count} more modules can't be brought back from the state file", count=len(restored.faults) - _MOST_LINES
        )


def report_pending(log: Logger, pending: Collection[tuple[str, str]]) -> None:
    """Say which modules wait, by id, and for what: the first ones, without a walk through all."""
    for module_id, words in sorted(itertools.islice(pending, _MOST_LINES)):
        log.info(
            "{shown_id} waits: {words}", shown_id=shown(module_id), module_id=module_id, words=shown(words, _LONGEST)
        )
    if len(pending) > _MOST_LINES:
        log.info("{count} more modules wait", count=len(pending) - _MOST_LINES)


def _asides(log: Logger, plan: Plan) -> None:
    for say, remarks in ((log.warn, plan.warnings), (log.info, plan.notes)):
        for path, remark in remarks[:_MOST_LINES]:
            words = joined(remark.message, remark.mend)
            where = _where(path, remark.line, remark.column)
            say("{where}: {remark}", where=where, remark=shown(words, _LONGEST), path=path, line=remark.line)
        if len(remarks) > _MOST_LINES:
            say("{count} more remarks of this kind", count=len(remarks) - _MOST_LINES)
    if plan.writable:
        others = f" and {len(plan.writable) - 1:,} more" if len(plan.writable) > 1 else ""
        log.warn(
            "the group or all may write {path}{others}, and so decide what characters say; run chmod -R go-w on the"
            " modules directory",
            path=shown("the modules directory" if plan.writable[0] == "." else plan.writable[0], 300),
            others=others,
        )
    for module_id in plan.mended[:_MOST_LINES]:
        log.info(
            "{shown_id} is whole again, and is what serves already",
            shown_id=shown(module_id),
            module_id=module_id,
            whole=module_id,
        )
    for skip in plan.skipped[:_MOST_LINES]:
        log.debug(
            "{shown_id} is unchanged, skipped",
            shown_id=shown(skip.module_id),
            module_id=skip.module_id,
            generation=skip.generation,
        )
