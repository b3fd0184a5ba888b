"""What is learned of a file, and when that is news."""

from __future__ import annotations

import gc
from typing import Any

import msgspec
import pytest

from dspyreload.model.faults import Fault
from dspyreload.model.finding import Finding, Kind, Known, ManifestFinding
from dspyreload.model.manifest import ModuleEntry
from dspyreload.model.snapshot import ModuleVersion

VERSION = ModuleVersion(module_id="npc", path="npc.json", version="0" * 64, data=b"{}")
GOOD = Finding(path="npc.json", kind=Kind.GOOD, digest="0" * 64, module_id="npc", version=VERSION)
BROKEN = Finding(path="npc.json", kind=Kind.BROKEN, digest="1" * 64, module_id="npc", fault=Fault("bad", 1, 2))


@pytest.mark.parametrize("finding", [GOOD, BROKEN])
def test_a_new_stat_signature_alone_is_no_news(finding: Finding) -> None:
    """A touch changes when a file was saved, not what it says."""
    touched = msgspec.structs.replace(finding, stamps=(("npc.json", (1, 2, 3, 4, 5)),), racy=True)
    assert touched.says_the_same(finding)
    assert not finding.says_the_same(None)


@pytest.mark.parametrize(
    ("finding", "changes"),
    [
        (GOOD, {"digest": "2" * 64}),
        (GOOD, {"kind": Kind.PENDING, "version": None, "waits_for": "npc"}),
        (GOOD, {"entry": ModuleEntry(path="npc.json")}),
        (GOOD, {"module_id": "other"}),
        (GOOD, {"version": msgspec.structs.replace(VERSION, registration="new")}),
        (BROKEN, {"digest": "2" * 64}),
        (BROKEN, {"fault": Fault("bad", 1, 3)}),
        (BROKEN, {"kind": Kind.UNREADABLE}),
    ],
)
def test_another_content_kind_entry_or_registration_is_news(finding: Finding, changes: dict[str, Any]) -> None:
    """Whatever may change what is served or said is told from what is known."""
    assert not msgspec.structs.replace(finding, **changes).says_the_same(finding)


def test_a_manifest_is_news_by_its_bytes_and_its_fault() -> None:
    """A manifest that was saved again unchanged says nothing new."""
    found = ManifestFinding(stamp=(1, 2, 3, 4, 5), digest="0")
    assert msgspec.structs.replace(found, stamp=None, racy=True).says_the_same(found)
    assert not msgspec.structs.replace(found, digest="1").says_the_same(found)
    assert not msgspec.structs.replace(found, fault=Fault("bad")).says_the_same(found)
    assert not found.says_the_same(None)


def test_a_finding_is_no_work_for_the_garbage_collector() -> None:
    """One for each file is kept from pass to pass."""
    assert not gc.is_tracked(GOOD)


def test_nothing_is_known_at_first() -> None:
    """Two passes' knowledge is two values: what one learns the other does not have."""
    one, other = Known(), Known()
    one.findings["npc.json"] = GOOD
    one.racy.add("npc.json")
    assert (other.findings, other.racy, other.manifest, other.root) == ({}, set(), None, None)
