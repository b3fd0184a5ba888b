"""What the game's validators say of candidates, and what that makes of a look."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
import msgspec

from dspyreload.model.faults import Fault
from dspyreload.model.finding import Finding, Kind, Known, Look
from dspyreload.model.snapshot import ModuleVersion, Snapshot

__all__ = ["VALIDATORS", "candidates", "with_verdicts"]

VALIDATORS = "validators"
"""The name under which findings remember the validators that judged them."""


def candidates(
    seen: Look, known: Known, snapshot: Snapshot, concerned: Callable[[str], bool], *, also_live: bool
) -> dict[str, ModuleVersion]:
    """Return what may go live after this look and has validators, by path.

    :param concerned: whether a module of this id has any.
    :param also_live: ask them of what serves already too: there are new ones.
    """
    found: dict[str, ModuleVersion] = {}
    findings = {**(known.findings if also_live else {}), **seen.findings}
    for path, finding in findings.items():
        version = finding.version
        if version is None or not concerned(version.module_id):
            continue
        if also_live or not version.serves_as(snapshot.get(version.module_id)):
            found[path] = version
    return found


def with_verdicts(seen: Look, known: Known, verdicts: Mapping[str, str | None], token: str) -> Look:
    """Return a look in which candidates are rejected that the game refuses.

    :param verdicts: by path: what a validator said against it, "" where they all accept it, None where one has not
        answered yet.
    :param token: that of the validators.
    """
    findings = dict(seen.findings)
    for path, verdict in verdicts.items():
        finding = findings.get(path) or known.findings[path]
        if verdict == "":
            continue
        kind = Kind.CHECKING if verdict is None else Kind.BROKEN
        fault = None if verdict is None else Fault(f"the game refuses it: {verdict}")
        findings[path] = _judged(finding, kind, fault, token)
    return attrs.evolve(seen, findings=findings)


def _judged(finding: Finding, kind: Kind, fault: Fault | None, token: str) -> Finding:
    return msgspec.structs.replace(
        finding, kind=kind, version=None, fault=fault, judged=(*finding.judged, (VALIDATORS, token))
    )
