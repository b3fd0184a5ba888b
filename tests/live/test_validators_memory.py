"""What validators remember: verdicts, and no bytes; so many, and no more."""

from __future__ import annotations

import gc
import hashlib
import sys
from collections.abc import Iterator

import pytest
from twisted.internet.defer import Deferred
from twisted.trial import unittest as trial

from dspyreload.live.validators import Candidate, Validators
from dspyreload.model.module import OptimizedModule
from dspyreload.model.snapshot import ModuleVersion
from dspyreload.testing import ReactorClock
from tests.conftest import module_text

CASE = trial.SynchronousTestCase()


def candidates(*numbers: int) -> dict[str, Candidate]:
    """Return one candidate for each number, by path."""
    found = {}
    for number in numbers:
        data = module_text(f"npc{number}").encode()
        version = ModuleVersion(
            module_id=f"npc{number}",
            path=f"npc{number}.json",
            version=hashlib.sha256(data).hexdigest(),
            data=data,
            texts=(b"include " + data,),
        )
        found[version.path] = Candidate(version, version.module())
    return found


class Court:
    """Validators that remember ten verdicts, and whom they asked. ``npc7`` is answered for when ``answer`` fires."""

    def __init__(self) -> None:
        self.clock = ReactorClock()
        self.asked: list[int] = []
        self.answer: Deferred[None] = Deferred()
        self.decided: list[str] = []
        self.validators = Validators(lambda: self.clock)
        self.validators.decided = self.decided.append
        self.validators.add(self._check)

    def _check(self, module: OptimizedModule) -> Deferred[None] | None:
        self.asked.append(int(module.module_id.removeprefix("npc")))
        if module.module_id == "npc6":
            raise ValueError("too rude")
        return self.answer if module.module_id == "npc7" else None

    def hear(self, *numbers: int) -> dict[str, str | None]:
        verdicts: dict[str, str | None] = CASE.successResultOf(self.validators.hear(candidates(*numbers)))
        return {path.removesuffix(".json"): verdict for path, verdict in verdicts.items()}


@pytest.fixture
def court(monkeypatch: pytest.MonkeyPatch) -> Iterator[Court]:
    """Nothing of the validators is left at the end."""
    monkeypatch.setattr("dspyreload.live.validators._SLICE", 10.0)  # a slow machine would need another turn
    monkeypatch.setattr("dspyreload.live.validators._KEPT", 10)
    court = Court()
    yield court
    court.validators.stop()
    assert court.clock.getDelayedCalls() == []


@pytest.mark.parametrize("number", [0, 6, 7], ids=["accepted", "refused", "not answered for"])
def test_no_bytes_of_a_candidate_are_kept(court: Court, number: int) -> None:
    """Its file may be gone tomorrow, or have other bytes; the verdict is remembered without them."""
    heard = candidates(number)
    court.validators.hear(heard)
    (version,) = (candidate.version for candidate in heard.values())
    kept = [version.data, *version.texts]
    del heard, version
    gc.collect()
    nobody_elses = [b"%d" % number * 1000]
    assert {sys.getrefcount(data) for data in kept} == {sys.getrefcount(data) for data in nobody_elses}
    court.hear(number)
    assert court.asked == [number]


def test_the_oldest_verdicts_are_forgotten(court: Court) -> None:
    """However many files come and go; who was forgotten is asked again, and the newest are not."""
    for number in range(100, 200):
        court.hear(number)
    court.asked.clear()
    assert court.hear(*range(190, 200)) == {f"npc{number}": "" for number in range(190, 200)}
    assert court.asked == []
    court.hear(100)
    assert court.asked == [100]


def test_more_candidates_than_are_remembered_have_their_verdicts_all_the_same(court: Court) -> None:
    """In one pass, the first as the last: nobody waits for a verdict that is forgotten."""
    verdicts = court.hear(6, *range(100, 200))
    assert verdicts == {"npc6": "too rude", **{f"npc{number}": "" for number in range(100, 200)}}
    assert len(court.asked) == 101


def test_what_is_under_way_is_not_forgotten(court: Court) -> None:
    """Its answer is heard, however many others came since."""
    assert court.hear(7) == {"npc7": None}
    for number in range(100, 200):
        court.hear(number)
    assert (court.decided, court.hear(7)) == ([], {"npc7": None})
    court.answer.callback(None)
    assert (court.decided, court.hear(7), court.asked.count(7)) == (["npc7.json"], {"npc7": ""}, 1)
