"""The game's own checks of candidates, alone: who is asked, what is remembered, and what a late answer leads to."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.trial import unittest as trial

from dspyreload.live.validators import Candidate, Validators
from dspyreload.model.module import OptimizedModule
from dspyreload.model.snapshot import ModuleVersion
from dspyreload.testing import ReactorClock
from tests.conftest import module_text

CASE = trial.SynchronousTestCase()
PATH = "smith.json"


def candidate(instruction: str = "New.", module_id: str = "npc.smith") -> Candidate:
    data = module_text(module_id, instruction=instruction).encode()
    version = ModuleVersion(module_id=module_id, path=PATH, version=hashlib.sha256(data).hexdigest(), data=data)
    return Candidate(version, version.module())


@attrs.define
class Slow:
    """A validator that answers when the test says so, about instructions with these words; it accepts all others."""

    about: str = ""
    asked: list[str] = attrs.field(factory=list)
    answers: list[Deferred[None]] = attrs.field(factory=list)
    cancelled: int = 0

    def __call__(self, module: OptimizedModule) -> Deferred[None]:
        self.asked.append(module.instruction)
        if self.about not in module.instruction:
            return succeed(None)
        self.answers.append(Deferred(self._cancel))
        return self.answers[-1]

    def _cancel(self, _answer: Deferred[None]) -> None:
        self.cancelled += 1


class Court:
    """Validators, with what they told their owner."""

    def __init__(self) -> None:
        self.clock = ReactorClock()
        self.changes: list[None] = []
        self.decided: list[str] = []
        self.validators = Validators(lambda: self.clock, lambda: self.changes.append(None))
        self.validators.decided = self.decided.append
        self.add = self.validators.add

    def add_slow(self, count: int, **options: Any) -> list[Slow]:
        slow = [Slow() for _ in range(count)]
        for validator in slow:
            self.add(validator, **options)
        return slow

    def hear(self, one: Candidate | None = None) -> str | None:
        verdicts: dict[str, str | None] = CASE.successResultOf(self.validators.hear({PATH: one or candidate()}))
        return verdicts[PATH]


@pytest.fixture
def court(monkeypatch: pytest.MonkeyPatch) -> Iterator[Court]:
    """Nothing of the validators is left at the end."""
    monkeypatch.setattr("dspyreload.live.validators._SLICE", 10.0)  # a slow machine would need another turn
    court = Court()
    yield court
    court.clock.run_calls()
    assert court.clock.getDelayedCalls() == []


async def accepts(module: OptimizedModule) -> None:
    await succeed(None)


async def refuses(module: OptimizedModule) -> None:
    await succeed(None)
    raise ValueError("too rude")


def rude(module: OptimizedModule) -> None:
    raise ValueError("too rude")


# What a validator may be


ACCEPT: list[Any] = [lambda module: None, lambda module: False, accepts, lambda _: succeed(1)]
REFUSE: list[Any] = [rude, refuses, lambda _: fail(ValueError("too rude"))]


@pytest.mark.parametrize(("validator", "verdict"), [(v, "") for v in ACCEPT] + [(v, "too rude") for v in REFUSE])
def test_one_that_raises_refuses_with_its_words_and_all_others_accept(
    court: Court, validator: Any, verdict: str
) -> None:
    """Plain, async def, or returning a Deferred, whatever the result is; the words are what the writer reads."""
    court.add(validator)
    assert court.hear() == verdict
    assert court.decided == []


@pytest.mark.parametrize("error", [ValueError(), CancelledError(), SystemExit()])
def test_an_error_without_words_refuses_and_says_whom_to_ask(court: Court, error: BaseException) -> None:
    """Whatever is raised refuses, the CancelledError of a Deferred that the game itself cancelled too."""
    court.add(lambda module: fail(error))
    assert court.hear() == "it does not say why; ask who keeps the game"


def test_words_are_made_harmless_for_the_log(court: Court) -> None:
    """One line of some 500 characters at most, whatever is raised."""
    court.add(lambda module: fail(ValueError("bad\n\x1b[31m" + "x" * 10_000)))
    verdict = str(court.hear())
    assert verdict.isprintable()
    assert (verdict[:3], len(verdict) < 520) == ("bad", True)


@pytest.mark.parametrize("timeout", [0, -1, None, "10", float("nan")])
def test_a_time_that_is_none_is_the_callers_mistake(court: Court, timeout: Any) -> None:
    """It is refused when the validator is added: later it would end a pass in the middle."""
    with pytest.raises(ValueError, match="timeout"):
        court.add(rude, timeout=timeout)
    assert court.validators.concerned() is None


@pytest.mark.parametrize("arguments", [("npc.*",), (rude, ["npc.*"]), (rude, None)])
def test_what_is_no_function_or_no_pattern_is_the_callers_mistake(court: Court, arguments: tuple[Any, ...]) -> None:
    """It is refused when it is added, rather than refusing every module, or failing every pass."""
    with pytest.raises(TypeError):
        court.add(*arguments)
    assert court.validators.concerned() is None


# Which modules, and which validators


def test_a_pattern_says_which_modules_a_validator_is_asked_about(court: Court) -> None:
    """A pattern is that of a shell; upper case is another letter than lower case. Without validators nobody is."""
    assert court.validators.concerned() is None
    court.add(rude, "npc.*")
    concerned = court.validators.concerned()
    assert concerned is not None
    assert [concerned(name) for name in ("npc.smith", "npc.a.b", "quest.npc.x", "NPC.x")] == [True, True, False, False]
    assert [court.hear(candidate(module_id=name)) for name in ("quest.dragon", "npc.smith")] == ["", "too rude"]


def test_all_of_a_modules_validators_must_accept_it(court: Court) -> None:
    """The first that refuses has the word; those after it are not asked."""
    asked: list[str] = []
    court.add(lambda module: asked.append(module.module_id))
    court.add(rude)
    court.add(lambda module: asked.append("third"))
    assert (court.hear(), asked) == ("too rude", ["npc.smith"])


def test_a_change_of_the_validators_is_told_and_has_all_asked_again(court: Court) -> None:
    """Adding and removing one change the token, by which files know who judged them."""
    asked: list[str] = []
    court.add(lambda module: asked.append(court.validators.token))
    assert court.hear() == ""
    remove = court.add(rude)
    assert court.hear() == "too rude"
    remove()
    assert court.hear() == ""
    assert (len(set(asked)), len(court.changes)) == (3, 3)


def test_each_addition_has_a_removal_of_its_own(court: Court) -> None:
    """Using it twice does no harm, and tells nobody."""
    remove, _other = court.add(rude), court.add(rude)
    remove()
    remove()
    assert (len(court.changes), court.hear()) == (3, "too rude")


def test_a_removed_one_is_not_waited_for(court: Court) -> None:
    """Its answer that is still out decides nothing: the others are asked anew."""
    remove = court.add(slow := Slow())
    court.add(lambda module: None)
    assert court.hear() is None
    remove()
    assert court.hear() == ""
    assert (slow.cancelled, court.decided) == (1, [])


# Late answers


@pytest.mark.parametrize(("answer", "verdict"), [(None, ""), (ValueError("too rude"), "too rude")])
def test_the_last_of_several_decides(court: Court, answer: Any, verdict: str) -> None:
    """No verdict while one may still refuse; then ``decided`` is called with the path, and there is one."""
    first, second = court.add_slow(2)
    assert court.hear() is None
    second.answers[0].callback(None)
    assert court.hear() is None
    (first.answers[0].callback if answer is None else first.answers[0].errback)(answer)
    assert (court.decided, court.hear()) == ([PATH], verdict)


def test_one_refusal_ends_the_others(court: Court) -> None:
    """They are cancelled: what they would say changes nothing any more."""
    slow = court.add_slow(3)
    court.hear()
    slow[1].answers[0].errback(ValueError("too rude"))
    assert ([validator.cancelled for validator in slow], court.decided) == ([1, 0, 1], [PATH])
    assert court.clock.getDelayedCalls() == []


def test_who_does_not_answer_in_time_refuses(court: Court) -> None:
    """The version is refused, with the limit in words; what is still out is cancelled."""
    slow, other = court.add_slow(1, timeout=2.5) + court.add_slow(1)
    court.hear()
    court.clock.advance(2.4)
    assert court.hear() is None
    court.clock.advance(0.2)
    assert (slow.cancelled, other.cancelled, court.decided) == (1, 1, [PATH])
    assert court.hear() == "its own check did not answer within 2.5 s; save again, or tell who keeps the game"
    assert court.clock.getDelayedCalls() == []


@pytest.mark.parametrize(("taken", "refused"), [(2.4, False), (2.6, True)])
@pytest.mark.parametrize("plain", [True, False])
def test_a_plain_one_that_takes_longer_than_its_time_refuses(
    court: Court, taken: float, refused: bool, plain: bool
) -> None:
    """It is heard out, for nothing could stop it; a game that stands still so long is not to learn of it by itself."""

    def slow(module: OptimizedModule) -> Any:
        court.clock.advance(taken)
        return None if plain else succeed(None)

    court.add(slow, timeout=2.5)
    words = "its own check did not answer within 2.5 s; save again, or tell who keeps the game"
    assert (court.hear(), court.decided) == (words if refused else "", [])
    assert court.clock.getDelayedCalls() == []


def test_one_that_takes_longer_and_refuses_has_the_word(court: Court) -> None:
    """What it found says more than how long it looked; whoever comes after it is not asked."""

    def slow(module: OptimizedModule) -> None:
        court.clock.advance(3)
        raise ValueError("too rude")

    court.add(slow, timeout=2.5)
    court.add_slow(1)
    assert court.hear() == "too rude"


def test_the_same_content_is_not_asked_about_twice(court: Court) -> None:
    """Neither while it is being checked nor afterwards."""
    (slow,) = court.add_slow(1)
    assert [court.hear(), court.hear()] == [None, None]
    slow.answers[0].errback(ValueError("too rude"))
    assert [court.hear(), court.hear(), slow.asked] == ["too rude", "too rude", ["New."]]


def test_other_content_is_asked_about_and_the_old_question_is_dropped(court: Court) -> None:
    """All answers that are still out are cancelled, and decide nothing about the new content."""
    slow = court.add_slow(3)
    court.hear(candidate("New."))
    assert court.hear(candidate("Newer.")) is None
    assert [validator.asked for validator in slow] == [["New.", "Newer."]] * 3
    assert ([validator.cancelled for validator in slow], court.decided) == ([1, 1, 1], [])
    court.validators.stop()


def test_stopping_forgets_what_is_under_way(court: Court) -> None:
    """All answers are cancelled, no timer is left, nobody is told, and the next hearing asks again."""
    slow = court.add_slow(3)
    court.hear()
    court.validators.stop()
    assert ([validator.cancelled for validator in slow], court.decided) == ([1, 1, 1], [])
    assert court.clock.getDelayedCalls() == []
    assert (court.hear(), slow[0].asked) == (None, ["New.", "New."])
    court.validators.stop()


# In a thread


@pytest.mark.parametrize(("validator", "verdict"), [(lambda module: None, ""), (rude, "too rude")])
def test_one_of_its_own_thread_leaves_the_reactors_thread_free(court: Court, validator: Any, verdict: str) -> None:
    """It answers late, from a daemon thread of that name."""
    seen: list[threading.Thread] = []
    go = threading.Event()

    def blocking(module: OptimizedModule) -> None:
        assert go.wait(10)
        seen.append(threading.current_thread())
        validator(module)

    court.add(blocking, thread=True)
    assert court.hear() is None
    go.set()
    court.clock.wait()
    assert (court.decided, court.hear()) == ([PATH], verdict)
    assert [(thread.name, thread.daemon) for thread in seen] == [("dspyreload-validator", True)]


def test_a_check_before_the_server_runs_does_not_take_the_thread_away(court: Court) -> None:
    """``--strict`` asks on the thread that it has; the passes of that server have threads again."""
    seen: list[str] = []
    court.add(lambda module: seen.append(threading.current_thread().name), thread=True)
    assert court.validators.verdict(PATH, candidate().version) == ""
    assert court.hear(candidate("Newer.")) is None
    court.clock.wait()
    assert seen == [threading.current_thread().name, "dspyreload-validator"]


def test_a_check_without_a_server_waits_for_no_answer(court: Court) -> None:
    """One that would come later is called off, and leaves no timer."""
    answer: Deferred[None] = Deferred()
    court.add(lambda module: answer)
    assert court.validators.verdict(PATH, candidate().version) is None
    assert (answer.called, court.clock.getDelayedCalls(), court.decided) == (True, [], [])


def test_a_thread_that_answers_too_late_is_not_heard(court: Court) -> None:
    """The version is refused at the time limit, and stays so."""
    go = threading.Event()
    court.add(lambda module: go.wait(10), thread=True, timeout=1)
    court.hear()
    court.clock.advance(1)
    go.set()
    court.clock.wait()
    assert court.decided == [PATH]
    assert court.hear() == "its own check did not answer within 1 s; save again, or tell who keeps the game"


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize("validator", [refuses, lambda module: fail(ValueError("too rude"))])
def test_what_runs_in_a_thread_and_is_not_plain_accepts_nothing_unheard(court: Court, validator: Any) -> None:
    """An async def gives a coroutine there: it is awaited, or refuses; it is never taken for an acceptance."""
    court.add(validator, thread=True)
    assert court.hear() is None
    court.clock.wait()
    assert court.hear()
