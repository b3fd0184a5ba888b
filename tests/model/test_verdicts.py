"""What the game's validators have a say in, and what their verdicts make of a look."""

from __future__ import annotations

from typing import Any

import pytest

from dspyreload.model.faults import Fault
from dspyreload.model.finding import Finding, Kind, Known, Look
from dspyreload.model.snapshot import EMPTY, ModuleVersion, Snapshot
from dspyreload.model.verdicts import VALIDATORS, candidates, with_verdicts


def version(module_id: str, digest: str = "0", **values: Any) -> ModuleVersion:
    options = {"path": f"{module_id}.json", "data": b"{}", **values}
    return ModuleVersion(module_id=module_id, version=digest * 64, **options)


def good(module_id: str, digest: str = "0", **values: Any) -> Finding:
    found = version(module_id, digest, **values)
    judged = (("signature talk", "signature talk#1"),)
    return Finding(path=found.path, kind=Kind.GOOD, version=found, digest=found.version, judged=judged)


def broken(path: str) -> Finding:
    return Finding(path=path, kind=Kind.BROKEN, fault=Fault("a comma is missing here"))


def looked(*found: Finding) -> Look:
    return Look(findings={each.path: each for each in found}, unchanged={}, desired=None)


def serving(*versions: ModuleVersion) -> Snapshot:
    return EMPTY.commit({each.module_id: each for each in versions}, (), None)


def asked(seen: Look, known: Known, snapshot: Snapshot, *, also_live: bool = False) -> list[str]:
    found = candidates(seen, known, snapshot, lambda name: name.startswith("npc"), also_live=also_live)
    assert all(path == each.path for path, each in found.items())
    return sorted(found)


class TestCandidates:
    def test_they_are_what_a_look_found_good_and_new(self) -> None:
        """A broken file, one that is served already, and a module without validators are none."""
        seen = looked(good("npc.new"), good("npc.live"), good("npc.next", "1"), broken("npc.bad.json"), good("quest"))
        live = serving(version("npc.live"), version("npc.next"))
        assert asked(seen, Known(), live) == ["npc.new.json", "npc.next.json"]

    def test_another_registration_makes_a_candidate(self) -> None:
        """The same bytes beside another signature are another thing to check."""
        seen = looked(good("npc.live", registration="signature talk#2"))
        assert asked(seen, Known(), serving(version("npc.live", registration="signature talk#1"))) == ["npc.live.json"]

    def test_with_new_validators_what_is_known_is_asked_too(self) -> None:
        """What serves already, and what was found good before and did not change; the newest finding counts."""
        known = Known(findings={each.path: each for each in (good("npc.live"), good("npc.old"), good("quest"))})
        seen = looked(good("npc.old", "1"), broken("npc.bad.json"))
        live = serving(version("npc.live"), version("npc.old"))
        assert asked(seen, known, live, also_live=True) == ["npc.live.json", "npc.old.json"]
        found = candidates(seen, known, live, lambda name: True, also_live=True)
        assert found["npc.old.json"].version == "1" * 64
        assert asked(looked(), known, live) == []

    def test_what_is_broken_now_is_no_candidate_for_what_it_was(self) -> None:
        """A file's good version before is not asked about while the file is broken."""
        known = Known(findings={"npc.a.json": good("npc.a")})
        assert asked(looked(broken("npc.a.json")), known, serving(), also_live=True) == []


class TestVerdicts:
    def test_one_that_all_accept_is_as_it_was(self) -> None:
        """The very same finding."""
        seen = looked(good("npc.a"))
        assert with_verdicts(seen, Known(), {"npc.a.json": ""}, "validators#1").findings == seen.findings

    @pytest.mark.parametrize(
        ("verdict", "kind", "fault"),
        [
            ("too rude", Kind.BROKEN, Fault("the game refuses it: too rude")),
            (None, Kind.CHECKING, None),
        ],
    )
    def test_one_that_is_refused_or_waits_is_not_served(
        self, verdict: str | None, kind: Kind, fault: Fault | None
    ) -> None:
        """It keeps its bytes' digest, so that it is told once, and remembers the validators that judged it."""
        seen = looked(good("npc.a"), good("npc.b"))
        (one, other) = with_verdicts(seen, Known(), {"npc.a.json": verdict}, "validators#1").findings.values()
        assert (one.kind, one.fault, one.version, one.digest) == (kind, fault, None, "0" * 64)
        assert one.judged == (("signature talk", "signature talk#1"), (VALIDATORS, "validators#1"))
        assert other == seen.findings["npc.b.json"]
        assert seen.findings["npc.a.json"].kind is Kind.GOOD

    def test_a_verdict_on_what_serves_is_a_finding_of_this_look(self) -> None:
        """New validators may refuse what did not change; what they accept of it is nothing new."""
        known = Known(findings={each.path: each for each in (good("npc.a"), good("npc.b"))})
        seen = with_verdicts(looked(), known, {"npc.a.json": "too rude", "npc.b.json": ""}, "validators#2")
        assert {path: found.kind for path, found in seen.findings.items()} == {"npc.a.json": Kind.BROKEN}

    def test_everything_else_of_the_look_stays(self) -> None:
        """The manifest, the root and what is unchanged are none of theirs."""
        seen = Look(findings={"npc.a.json": good("npc.a")}, unchanged={"x": good("x")}, desired=None, root=(1, 2))
        after = with_verdicts(seen, Known(), {"npc.a.json": "no"}, "validators#1")
        assert (after.unchanged, after.root, after.desired) == (seen.unchanged, (1, 2), None)
