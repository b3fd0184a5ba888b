"""The game's validators beside files and the engine: what goes live, what waits, and who waits with it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.trial import unittest as trial

from dspyreload import DSPyEngine, HotReloadService, ModuleChanged, OptimizedModule, ReloadError
from dspyreload.errors import ServiceStopped
from dspyreload.testing import FakeObserver, ReactorClock
from tests.conftest import Save, module_text
from tests.live.test_validators import Slow

CASE = trial.SynchronousTestCase()
REFUSED = "the game refuses it: too rude"


def refuse(module: OptimizedModule) -> None:
    raise ValueError("too rude")


def refuse_new(module: OptimizedModule) -> None:
    if "New" in module.instruction:
        refuse(module)


@attrs.define
class Game:
    """An engine on a clock, the service that watches its files, and a writer who saves them."""

    engine: DSPyEngine
    clock: ReactorClock
    save: Save
    observer: Any = attrs.field(factory=FakeObserver)
    events: list[Any] = attrs.field(factory=list)
    service: HotReloadService = attrs.field(init=False)

    def settle(self) -> None:
        """Let our threads end, and run what they asked for, until there is none."""
        more = True
        while more:  # what they asked for may have begun another
            for thread in threading.enumerate():
                if thread.name.startswith("dspyreload-"):
                    thread.join(10)
                    assert not thread.is_alive(), f"{thread.name} does not end"
            due = any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls())
            more = bool(self.clock.run_calls()) or due
            self.clock.advance(0)  # validators are started in slices of a reactor's turn

    def wait(self, seconds: float = 0.5) -> None:
        for _ in range(round(seconds * 8)):
            self.clock.advance(0.125)
            self.settle()

    def start(self) -> Deferred[HotReloadService]:
        self.service = HotReloadService(self.engine, make_observer=lambda polling: self.observer)
        self.service.subscribe(self.events.append)
        self.service.startService()
        self.settle()
        return self.service.when_ready()

    def stop(self, asked: Deferred[Any]) -> None:
        stopped = self.service.stopService()
        CASE.failureResultOf(asked, ServiceStopped)
        self.settle()
        CASE.successResultOf(stopped)
        assert self.clock.getDelayedCalls() == []

    def add(self, validator: Any, **options: Any) -> Any:
        remove = self.engine.validators.add(validator, **options)
        self.wait()
        return remove

    def write(self, *names: str, words: str = "New.", manifest: str = "", tell: bool = True) -> None:
        """Save modules, and a manifest that gives them a tag; the service hears of it, if there is one."""
        entries = {f"npc.{name}": {"path": f"{name}.json", "hash": None, "tags": [manifest]} for name in names}
        if manifest:
            self.save("manifest.json", json.dumps({"version": "1.0", "modules": entries}))
        for name in names:
            self.save(f"{name}.json", module_text(f"npc.{name}", instruction=words))
        if self.observer.running and tell:
            for path in ("manifest.json", *(f"{name}.json" for name in names)):
                self.observer.tell(path)
            self.wait()

    def words(self) -> dict[str, str]:
        return {name.removeprefix("npc."): self.engine[name].instruction for name in self.engine.module_ids()}

    def changes(self) -> list[tuple[str, int]]:
        return [(event.module_id, event.generation) for event in self.events if isinstance(event, ModuleChanged)]

    def errors(self) -> list[tuple[str, str]]:
        return [(event.path, event.error) for event in self.events if isinstance(event, ReloadError)]


@pytest.fixture
def game(modules: Path, save: Save) -> Iterator[Game]:
    """``npc.smith`` and ``npc.baker`` are served, without a service yet; at the end nothing of ours is left."""
    for name in ("smith", "baker"):
        save(f"{name}.json", module_text(f"npc.{name}", instruction="Old."))
    game = Game(DSPyEngine(modules, reactor=(clock := ReactorClock())), clock, save)
    yield game
    if game.observer.running:
        game.service.stopService()
    game.settle()
    assert clock.getDelayedCalls() == []


@pytest.fixture
def running(game: Game) -> Game:
    CASE.successResultOf(game.start())
    game.wait()
    return game


@pytest.fixture(params=["running", "game"])
def either(request: pytest.FixtureRequest) -> Game:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def test_a_refusal_is_a_reload_error_and_the_last_good_version_serves(running: Game) -> None:
    """The event has the validator's words and what serves; it comes once, and the content is asked about once."""
    version = running.engine.snapshot["npc.smith"].version
    asked: list[str] = []
    running.add(lambda module: asked.append(module.instruction), modules="npc.s*")
    running.add(refuse_new, modules="npc.s*")
    running.write("smith", "baker")
    running.wait(12)
    (event,) = [event for event in running.events if isinstance(event, ReloadError)]
    assert (event.path, event.error, event.serving) == ("smith.json", REFUSED, version)
    assert running.words() == {"smith": "Old.", "baker": "New."}
    assert (asked.count("New."), running.service.stats.reloads_failed) == (1, 1)


def test_a_slow_one_holds_up_no_other_file_and_goes_live_when_it_answers(running: Game) -> None:
    """Files of the same pass are live at once; the candidate is one more commit, and nobody hears of it before."""
    slow = Slow("New")
    running.add(slow, modules="npc.smith", timeout=60)
    running.write("smith", "baker")
    running.wait(12)
    assert running.words() == {"smith": "Old.", "baker": "New."}
    slow.answers[0].callback(None)
    running.wait()
    assert (running.words(), slow.asked) == ({"smith": "New.", "baker": "New."}, ["Old.", "New."])
    assert (running.changes(), running.errors()) == ([("npc.baker", 2), ("npc.smith", 3)], [])


def test_a_slow_one_that_refuses_is_told_when_it_answers_or_its_time_is_over(running: Game) -> None:
    """The last good versions serve meanwhile and afterwards."""
    running.add(slow := Slow("New"), timeout=2)
    running.write("smith", "baker")
    slow.answers[0].errback(ValueError("too rude"))
    running.wait()
    assert [error for _path, error in running.errors()] == [REFUSED]
    running.wait(2)
    late = "the game refuses it: its own check did not answer within 2 s; save again, or tell who keeps the game"
    assert (running.errors()[1][1], running.words()) == (late, {"smith": "Old.", "baker": "Old."})


def test_a_changed_manifest_waits_for_all_of_its_candidates(running: Game) -> None:
    """What it adds and changes goes live in one commit, when the last validator has answered."""
    running.write("smith", "baker", words="Old.", manifest="old")
    before = running.engine.snapshot
    slow = Slow("New")
    running.add(slow)
    running.write("smith", "baker", "cook", manifest="new")
    for answer in slow.answers:
        assert running.engine.snapshot is before
        answer.callback(None)
        running.wait(2)
    assert running.engine.snapshot.generation == before.generation + 1
    assert (running.words(), running.errors()) == ({"smith": "New.", "baker": "New.", "cook": "New."}, [])
    assert running.engine.modules_with_tag("new") == ("npc.baker", "npc.cook", "npc.smith")


def test_a_manifest_of_which_one_candidate_is_refused_stays_out(running: Game) -> None:
    """Both are told: the refused file, and the manifest that waits for it."""
    running.write("smith", "baker", words="Old.", manifest="old")
    before = running.engine.snapshot
    running.add(refuse_new, modules="npc.baker")
    running.write("smith", "baker", manifest="new")
    running.wait()
    assert running.engine.snapshot is before
    assert {path for path, _error in running.errors()} == {"baker.json", "manifest.json"}


@pytest.mark.parametrize("refusal", [None, ValueError("too rude")])
def test_reload_module_waits_for_the_verdict(either: Game, refusal: Any) -> None:
    """Its event says what came of the version, with a service and without one."""
    slow = Slow("New")
    either.add(slow)
    either.write("smith", tell=False)
    asked = either.engine.reload_module("npc.smith")
    either.wait()
    CASE.assertNoResult(asked)
    (slow.answers[0].errback if refusal else slow.answers[0].callback)(refusal)
    either.wait()
    assert isinstance(CASE.successResultOf(asked), ReloadError if refusal else ModuleChanged)
    assert either.words()["smith"] == ("Old." if refusal else "New.")


def test_reload_all_waits_for_every_verdict(either: Game) -> None:
    """Its events are those of all candidates, whenever each was decided and whatever else was looked at meanwhile."""
    slow = Slow("New")
    either.add(slow, timeout=60)
    either.write("smith", "baker", tell=False)
    asked: Deferred[Any] = either.engine.reload_all()
    either.wait()
    CASE.assertNoResult(asked)
    slow.answers[0].callback(None)
    either.wait(12)
    CASE.assertNoResult(asked)
    slow.answers[1].callback(None)
    either.wait()
    assert sorted(event.module_id for event in CASE.successResultOf(asked)) == ["npc.baker", "npc.smith"]


def test_what_serves_is_checked_when_one_is_added_and_goes_on_serving(running: Game) -> None:
    """Each that is refused is reported once; the snapshot stays the very same."""
    before = running.engine.snapshot
    running.add(refuse, modules="npc.smith")
    running.wait(12)
    assert (running.errors(), running.engine.snapshot) == ([("smith.json", REFUSED)], before)


def test_what_one_refused_goes_live_when_it_is_removed(either: Game) -> None:
    """The files are not touched: they are checked again."""
    remove = either.add(refuse, modules="npc.smith")
    either.write("smith", tell=False)
    asked = either.engine.reload_module("npc.smith")
    either.wait()
    assert isinstance(CASE.successResultOf(asked), ReloadError)
    remove()
    either.wait()
    assert either.words()["smith"] == "New."


def test_answers_that_come_all_together_are_one_commit(game: Game) -> None:
    """A validator that answers for several when it has heard of the last: each goes live once, and has one event."""
    slow = Slow("New")

    def together(module: OptimizedModule) -> Deferred[None] | None:
        answer = slow(module)
        for waiting in slow.answers if len(slow.answers) == 2 else ():
            waiting.callback(None)
        return answer

    game.engine.live.subscribe(game.events.append)
    remove = game.add(refuse)
    game.add(together)
    game.write("smith", "baker")
    game.engine.reload_all()
    game.wait()
    remove()
    game.wait()
    assert game.changes() == [("npc.baker", 2), ("npc.smith", 2)]


def test_one_that_is_added_before_the_first_reading_sees_everything(modules: Path, game: Game) -> None:
    """With load=False nothing goes live unheard; the service is ready without waiting for slow ones."""
    game.engine = DSPyEngine(modules, load=False, reactor=game.clock)
    slow = Slow()
    game.engine.validators.add(refuse, modules="npc.smith")
    game.engine.validators.add(slow, modules="npc.baker")
    CASE.successResultOf(game.start())
    assert game.words() == {}
    slow.answers[0].callback(None)
    game.wait()
    assert (game.words(), game.errors()) == ({"baker": "Old."}, [("smith.json", REFUSED)])


def test_stopping_while_one_is_asked_leaves_nothing(running: Game) -> None:
    """Who waited is told, no timer is left, and after a restart the version is asked about again."""
    slow, other = Slow("New"), Slow("New")
    running.add(slow)
    running.add(other)
    running.write("smith")
    asked = running.engine.reload_module("npc.smith")
    running.settle()
    running.stop(asked)
    assert (slow.cancelled, other.cancelled, running.words()["smith"]) == (1, 1, "Old.")
    running.start()
    slow.answers[1].callback(None)
    other.answers[1].callback(None)
    running.wait()
    assert running.words()["smith"] == "New."


def test_stopping_while_a_pass_looks_asks_no_validator(running: Game) -> None:
    """Once the service has stopped the game's code is left alone, and no timer is left."""
    slow = Slow("New")
    running.add(slow)
    running.write("smith", tell=False)
    asked = running.engine.reload_all()
    running.stop(asked)
    assert "New." not in slow.asked
