"""What a pass says in the log: once, in plain words, with fields for observers that want them."""

from __future__ import annotations

import time
from collections.abc import Iterable

from twisted.logger import Logger

from dspyreload.model.events import ReloadError
from dspyreload.model.faults import counted, joined, shown
from dspyreload.model.manifest import MANIFEST
from dspyreload.model.plan import Plan

__all__ = ["report", "report_health", "report_pending", "report_root"]

_MOST_LINES = 20
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
    for event in plan.errors[:_MOST_LINES]:
        _rejection(log, event)
    if len(plan.errors) > _MOST_LINES:
        log.error("{count} more files are rejected", count=len(plan.errors) - _MOST_LINES)
    _asides(log, plan)


def report_root(log: Logger, root: str, generation: int, *, was_lost: bool, is_lost: bool) -> None:
    """Say once that an empty directory lies where the modules were (an unmounted volume), and that they are back."""
    if is_lost and not was_lost:
        log.warn(
            "{root}: the modules directory is another than before, and empty; generation {generation} is still serving",
            root=shown(root),
            generation=generation,
        )
    elif was_lost and not is_lost:
        log.info("{root}: the modules directory is back", root=shown(root))


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
            reason="manifest.json no longer lists it" if event.module_id in unlisted else "its file is gone",
            shown_id=shown(event.module_id),
            module_id=event.module_id,
            generation=event.generation,
        )
    if len(plan.deleted) > _MOST_LINES:
        log.warn("{count} more modules are no longer served", count=len(plan.deleted) - _MOST_LINES)


def _rejection(log: Logger, event: ReloadError) -> None:
    log.error(
        "{where}: {told}",
        where=shown(event.where, 300), told=joined(event.error, _still(event)), error=event.error, path=event.path,
        line=event.line, column=event.column, module_id=event.module_id, version=event.serving,
        generation=event.generation,
    )  # fmt: skip


def _still(event: ReloadError) -> str:
    if event.path == MANIFEST:
        return "the manifest before it is still in force" if event.serving else "no manifest is in force"
    if event.serving is None:
        return "nothing is served in its place"
    return f"version {event.serving[:12]} of {shown(str(event.module_id))} is still serving"


def report_health(log: Logger, lm: str, reason: str, retry_in: float, *, healthy: bool) -> None:
    """Say that a language model fails again and again, or that it answers again."""
    if healthy:
        log.info("the LM {lm} answers again", lm=shown(lm))
    else:
        log.warn(
            "the LM {lm} fails: {reason}; fallbacks answer, and it is tried again in {retry_in:.0f} s",
            lm=shown(lm), reason=shown(reason), retry_in=retry_in,
        )  # fmt: skip


def report_pending(log: Logger, pending: Iterable[tuple[str, str]]) -> None:
    """Say which modules wait, by id, and for what."""
    waiting = sorted(pending)
    for module_id, words in waiting[:_MOST_LINES]:
        log.info("{shown_id} waits: {words}", shown_id=shown(module_id), module_id=module_id, words=words)
    if len(waiting) > _MOST_LINES:
        log.info("{count} more modules wait", count=len(waiting) - _MOST_LINES)


def _asides(log: Logger, plan: Plan) -> None:
    for say, remarks in ((log.warn, plan.warnings), (log.info, plan.notes)):
        for path, remark in remarks[:_MOST_LINES]:
            where = ":".join(str(part) for part in (shown(path, 300), remark.line, remark.column) if part is not None)
            words = joined(remark.message, remark.mend)
            say("{where}: {remark}", where=where, remark=words, path=path, line=remark.line)
        if len(remarks) > _MOST_LINES:
            say("{count} more remarks of this kind", count=len(remarks) - _MOST_LINES)
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
