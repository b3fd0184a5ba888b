"""One pass's work: look in a thread, ask the game's validators on the reactor's, plan in a thread."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred

from dspyreload.disk.scan import Request, RootMissing
from dspyreload.live.one_pass import OnePass
from dspyreload.live.validators import Validators
from dspyreload.model.finding import Known
from dspyreload.model.module import OptimizedModule
from dspyreload.model.plan import Plan, apply
from dspyreload.model.registrations import Registrations
from dspyreload.model.snapshot import EMPTY
from dspyreload.reactor import Joinable, StartThread, start_thread
from dspyreload.testing import ReactorClock
from tests.conftest import Save, module_text

NO_THREAD: Any = SimpleNamespace(join=lambda timeout: None)  # its work is done by the test


def none_left(target: Callable[[], None], name: str) -> Joinable:
    raise RuntimeError("can't start new thread")


class Rig:
    """What passes over a real directory start from, with threads whose work waits for :meth:`work`."""

    def __init__(self, root: Path) -> None:
        self.root, self.clock = root, ReactorClock()
        self.known, self.snapshot = Known(), EMPTY
        self.validators = Validators(lambda: self.clock)
        self.waiting: list[Callable[[], None]] = []
        self.begun: list[str] = []
        self.asked: list[str] = []

    def one(self, *paths: str, names: tuple[str, ...] = (), now: float = 0.0) -> OnePass:
        """Make a pass over some paths; over everything where neither a path nor a name is given."""
        request = Request(
            root=str(self.root),
            in_force=self.snapshot.manifest,
            registrations=Registrations(validators=self.validators.token),
            paths=frozenset(paths) if paths or names else None,
            names=frozenset(names),
            first=self.snapshot is EMPTY,
            ripe=None,
        )
        return OnePass(request, self.known, self.snapshot, self.validators, now=now, quiet=0.1)

    def carry_out(self, plan: Plan) -> Plan:
        apply(self.known, plan)
        self.snapshot = plan.snapshot
        return plan

    def start_thread(self, target: Callable[[], None], name: str) -> Joinable:
        self.begun.append(name)
        self.waiting.append(target)
        return NO_THREAD  # type: ignore[no-any-return]

    def start(self, one: OnePass, start: StartThread | None = None) -> list[Any]:
        outcomes: list[Any] = []
        one.start(self.clock, start or self.start_thread, outcomes.append)
        return outcomes

    def work(self) -> None:
        """Do the work of the one thread that there is, and what it asks the reactor for."""
        (target,), self.waiting = self.waiting, []
        target()
        self.clock.run_calls()

    def accept(self, module: OptimizedModule) -> None:
        self.asked.append(module.instruction)

    def refuse(self, module: OptimizedModule) -> None:
        self.accept(module)
        raise ValueError("too rude")


@pytest.fixture
def rig(modules: Path, save: Save, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """One module, ``npc.smith`` in smith.json, is served; nothing of ours is left at the end."""
    monkeypatch.setattr("dspyreload.live.validators._SLICE", 10.0)  # a slow machine would need another turn
    save("smith.json", module_text())
    rig = Rig(modules)
    rig.carry_out(rig.one().here())
    yield rig
    rig.clock.run_calls()
    assert rig.waiting == []
    assert rig.clock.getDelayedCalls() == []


def a_plan(outcomes: list[Any]) -> Plan:
    (plan,) = outcomes
    assert isinstance(plan, Plan), plan
    return plan


def changed(plan: Plan) -> list[str]:
    return [event.module_id for event in plan.changed]


# Without validators


def test_here_looks_and_plans_and_changes_nothing_by_itself(rig: Rig, save: Save) -> None:
    """What is known and what is served are as they were until the plan is carried out."""
    save("smith.json", module_text(instruction="New."))
    before = attrs.evolve(rig.known, findings=dict(rig.known.findings))
    assert changed(rig.one().here()) == ["npc.smith"]
    assert rig.known == before
    assert rig.snapshot["npc.smith"].module().instruction == "You are a smith."


def test_a_pass_that_concerns_no_validator_is_one_threads_work(rig: Rig, save: Save) -> None:
    """What came of it is told on the reactor thread: in a later turn, not by the worker."""
    rig.validators.add(rig.refuse, "quest.*")
    save("smith.json", module_text(instruction="New."))
    outcomes = rig.start(rig.one("smith.json"))
    rig.waiting.pop()()
    assert outcomes == []
    rig.clock.run_calls()
    assert changed(a_plan(outcomes)) == ["npc.smith"]
    assert (rig.begun, rig.asked) == (["dspyreload-pass"], [])


def test_a_look_that_fails_is_told(rig: Rig) -> None:
    """Of a directory that is gone nothing is planned."""
    shutil.rmtree(rig.root)
    outcomes = rig.start(rig.one())
    rig.work()
    assert [failure.check(RootMissing) for failure in outcomes] == [RootMissing]


@pytest.mark.parametrize(("since", "decided"), [(9.95, False), (9.9, True), (5.0, True), (20.0, True)])
def test_a_suspect_is_decided_once_it_is_a_quiet_window_old(rig: Rig, save: Save, since: float, decided: bool) -> None:
    """Younger ones are looked at again; a clock that was set back keeps nothing waiting."""
    save("smith.json", "{")
    rig.known.suspects = {"smith.json": since}
    outcomes = rig.start(rig.one("smith.json", now=10.0))
    rig.work()
    plan = a_plan(outcomes)
    assert (len(plan.errors), sorted(plan.again)) == ((1, []) if decided else (0, ["smith.json"]))


# With validators


def test_files_are_read_in_threads_and_validators_called_on_the_reactors(rig: Rig, save: Save) -> None:
    """The look and the plan are a worker's; nobody's validator has to be safe for threads."""
    where: list[threading.Thread] = []
    workers: list[Any] = []
    rig.validators.add(lambda module: where.append(threading.current_thread()))
    save("smith.json", module_text(instruction="New."))

    def start(target: Callable[[], None], name: str) -> Joinable:
        workers.append(start_thread(target, name))
        return workers[-1]  # type: ignore[no-any-return]

    outcomes = rig.start(rig.one("smith.json"), start)
    while not outcomes:
        rig.clock.wait()
    assert changed(a_plan(outcomes)) == ["npc.smith"]
    assert ([thread.is_alive() for thread in workers], where) == ([False, False], [threading.current_thread()])


def test_what_serves_already_is_asked_about_only_when_the_validators_changed(rig: Rig, save: Save) -> None:
    """A pass over everything asks about what is new; one that serves and is refused is rejected, and serves on."""
    rig.validators.add(rig.refuse)
    save("baker.json", module_text("npc.baker", instruction="You bake."))
    assert changed(rig.one().here()) == []
    assert rig.asked == ["You bake."]
    plan = rig.one(names=("validators",)).here()
    assert [(event.path, event.error) for event in plan.errors] == [("smith.json", "the game refuses it: too rude")]
    assert plan.snapshot is rig.snapshot


def test_the_refused_one_is_left_out_and_the_others_go_live(rig: Rig, save: Save) -> None:
    """Each file has a verdict of its own."""
    rig.validators.add(rig.refuse, "npc.smith")
    rig.validators.add(rig.accept, "npc.baker")
    save("smith.json", module_text(instruction="New."))
    save("baker.json", module_text("npc.baker"))
    save("cook.json", module_text("npc.cook"))
    assert changed(plan := rig.one().here()) == ["npc.baker", "npc.cook"]
    assert plan.snapshot["npc.smith"] is rig.snapshot["npc.smith"]


def test_one_that_has_no_verdict_yet_is_named_and_the_others_go_live(rig: Rig, save: Save) -> None:
    """It is neither rejected nor looked at again until its validators have answered."""
    answer: Deferred[None] = Deferred()
    decided: list[str] = []
    rig.validators.decided = decided.append
    rig.validators.add(lambda module: answer if module.module_id == "npc.smith" else None)
    save("smith.json", module_text(instruction="New."))
    save("baker.json", module_text("npc.baker"))
    assert changed(plan := rig.carry_out(rig.one().here())) == ["npc.baker"]
    assert (sorted(plan.checking), plan.errors, sorted(plan.again)) == (["smith.json"], (), [])
    answer.callback(None)
    assert decided == ["smith.json"]
    assert changed(rig.one("smith.json").here()) == ["npc.smith"]


def test_without_a_second_thread_the_pass_fails(rig: Rig, save: Save) -> None:
    """It is told as any other fault, so that the pass is tried again."""
    rig.validators.add(rig.accept)
    save("smith.json", module_text(instruction="New."))

    def one_left(target: Callable[[], None], name: str) -> Joinable:
        return none_left(target, name) if rig.begun else rig.start_thread(target, name)

    outcomes = rig.start(rig.one("smith.json"), one_left)
    rig.work()
    assert [failure.check(RuntimeError) for failure in outcomes] == [RuntimeError]


def test_a_validator_for_which_there_is_no_thread_ends_no_pass(rig: Rig, save: Save) -> None:
    """What came of the pass is told, whatever it is, and its version is not live."""
    rig.validators = Validators(lambda: rig.clock, start_thread=none_left)
    rig.validators.add(rig.accept, thread=True)
    save("smith.json", module_text(instruction="New."))
    outcomes = rig.start(rig.one("smith.json"))
    rig.work()
    while rig.waiting:
        rig.work()
    assert len(outcomes) == 1
    assert not (isinstance(outcomes[0], Plan) and outcomes[0].changed)


def test_a_refusal_is_remembered_with_the_validators_that_spoke(rig: Rig, save: Save) -> None:
    """One that is removed between its verdict and the plan has its refusal checked again by the next pass."""
    remove = rig.validators.add(rig.refuse)
    save("smith.json", module_text(instruction="New."))
    rig.known.suspects = {"smith.json": 0.0}
    outcomes = rig.start(rig.one("smith.json", now=1.0))
    rig.work()
    remove()
    rig.work()
    assert len(rig.carry_out(a_plan(outcomes)).errors) == 1
    assert changed(rig.one(names=("validators",)).here()) == ["npc.smith"]


def test_a_validator_that_is_added_while_a_pass_looks_is_asked(rig: Rig, save: Save) -> None:
    """Nothing goes live unheard once it was added."""
    save("smith.json", module_text(instruction="New."))
    outcomes = rig.start(rig.one("smith.json"))
    rig.validators.add(rig.refuse)
    while rig.waiting:
        rig.work()
    assert changed(a_plan(outcomes)) == []


def test_a_checkout_is_looked_at_whole_also_where_the_look_is_done_again(
    rig: Rig, modules: Path, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A validator is added meanwhile: word came of one file, and those that were renewed with it belong to it."""
    monkeypatch.setattr("dspyreload.disk.reading._TICK_NS", 0)  # a file that was just written is not doubted
    save("cook.json", module_text("npc.cook"))
    rig.carry_out(rig.one().here())
    (modules / ".git").mkdir()
    (modules / ".git" / "index").write_text("renewed")
    for name in ("cook", "smith"):
        save(f"{name}.json", module_text(f"npc.{name}", instruction="New."))
    one = attrs.evolve(rig.one("smith.json"), overdue=frozenset())
    outcomes = rig.start(one)
    assert one.holding.states == frozenset()
    rig.validators.add(rig.accept)
    while rig.waiting:
        rig.work()
    assert changed(a_plan(outcomes)) == ["npc.cook", "npc.smith"]
    assert [path for path, _stamp in one.holding.states] == [str(modules / ".git" / "index")]


def test_what_fails_after_a_pass_is_not_a_second_outcome_of_it(rig: Rig, save: Save) -> None:
    """Whoever is told of the plan may fail: that comes out, and is not taken for a thread that could not start."""
    outcomes: list[Any] = []

    def done(outcome: object) -> None:
        outcomes.append(outcome)
        raise RuntimeError("the disk of the log is full")

    save("smith.json", module_text(instruction="New."))
    rig.one("smith.json").start(rig.clock, rig.start_thread, done)
    with pytest.raises(RuntimeError, match="of the log"):
        rig.work()
    assert changed(a_plan(outcomes)) == ["npc.smith"]


def test_many_candidates_are_asked_about_in_several_turns(
    rig: Rig, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two of them the reactor does other work; ``here``, before it runs, has them all asked at once."""
    monkeypatch.setattr("dspyreload.live.validators._SLICE", -1.0)
    rig.validators.add(rig.accept)
    for name in "abc":
        save(f"{name}.json", module_text(f"npc.{name}", instruction=name))
    outcomes = rig.start(rig.one())
    rig.work()
    assert len(rig.asked) == 1
    rig.clock.callLater(0, rig.asked.append, "other work")
    rig.clock.advance(0)
    assert rig.asked.index("other work") == 2
    rig.work()
    assert changed(a_plan(outcomes)) == ["npc.a", "npc.b", "npc.c"]
    rig.asked.clear()
    rig.validators.add(lambda module: None)
    assert changed(rig.one().here()) == ["npc.a", "npc.b", "npc.c"]
    assert sorted(rig.asked) == ["a", "b", "c"]
    assert rig.clock.getDelayedCalls() == []


def test_a_pass_whose_validators_are_stopped_asks_no_more_and_comes_to_an_end(
    rig: Rig, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for its thread is told, and no timer of a validator is left."""
    monkeypatch.setattr("dspyreload.live.validators._SLICE", -1.0)
    never: Deferred[None] = Deferred()
    rig.validators.add(rig.accept)
    rig.validators.add(lambda module: never)
    for name in "abc":
        save(f"{name}.json", module_text(f"npc.{name}", instruction=name))
    outcomes = rig.start(rig.one())
    rig.work()
    rig.validators.stop()
    rig.clock.advance(0)
    rig.work()
    assert (len(outcomes), len(rig.asked)) == (1, 1)
    assert rig.clock.getDelayedCalls() == []
