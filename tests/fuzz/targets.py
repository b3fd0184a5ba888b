"""One function for each reader: it takes bytes, and fails where a rule does not hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from dspyreload.disk.judge import judge
from dspyreload.disk.placing import faults_of, warnings_of
from dspyreload.model.faults import FaultError
from dspyreload.model.finding import Finding, Kind
from dspyreload.model.formatted import formatted
from dspyreload.model.jsontext import parse
from dspyreload.model.manifest import parse_manifest
from dspyreload.model.module import DEFAULT_SIGNATURE, OptimizedModule, SignatureDefinition
from dspyreload.model.module_file import ModuleDraft, parse_module
from dspyreload.model.registrations import Registrations
from tests.fuzz.choices import Choices
from tests.fuzz.files import DIALOGUE, HERE, PROGRAMS, REGISTRATIONS, MemorySource, programmed
from tests.fuzz.grammar import document
from tests.fuzz.kept import check_kept
from tests.fuzz.manifest_model import check_manifest
from tests.fuzz.module_model import check_id, check_module
from tests.fuzz.state_model import check_state
from tests.fuzz.strict import NotJSON, alike, modest, strict
from tests.fuzz.told import check_faults, check_words

__all__ = ["TARGETS", "text_of_input"]

_GRAMMAR = b"\x01"


def text_of_input(reader: str, data: bytes) -> bytes:
    """Return the file that an input stands for: itself, or one that its bytes choose from the format's grammar."""
    return document(reader, Choices(data[1:])) if data.startswith(_GRAMMAR) else data


def check_json(data: bytes) -> Any:
    """Hold the reading of JSON against RFC 8259; return the value, or None where it is refused."""
    value = fault = wanted = no_json = None
    try:
        value = parse(data)
    except FaultError as error:
        fault = error
    try:
        wanted = strict(data)
    except NotJSON as error:
        no_json = error
    except RecursionError:
        return value
    if no_json is not None:
        assert fault is not None, f"accepted, and no JSON: {no_json}"
        return None
    if fault is not None:
        assert not modest(data), f"JSON, and refused: {fault}"
        return None
    assert alike(value, wanted), "another value than the text's"
    return value


def check_module_file(data: bytes) -> None:
    """A module's file, with what it includes, beside a registered signature."""
    value = check_json(data)
    finding, draft = _judged(data, REGISTRATIONS)
    if draft is None or finding.kind not in (Kind.GOOD, Kind.PENDING):
        return
    _check_accepted(value, data, finding, draft)
    if draft.state is None:
        serving = _serving(draft.module) if finding.kind is Kind.GOOD else None
        check_module(value, draft.module, serving)


def check_state_file(data: bytes) -> None:
    """What DSPy saved, beside each of three templates."""
    value = check_json(data)
    for name, program in PROGRAMS.items():
        finding, draft = _judged(data, programmed(name), "npc.it")
        if draft is None or draft.state is None:
            return
        assert finding.kind is not Kind.PENDING
        if finding.kind is Kind.GOOD:
            _check_accepted(value, data, finding, draft)
            check_state(value, draft.module, program)


def check_manifest_file(data: bytes) -> None:
    """A manifest."""
    value = check_json(data)
    try:
        manifest = parse_manifest(data, "digest")
    except FaultError as error:
        check_faults(faults_of(error, data), data)
        return
    assert isinstance(value, dict), "accepted, and no object"
    check_faults(warnings_of(manifest.warnings, data), data)
    check_manifest(value, manifest)
    again = parse_manifest(json.dumps(value).encode(), "digest")
    assert (again.modules, again.paths, again.defaults) == (manifest.modules, manifest.paths, manifest.defaults)


def _judged(
    data: bytes, registrations: Registrations, module_id: str | None = None
) -> tuple[Finding, ModuleDraft | None]:
    """Judge a file as a pass does, and check whatever comes of it."""
    finding = judge(
        HERE, MemorySource(data), module_id=module_id, entry=None, last_id=None, registrations=registrations
    )
    assert finding.kind is not Kind.MISSING
    bad = finding.kind in (Kind.BROKEN, Kind.UNREADABLE)
    assert bad == (finding.fault is not None)
    assert (finding.kind is Kind.GOOD) == (finding.version is not None)
    check_faults((*([finding.fault] if finding.fault is not None else []), *finding.more, *finding.warnings), data)
    if finding.waits_for is not None:
        check_words(finding.waits_for)
    try:
        return finding, parse_module(data, module_id or "npc.it")
    except FaultError:
        assert bad
        return finding, None


def _check_accepted(value: Any, data: bytes, finding: Finding, draft: ModuleDraft) -> None:
    assert isinstance(value, dict), "accepted, and no object"
    check_id(finding.module_id)
    assert parse_module(json.dumps(value).encode(), "npc.it") == draft
    assert parse_module(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), "npc.it") == draft
    _check_formatted(value, data)
    if finding.version is not None:
        served = finding.version.module()
        assert served.instruction.strip() or served.predictors
        assert served == finding.version.module()
        assert served.demos == draft.module.demos
        assert (served.signature, served.signature_name) == (draft.module.signature, draft.module.signature_name)


def _check_formatted(value: Any, data: bytes) -> None:
    try:
        tidy = formatted(data).encode()
    except FaultError:
        assert not modest(data)  # nested deeper than it writes
        return
    assert parse(tidy) == value, "formatted as another value"
    assert formatted(tidy).encode() == tidy, "formatted anew, another text"


def _serving(module: OptimizedModule) -> SignatureDefinition:
    if module.signature_name == "npc.dialogue":
        return DIALOGUE
    return module.signature or DEFAULT_SIGNATURE


TARGETS: dict[str, Callable[[bytes], None]] = {
    "module": check_module_file,
    "state": check_state_file,
    "manifest": check_manifest_file,
    "kept": check_kept,
}
"""By the name of the reader."""
