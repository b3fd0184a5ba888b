"""The breaker of a language model: three failures in a row, then one try at a time, later and later."""

from __future__ import annotations

import attrs
import pytest

from dspyreload.lm.health import Health, LMState

LM = "openai/some-model"


@attrs.define
class Stage:
    """A breaker with a clock that a test sets, and what it told."""

    now: float = 0.0
    told: list[tuple[str, bool, str, float]] = attrs.field(factory=list)
    health: Health = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.health = Health(lambda: self.now, self._changed)

    def _changed(self, name: str, state: LMState, retry_in: float) -> None:
        self.told.append((name, state.healthy, state.reason, retry_in))

    def fail(self, times: int = 1, name: str = LM, reason: str = "no route", call: object = None) -> None:
        """Have a language model fail, each time for another call."""
        for _ in range(times):
            self.health.failed(name, reason, call or object())

    def may_try(self, call: object = "a call", name: str = LM) -> bool:
        """Ask for a call whether it should try."""
        return self.health.down(name, call) is None


@pytest.fixture
def stage() -> Stage:
    """A breaker that has heard of no language model yet."""
    return Stage()


class TestBreaking:
    def test_an_unknown_language_model_is_tried(self, stage: Stage) -> None:
        """And as long as it only ever answers, it is not even listed."""
        assert stage.may_try()
        stage.health.succeeded(LM)
        stage.health.ended(LM, "a call")
        assert stage.health.states == {}
        assert stage.told == []

    def test_the_third_failure_in_a_row_breaks_it(self, stage: Stage) -> None:
        """Two may be chance. The words say why, and when it is tried again."""
        stage.fail(2)
        assert stage.may_try()
        assert stage.told == []
        stage.fail(reason="no route to host")
        assert stage.health.down(LM, "a call") == f"the LM {LM} is down (no route to host); it is tried again in 1 s"
        assert stage.told == [(LM, False, "no route to host", 1.0)]

    def test_an_answer_between_them_counts(self, stage: Stage) -> None:
        """Failures are counted in a row."""
        for _ in range(5):
            stage.fail(2)
            stage.health.succeeded(LM)
        assert stage.may_try()
        assert stage.told == []
        assert stage.health.states[LM].failures == 0

    def test_each_language_model_has_its_own(self, stage: Stage) -> None:
        """One that is down holds up no call of another."""
        stage.fail(2, "small")
        stage.fail(3, "smart")
        assert (stage.may_try(name="small"), stage.may_try(name="smart")) == (True, False)

    def test_its_state_can_be_read(self, stage: Stage) -> None:
        """What an operator sees of it."""
        stage.now = 100.0
        stage.fail(3, reason="no route")
        state = stage.health.states[LM]
        assert (state.healthy, state.failures, state.reason, state.retry_at) == (False, 3, "no route", 101.0)


class TestTryingAgain:
    def test_it_is_tried_when_its_time_has_come(self, stage: Stage) -> None:
        """Not a moment before; the words count the seconds down."""
        stage.fail(3)
        stage.now = 0.75
        assert not stage.may_try()
        stage.now = 1.0
        assert stage.may_try()

    def test_one_call_at_a_time_tries(self, stage: Stage) -> None:
        """The others need not wait for a language model that is perhaps still down."""
        stage.fail(3)
        stage.now = 1.0
        assert stage.may_try("first")
        assert not stage.may_try("second")
        stage.now = 1000.0
        assert not stage.may_try("third")

    def test_the_waits_double_up_to_a_minute(self, stage: Stage) -> None:
        """1, 2, 4, ... 60 s, each from the try that failed; nobody is told of it again."""
        stage.fail(3)
        waits = []
        for _ in range(8):
            wait = stage.health.states[LM].retry_at - stage.now
            waits.append(wait)
            stage.now += wait - 0.0625
            assert not stage.may_try()
            stage.now += 0.0625
            assert stage.may_try("a try")
            stage.fail(call="a try")
        assert waits == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60])
        assert len(stage.told) == 1

    def test_calls_that_were_under_way_lengthen_no_wait(self, stage: Stage) -> None:
        """A hundred players who were waiting when it went down are one outage, and not a hundred."""
        stage.fail(100)
        assert stage.health.states[LM].retry_at == 1.0
        stage.now = 0.5
        stage.fail()
        stage.now = 1.0
        assert stage.may_try("first")
        stage.fail()
        assert not stage.may_try("second")

    def test_an_answer_mends_it(self, stage: Stage) -> None:
        """It is told, and the next failures are counted from none, with a short wait again."""
        stage.fail(3)
        stage.now = 1.0
        assert stage.may_try("a try")
        stage.fail(call="a try")
        stage.now = 3.0
        assert stage.may_try()
        stage.health.succeeded(LM)
        assert stage.told[1:] == [(LM, True, "", 0.0)]
        assert stage.may_try("one")
        assert stage.may_try("another")
        stage.fail(2)
        assert stage.may_try()
        stage.fail()
        assert stage.told[2:] == [(LM, False, "no route", 1.0)]

    def test_an_answer_to_a_call_that_was_under_way_mends_it(self, stage: Stage) -> None:
        """Whichever call it is: the language model answers."""
        stage.fail(3)
        stage.health.succeeded(LM)
        assert stage.may_try()


class TestGivingUp:
    def test_the_call_that_tried_and_was_cancelled_lets_another_try(self, stage: Stage) -> None:
        """A player who hangs up must not keep it down for ever."""
        stage.fail(3)
        stage.now = 1.0
        assert stage.may_try("first")
        stage.health.ended(LM, "first")
        assert stage.may_try("second")

    def test_another_call_that_ends_lets_nobody_try(self, stage: Stage) -> None:
        """Only the one that tries decides."""
        stage.fail(3)
        stage.now = 1.0
        assert stage.may_try("first")
        stage.health.ended(LM, "one from before")
        assert not stage.may_try("second")

    def test_ending_is_no_answer(self, stage: Stage) -> None:
        """It stays down, and nobody is told."""
        stage.fail(3)
        stage.now = 1.0
        assert stage.may_try("first")
        stage.health.ended(LM, "first")
        assert not stage.health.states[LM].healthy
        assert len(stage.told) == 1


class TestForgetting:
    """A game that makes a language model for each call."""

    def test_a_hundred_are_remembered(self, stage: Stage) -> None:
        """Those that failed last, however many there were."""
        for number in range(1000):
            stage.fail(name=f"{LM} ({number})")
        assert set(stage.health.states) == {f"{LM} ({number})" for number in range(900, 1000)}
        assert stage.told == []

    def test_one_that_is_down_is_remembered_before_those_that_failed_once(self, stage: Stage) -> None:
        """As long as it is, calls do not wait for it."""
        stage.fail(3)
        for number in range(1000):
            stage.fail(name=f"{LM} ({number})")
        assert not stage.may_try()
        assert len(stage.health.states) == 100

    def test_of_more_that_are_down_the_one_that_failed_longest_ago_is_forgotten(self, stage: Stage) -> None:
        """And that is told, or its trouble would be on the board for ever; it is tried like any other then."""
        for number in range(101):
            stage.fail(3, name=f"{LM} ({number})")
        assert stage.told[-2:] == [
            (f"{LM} (0)", True, "it has not been asked lately", 0.0),
            (f"{LM} (100)", False, "no route", 1.0),
        ]
        assert len(stage.health.states) == 100
        assert stage.may_try(name=f"{LM} (0)")
        assert not stage.may_try(name=f"{LM} (1)")

    def test_what_ends_after_it_was_forgotten_does_no_harm(self, stage: Stage) -> None:
        """A call may still be under way: its answer is as good as that of one that never failed."""
        stage.fail(3, name="old")
        stage.now = 1.0
        assert stage.may_try("a try", name="old")
        for number in range(100):
            stage.fail(3, name=f"{LM} ({number})")
        assert "old" not in stage.health.states
        stage.health.succeeded("old")
        stage.health.ended("old", "a try")
        stage.fail(name="old", call="a try")
        assert stage.health.states["old"].failures == 1

    def test_the_states_can_be_walked_through_while_they_change(self, stage: Stage) -> None:
        """By an operator's page on another thread."""
        stage.fail(name="one")
        walk = iter(stage.health.states.items())
        stage.fail(name="another")
        assert [name for name, _state in walk] == ["one"]
