"""The same reading and the same checks as the server's, offline: every fault of a directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import attrs

from dspyreload.config import HotReloadConfig
from dspyreload.disk.scan import Request, look
from dspyreload.model.events import ReloadError
from dspyreload.model.faults import Fault
from dspyreload.model.finding import Kind, Known, Look
from dspyreload.model.manifest import MANIFEST, default_id
from dspyreload.model.plan import Plan, make_plan
from dspyreload.model.registrations import NOTHING, Registrations
from dspyreload.model.snapshot import EMPTY, ModuleVersion

_REGISTER = "correct the name, or ask who keeps the game to register it"

__all__ = ["Remark", "Report", "check_directory"]


@attrs.frozen
class Remark:
    """A fault or a warning, at a place (line and column from 1).

    :ivar mend: what to do about it, or "".
    :ivar placed: whether the place says more than which file it is.
    """

    path: str
    line: int
    column: int
    level: str
    message: str
    mend: str = ""
    placed: bool = True


@attrs.frozen
class Report:
    """What a check found.

    :ivar remarks: by path and line.
    :ivar modules: path of each module's file that was looked at, in order.
    :ivar texts: files that these are made of beside their own.
    :ivar defaults: what modules took that say nothing themselves, in words, each with their ids.
    :ivar writable: files and folders that others may write.
    :ivar shut: folders that may not be listed.
    :ivar ids: the id of each module's file, as far as it is known; ``silent``: those that do not speak.
    """

    remarks: tuple[Remark, ...]
    modules: tuple[str, ...]
    texts: frozenset[str]
    defaults: dict[str, tuple[str, ...]]
    ids: dict[str, str] = attrs.field(factory=dict)
    silent: frozenset[str] = frozenset()
    writable: tuple[str, ...] = ()
    shut: tuple[str, ...] = ()


def check_directory(
    directory: str | os.PathLike[str],
    config: HotReloadConfig,
    registrations: Registrations = NOTHING,
    refuses: Callable[[str, ModuleVersion], str | None] = lambda path, version: "",
    *,
    complete: bool = False,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Report:
    """Read a directory as a server would at its start, and return all that is wrong or odd.

    :param registrations: what the game registers; without it, modules that need some of it are a warning.
    :param refuses: says what the game has against a version at a path: "" for nothing, None where only the server can
        tell.
    :param complete: the game registers no more than that: what waits for more is a fault.
    :param progress: told how many files were looked at, and of how many.
    :raises RootMissing: where the directory can't be looked at.
    """
    known = Known()
    seen = look(
        Request(
            root=os.path.abspath(directory),
            in_force=None,
            registrations=registrations,
            extensions=config.module_extensions,
            max_file_size=config.max_file_size,
            max_files=config.max_files,
            strict=config.strict,
            first=True,
            ripe=None,
            progress=progress,
        ),
        known,
    )
    plan = make_plan(EMPTY, known, seen, ripe=None, asked=frozenset(), now=0.0)
    remarks = [
        *(_remark(path, "fault", fault) for path, found in _faults(plan, seen).items() for fault in found),
        *(_remark(path, "warning", note) for path, note in (*plan.warnings, *plan.notes)),
        *_judged(seen, refuses, complete=complete),
    ]
    return Report(
        tuple(sorted(remarks, key=lambda remark: (remark.path, remark.line, remark.column))),
        tuple(sorted(seen.findings)),
        frozenset(text for finding in seen.findings.values() for text, _stamp in finding.stamps[1:]),
        _defaults(seen),
        {path: finding.module_id or default_id(path) for path, finding in seen.findings.items()},
        frozenset(path for path, finding in seen.findings.items() if finding.version is None),
        plan.writable,
        plan.shut or (),
    )


def _faults(plan: Plan, seen: Look) -> dict[str, list[Fault]]:
    faults: dict[str, list[Fault]] = {}
    for event in plan.events:
        if isinstance(event, ReloadError):
            faults.setdefault(event.path, []).append(Fault(event.error, event.line, event.column, event.mend))
    for path, finding in seen.findings.items():
        if finding.kind is Kind.BROKEN and finding.fault is not None:
            faults[path] = [finding.fault, *finding.more]
        elif finding.kind is Kind.MISSING and finding.entry is None:  # it is listed, and can't be opened
            faults[path] = [Fault("this is a link that leads nowhere", mend="delete it, or mend where it leads")]
    if seen.manifest is not None and seen.manifest.fault is not None:
        faults[MANIFEST] = [seen.manifest.fault, *seen.manifest.more]
    return faults


def _judged(seen: Look, refuses: Callable[[str, ModuleVersion], str | None], *, complete: bool) -> Iterator[Remark]:
    """List what the game has against modules, and what they wait for."""
    for path, finding in seen.findings.items():
        if finding.version is not None:
            verdict = refuses(path, finding.version)
            if verdict is None:
                message = "the game has a check of its own for it, which answers in the running server only"
                yield _remark(path, "warning", Fault(message))
            elif verdict:
                yield _remark(path, "fault", Fault(f"the game refuses it: {verdict}"))
        if finding.waits_for is not None:
            level = "fault" if complete else "warning"
            message = finding.waits_for if complete else f"{finding.waits_for}; what only the game knows is not checked"
            yield _remark(
                path, level, Fault(message, mend=_REGISTER if complete else "name the game's module with --setup")
            )


def _defaults(seen: Look) -> dict[str, tuple[str, ...]]:
    used: dict[str, list[str]] = {}
    for _path, finding in sorted(seen.findings.items()):
        version = finding.version
        if version is not None and version.default is not None:
            used.setdefault(version.default.words(), []).append(version.module_id)
    return {words: tuple(ids) for words, ids in used.items()}


def _remark(path: str, level: str, fault: Fault) -> Remark:
    return Remark(path, fault.line or 1, fault.column or 1, level, fault.message, fault.mend, fault.line is not None)
