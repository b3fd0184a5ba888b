"""What a state file kept, in the passes: it waits for what the game registers, and holds no pass up."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast
from unittest import mock

import attrs
import pytest
from twisted.trial import unittest as trial

from dspyreload.disk.holds import HOLD
from dspyreload.live.live import Live
from dspyreload.live.passes import Passes
from dspyreload.model.module import FieldDefinition, SignatureDefinition
from dspyreload.model.registrations import NOTHING, Registered, Registrations
from dspyreload.model.restoring import Stored, StoredState, restore
from dspyreload.reactor import IReactor
from dspyreload.testing import ReactorClock
from tests.conftest import Save, module_text

CASE = trial.SynchronousTestCase()
MOST = 100  # threads; a restart needs a handful
FIELDS = SignatureDefinition(
    inputs=(FieldDefinition(name="player_message"),),
    outputs=(FieldDefinition(name="response"), FieldDefinition(name="emotion")),
)


class Gone:
    """A thread that has done its work."""

    def join(self, timeout: float | None = None) -> None:
        """Return at once."""


class Rig:
    """Passes over a real directory, whose threads do their work at once."""

    def __init__(self, root: Path) -> None:
        self.clock = ReactorClock()
        reactor = cast("IReactor", self.clock)
        self.live = Live(lambda: reactor)
        self.registrations: Registrations = NOTHING
        self.started = 0
        self.waiting: list[Callable[[], None]] = []
        self.passes = Passes(str(root), self.live, lambda: reactor, lambda: self.registrations, self.start)
        self.passes.active = True

    def start(self, target: Callable[[], None], name: str) -> Gone:
        self.started += 1
        self.waiting.append(target)
        return Gone()

    def advance(self, seconds: float = 0.5) -> None:
        """Let time pass, and all threads come to their end."""
        for _ in range(round(seconds / 0.05)):
            self.clock.advance(0.05)
            while self.waiting:
                assert self.started < MOST, "threads without an end"
                self.waiting.pop()()
                self.clock.run_calls()

    def register(self, name: str) -> None:
        """Register a signature as a game does."""
        registered = {**self.registrations.signatures, name: Registered(FIELDS, name)}
        self.registrations = attrs.evolve(self.registrations, signatures=registered)
        self.passes.registered(f"signature {name}")


@pytest.fixture
def rig(modules: Path, save: Save) -> Iterator[Rig]:
    """Two modules were kept that need a signature each, and their files are broken."""
    names = ("bard", "smith")
    for name in names:
        save(f"{name}.json", "{broken")
    texts = {name: module_text(f"npc.{name}", signature=None, signature_name=name).encode() for name in names}
    kept = tuple(
        Stored(module_id=f"npc.{name}", path=f"{name}.json", version=hashlib.sha256(data).hexdigest(), data=data)
        for name, data in texts.items()
    )
    rig = Rig(modules)
    restored = rig.passes.restore(StoredState(modules=kept, generation=7))
    rig.advance()
    CASE.successResultOf(restored)
    rig.passes.hint()
    rig.advance()
    assert list(rig.live.snapshot) == []
    yield rig
    rig.passes.stop()
    rig.live.stop()
    assert rig.clock.getDelayedCalls() == []


def test_a_registration_brings_back_what_waited_for_it(rig: Rig) -> None:
    """And what waits for another one goes on waiting, with passes going on beside it."""
    passes = rig.passes.committing.stats.passes
    rig.register("smith")
    rig.advance()
    assert list(rig.live.snapshot) == ["npc.smith"]
    assert rig.passes.committing.stats.passes > passes
    rig.register("bard")
    rig.advance()
    assert sorted(rig.live.snapshot) == ["npc.bard", "npc.smith"]
    assert rig.live.snapshot.generation == 9


def test_a_registration_that_nothing_waits_for_holds_no_pass_up(rig: Rig, save: Save) -> None:
    """What is saved then is live."""
    rig.register("another")
    rig.advance()
    save("guard.json", module_text("npc.guard"))
    rig.passes.hint(["guard.json"])
    rig.advance()
    assert list(rig.live.snapshot) == ["npc.guard"]


def test_what_is_registered_while_it_is_tried_is_tried_too(rig: Rig) -> None:
    """Whatever was registered after it began is not forgotten."""
    rig.register("smith")
    rig.clock.advance(0.1)
    (restoring,) = rig.waiting
    rig.waiting.clear()
    restoring()  # with the first of them
    rig.register("bard")
    rig.clock.run_calls()
    rig.advance()
    assert sorted(rig.live.snapshot) == ["npc.bard", "npc.smith"]


def test_what_was_tried_once_is_not_tried_again_while_passes_are_held(rig: Rig, modules: Path) -> None:
    """A hold may last for half a minute, with a look at it ten times a second; what is registered anew is tried."""
    rig.live.commit(rig.live.snapshot.commit({}, (), None))
    (modules / HOLD).touch()
    rig.register("another")
    rig.advance(0.5)
    with mock.patch("dspyreload.live.bringing_back.restore", wraps=restore) as tried:
        rig.advance(2)
        assert tried.call_count == 0
        rig.register("another")
        rig.advance(2)
        assert tried.call_count == 1
    (modules / HOLD).unlink()
    rig.register("smith")
    rig.advance()
    assert list(rig.live.snapshot) == ["npc.smith"]
