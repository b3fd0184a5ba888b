"""What ``check`` found, as people, GitHub and programs read it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator

import attrs

from dspyreload.commands.excerpt import Excerpts
from dspyreload.disk.check import Remark, Report
from dspyreload.model.faults import counted, joined, shown

__all__ = ["as_github", "as_json", "as_text", "summary"]

_MOST_IDS = 5


def as_text(report: Report, excerpts: Excerpts) -> list[str]:
    """Return the faults, then the warnings, each with its line and a mark, and a summary by file."""
    remarks = sorted(report.remarks, key=lambda remark: remark.level)  # a fault comes before a warning; it keeps order
    lines = [line for remark in remarks for line in _shown(remark, excerpts)]
    return [*lines, *([""] if lines else []), *_by_file(report), *_defaults(report), summary(report)]


def _shown(remark: Remark, excerpts: Excerpts) -> Iterator[str]:
    kind = "warning: " if remark.level == "warning" else ""
    yield f"{shown(remark.path, 300)}:{remark.line}:{remark.column}: {kind}{remark.message}"
    if remark.placed:
        yield from excerpts.at(remark.path, remark.line, remark.column)
    if remark.mend:
        yield f"      = {remark.mend}"


def _by_file(report: Report) -> Iterator[str]:
    faults, warnings = _counts(report, "fault"), _counts(report, "warning")
    paths = sorted(faults.keys() | warnings.keys())
    width = max((len(shown(path)) for path in paths), default=0)
    for path in paths if len(paths) > 1 else ():
        told = [counted(count[path], noun) for count, noun in ((faults, "fault"), (warnings, "warning")) if count[path]]
        yield f"  {shown(path):<{width}}  {', '.join(told)}"


def _counts(report: Report, level: str) -> Counter[str]:
    return Counter(remark.path for remark in report.remarks if remark.level == level)


def _defaults(report: Report) -> Iterator[str]:
    for words, ids in report.defaults.items():
        named = ", ".join(shown(module_id) for module_id in ids[:_MOST_IDS])
        more = f" and {len(ids) - _MOST_IDS:,} more" if len(ids) > _MOST_IDS else ""
        take = "takes" if len(ids) == 1 else "take"
        yield f"{counted(len(ids), 'module')} {take} {words} ({named}{more})"


def summary(report: Report) -> str:
    """Return one line: how many modules, faults and warnings."""
    told = []
    for level in ("fault", "warning"):
        count = _counts(report, level)
        where = f" in {counted(len(count), 'file')}" if count else ""
        told.append(f"{counted(count.total(), level)}{where}")
    empty = "" if report.modules or report.remarks else "; no module is here: name the directory that has them"
    return f"{counted(len(report.modules), 'module')} checked: {', '.join(told)}{empty}"


def as_json(report: Report) -> str:
    """Return the remarks as a JSON list."""
    keys = attrs.filters.exclude("placed")
    return json.dumps([attrs.asdict(remark, filter=keys) for remark in report.remarks], indent=2)


def as_github(report: Report, directory: str) -> list[str]:
    """Return workflow commands, which GitHub shows beside the lines of a pull request.

    :param directory: as it was named: GitHub looks for files from where the command runs.
    """
    return [_annotation(remark, directory) for remark in report.remarks]


def _annotation(remark: Remark, directory: str) -> str:
    # https://docs.github.com/actions/reference/workflow-commands-for-github-actions
    command = "error" if remark.level == "fault" else "warning"
    file = _escaped(os.path.relpath(os.path.join(directory, remark.path)).replace(os.sep, "/"), ":,")
    message = joined(remark.message, remark.mend)
    return f"::{command} file={file},line={remark.line},col={remark.column}::{_escaped(message)}"


def _escaped(text: str, also: str = "") -> str:
    text = text.encode("utf-8", "replace").decode()
    return "".join(f"%{ord(c):02X}" if c in f"%\r\n{also}" else c for c in text)
