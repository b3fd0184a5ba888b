"""Limits are kept to the second, and nobody is remembered for longer than a window."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dspyreload.config import Limits
from dspyreload.errors import DSPyReloadError, LimitExceeded
from dspyreload.lm.limiting import Limiter

SMITH, BARD, ANN, BOB = "npc.smith", "npc.bard", "player:ann", "player:bob"


def make(now: list[float], **limits: int) -> Limiter:
    """Make a limiter whose clock is the last item of a list."""
    return Limiter(Limits(**limits), lambda: now[-1])


def refusal(limiter: Limiter, module_id: str, key: str | None, inputs: dict[str, Any] | None = None) -> LimitExceeded:
    """Return what a call that is refused raises."""
    with pytest.raises(LimitExceeded) as raised:
        limiter.admit(module_id, key, inputs or {})
    assert isinstance(raised.value, DSPyReloadError)
    return raised.value


def is_admitted(limiter: Limiter, module_id: str, key: str | None) -> bool:
    """Say whether a call is let through; if it is, it is counted."""
    try:
        limiter.admit(module_id, key, {})
    except LimitExceeded:
        return False
    return True


class TestCalls:
    def test_a_window_is_exact_at_its_edges(self) -> None:
        """A call of second 5 counts until just before second 65."""
        now = [5.0]
        limiter = make(now, calls_per_minute=2)
        limiter.admit(SMITH, ANN, {})
        now.append(10.0)
        limiter.admit(SMITH, ANN, {})
        now.append(64.875)
        assert refusal(limiter, SMITH, ANN).retry_after == 0.125
        now.append(65.0)
        limiter.admit(SMITH, ANN, {})
        assert refusal(limiter, SMITH, ANN).retry_after == 5.0

    def test_what_has_left_counts_no_more_once_it_is_dropped(self) -> None:
        """Two calls leave at once and make room for two."""
        now = [0.0]
        limiter = make(now, calls_per_minute=3)
        for second in (0.0, 0.0, 30.0, 60.0, 60.0):
            now.append(second)
            limiter.admit(SMITH, ANN, {})
        assert refusal(limiter, SMITH, ANN).retry_after == 30.0

    def test_each_key_has_a_window_of_its_own(self) -> None:
        """What one player does holds up no other, and the modules share a player's window."""
        limiter = make([0.0], calls_per_minute=1)
        limiter.admit(SMITH, ANN, {})
        limiter.admit(SMITH, BOB, {})
        assert refusal(limiter, BARD, ANN).key == ANN

    def test_a_module_has_a_window_for_all_keys(self) -> None:
        """Two players share what one module may be asked."""
        limiter = make([0.0], module_calls_per_minute=2)
        limiter.admit(SMITH, ANN, {})
        limiter.admit(SMITH, BOB, {})
        limiter.admit(BARD, ANN, {})
        assert refusal(limiter, SMITH, ANN).limit == "module_calls_per_minute"

    def test_a_call_without_a_key_counts_for_its_module(self) -> None:
        """The game's own calls have no player's limit, but the module's."""
        limiter = make([0.0], calls_per_minute=1, module_calls_per_minute=3, key_tokens_per_hour=1)
        for _ in range(3):
            limiter.admit(SMITH, None, {})
            limiter.spend(None, 100)
        assert refusal(limiter, SMITH, None).key is None

    def test_an_empty_key_is_a_key(self) -> None:
        """Only None is nobody."""
        limiter = make([0.0], calls_per_minute=1)
        limiter.admit(SMITH, "", {})
        assert not is_admitted(limiter, SMITH, "")

    def test_a_refused_call_is_not_counted(self) -> None:
        """Who asks again and again while refused waits no longer; nor does the module count it."""
        now = [0.0]
        limiter = make(now, calls_per_minute=1, module_calls_per_minute=2)
        limiter.admit(SMITH, ANN, {})
        for second in range(1, 60):
            now.append(float(second))
            assert refusal(limiter, SMITH, ANN).limit == "calls_per_minute"
        limiter.admit(SMITH, BOB, {})
        now.append(60.0)
        limiter.admit(SMITH, ANN, {})

    def test_of_several_limits_the_one_that_holds_longest_is_named(self) -> None:
        """``retry_after`` is when such a call is within all limits."""
        now = [0.0]
        limiter = make(now, calls_per_minute=1, module_calls_per_minute=1, tokens_per_hour=10)
        limiter.admit(SMITH, ANN, {})
        now.append(30.0)
        limiter.admit(BARD, BOB, {})
        error = refusal(limiter, SMITH, BOB)
        assert (error.limit, error.retry_after) == ("calls_per_minute", 60.0)
        limiter.spend(BOB, 10)
        error = refusal(limiter, SMITH, BOB)
        assert (error.limit, error.retry_after) == ("tokens_per_hour", 3600.0)

    def test_a_clock_that_is_set_back_stands_still(self) -> None:
        """Nothing breaks and nothing is forgotten; time goes on where it was."""
        now = [100.0]
        limiter = make(now, calls_per_minute=1)
        limiter.admit(SMITH, ANN, {})
        now.append(0.0)
        limiter.admit(SMITH, BOB, {})
        assert refusal(limiter, SMITH, ANN).retry_after == 60.0
        now.append(160.0)
        assert is_admitted(limiter, SMITH, ANN)
        assert is_admitted(limiter, SMITH, BOB)


class TestTokens:
    def test_a_call_is_let_through_while_less_than_the_limit_was_spent(self) -> None:
        """Nobody knows what a call will cost, so the last one may go past the limit."""
        limiter = make([0.0], tokens_per_hour=100)
        limiter.spend(ANN, 99)
        limiter.admit(SMITH, ANN, {})
        limiter.spend(ANN, 1)
        assert refusal(limiter, SMITH, BOB).limit == "tokens_per_hour"

    def test_tokens_leave_an_hour_after_they_were_spent(self) -> None:
        """The wait is until enough of them have left, not only the first."""
        now = [0.0]
        limiter = make(now, key_tokens_per_hour=100)
        for second, tokens in [(0.0, 10), (1.0, 200), (2.0, 99)]:
            now.append(second)
            limiter.spend(ANN, tokens)
        assert refusal(limiter, SMITH, ANN).retry_after == 3599.0
        now.append(3600.875)
        assert not is_admitted(limiter, SMITH, ANN)
        now.append(3601.0)
        assert is_admitted(limiter, SMITH, ANN)

    def test_a_key_has_tokens_of_its_own(self) -> None:
        """One player's long talks leave the others theirs."""
        limiter = make([0.0], key_tokens_per_hour=100)
        limiter.spend(ANN, 100)
        limiter.spend(None, 500)
        assert refusal(limiter, SMITH, ANN).key == ANN
        limiter.admit(SMITH, BOB, {})
        limiter.admit(SMITH, None, {})

    def test_a_call_without_a_key_spends_of_all(self) -> None:
        """The game's own calls cost money as a player's do."""
        limiter = make([0.0], tokens_per_hour=100)
        limiter.spend(None, 100)
        assert not is_admitted(limiter, SMITH, None)

    @pytest.mark.parametrize("tokens", [0, -5])
    def test_no_tokens_are_nothing_to_count(self, tokens: int) -> None:
        """A model that tells no usage makes nobody remembered."""
        limiter = make([0.0], tokens_per_hour=1, key_tokens_per_hour=1)
        limiter.spend(ANN, tokens)
        assert limiter.remembered() == 0
        limiter.admit(SMITH, ANN, {})


class TestInputLength:
    @pytest.mark.parametrize(
        ("value", "length"),
        [
            ("ä" * 10, 10),
            ("", 0),
            (123, 3),
            (None, 4),
            (["ä", "b"], 10),
            ({"a": 1}, 8),
            ({"a": {1, 2}}, 15),  # the text of the set, in quotes
            ({(1, 2): 3}, 11),
        ],
    )
    def test_the_length_is_that_of_the_text_or_of_its_json(self, value: Any, length: int) -> None:
        """As many characters as are allowed pass, one more does not; what JSON has not counts as Python writes it."""
        make([0.0], input_length=max(1, length)).admit(SMITH, ANN, {"field": value})
        if length > 1:
            error = refusal(make([0.0], input_length=length - 1), SMITH, ANN, {"other": "", "field": value})
            assert f"has {length} characters" in str(error)

    def test_a_value_inside_itself_has_a_length(self) -> None:
        """What no JSON can hold is measured, and does not break the call."""
        loop: list[Any] = []
        loop.append(loop)
        make([0.0], input_length=10).admit(SMITH, ANN, {"field": loop})

    def test_without_the_limit_no_value_is_written_out(self) -> None:
        """A large input costs nothing where nobody asked for its length."""

        class Silent:
            def __str__(self) -> str:
                raise AssertionError

        make([0.0], calls_per_minute=1).admit(SMITH, ANN, {"field": Silent()})
        with pytest.raises(AssertionError):
            make([0.0], input_length=1).admit(SMITH, ANN, {"field": Silent()})

    def test_a_refused_input_is_not_counted_and_waiting_does_not_help(self) -> None:
        """The next, shorter one of the same player is let through."""
        limiter = make([0.0], input_length=5, calls_per_minute=1)
        error = refusal(limiter, SMITH, ANN, {"player_message": "too long"})
        assert (error.module_id, error.limit, error.key, error.retry_after) == (SMITH, "input_length", ANN, None)
        limiter.admit(SMITH, ANN, {"player_message": "short"})


class TestTheText:
    def test_a_key_that_calls_too_often(self) -> None:
        """Who, how often, and when again, in whole seconds, never too early."""
        now = [0.0]
        limiter = make(now, calls_per_minute=20)
        for _ in range(20):
            limiter.admit(SMITH, "player:42", {})
        now.append(48.5)
        assert str(refusal(limiter, SMITH, "player:42")) == (
            "npc.smith: player:42 has made 20 calls in a minute, as many as are allowed; again in 12 s"
        )

    def test_a_module_that_is_called_too_often(self) -> None:
        """The module is named once."""
        limiter = make([0.0], module_calls_per_minute=1)
        limiter.admit(SMITH, ANN, {})
        assert str(refusal(limiter, SMITH, BOB)) == (
            "npc.smith: it has had 1 call in a minute, as many as are allowed; again in 60 s"
        )

    def test_too_many_tokens(self) -> None:
        """What was spent stands beside what may be; a long wait is in minutes."""
        limiter = make([0.0], tokens_per_hour=1_000_000)
        limiter.spend(ANN, 1_000_400)
        assert str(refusal(limiter, SMITH, BOB)) == (
            "npc.smith: the game has spent 1,000,400 tokens in an hour; the limit is 1,000,000; again in 60 min"
        )

    def test_too_many_tokens_of_a_key(self) -> None:
        """The key is named, and a wait of up to two minutes is in seconds."""
        now = [0.0]
        limiter = make(now, key_tokens_per_hour=50_000)
        limiter.spend("player:42", 50_123)
        now.append(3480.0)
        assert str(refusal(limiter, SMITH, "player:42")) == (
            "npc.smith: player:42 has spent 50,123 tokens in an hour; the limit is 50,000; again in 120 s"
        )

    def test_an_input_that_is_too_long(self) -> None:
        """The field is named, and nothing of what the player wrote."""
        limiter = make([0.0], input_length=2_000)
        assert str(refusal(limiter, SMITH, ANN, {"player_message": "secret " * 1_286})) == (
            "npc.smith: the input 'player_message' has 9,002 characters; 2,000 are allowed"
        )

    def test_a_key_is_harmless_in_a_log(self) -> None:
        """A key from outside clears no terminal and fills no line."""
        limiter = make([0.0], calls_per_minute=1)
        key = "\x1b[2J\n" + "x" * 10_000
        limiter.admit(SMITH, key, {})
        error = refusal(limiter, SMITH, key)
        assert error.key == key
        assert str(error).isprintable()
        assert len(str(error)) < 200


class TestMemory:
    LIMITS = Limits(calls_per_minute=5, module_calls_per_minute=1_000_000, key_tokens_per_hour=500)

    def test_without_limits_nobody_is_remembered(self) -> None:
        """A game that limits nothing pays nothing for it."""
        limiter = make([0.0], input_length=10)
        for number in range(100):
            limiter.admit(SMITH, f"player:{number}", {})
            limiter.spend(f"player:{number}", 100)
        assert limiter.remembered() == 0

    def test_a_hundred_thousand_keys_are_forgotten_some_at_each_call(self) -> None:
        """No call pays for the quiet after a crowd, and after as many calls as it takes nobody is left."""
        now = [0.0]
        limiter = Limiter(self.LIMITS, lambda: now[-1])
        for number in range(100_000):
            limiter.admit(SMITH, f"player:{number}", {})
        assert limiter.remembered() == 100_001
        now.append(60.0)
        limiter.admit(BARD, None, {})
        assert 99_000 < limiter.remembered() < 100_001
        for _ in range(1_000):
            limiter.admit(BARD, None, {})
        assert limiter.remembered() == 1

    def test_refused_calls_and_ended_ones_forget_too(self) -> None:
        """Whatever is called, those whose window is empty go."""
        now = [0.0]
        limiter = Limiter(self.LIMITS, lambda: now[-1])
        for number in range(10):
            limiter.admit(SMITH, f"player:{number}", {})
            limiter.spend(f"player:{number}", 1)
        now.append(3600.0)
        limiter.spend(None, 0)
        assert limiter.remembered() == 0

    def test_who_still_counts_is_not_forgotten(self) -> None:
        """A key that was there first and is there still keeps its window, and the quiet ones behind it go."""
        now = [0.0]
        limiter = make(now, calls_per_minute=3)
        limiter.admit(SMITH, ANN, {})
        limiter.admit(SMITH, BOB, {})
        now.append(30.0)
        limiter.admit(SMITH, ANN, {})
        limiter.admit(SMITH, ANN, {})
        now.append(60.0)
        limiter.admit(SMITH, ANN, {})
        assert limiter.remembered() == 1
        assert not is_admitted(limiter, SMITH, ANN)

    def test_a_busy_window_keeps_only_what_counts(self) -> None:
        """A key that is never quiet does not grow for ever."""
        now = [0.0]
        limiter = make(now, calls_per_minute=10)
        for _ in range(1_000):
            now[0] += 6.0
            limiter.admit(SMITH, ANN, {})
        (window,) = limiter._calls._by_name.values()
        assert len(window._leaving) <= 20


class Naive:
    """The same limits, kept by looking at all that ever happened."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.calls: list[tuple[float, str, str | None]] = []
        self.spent: list[tuple[float, str | None, int]] = []

    def amounts(self, now: float, module_id: str, key: str | None) -> dict[str, list[tuple[float, int]]]:
        """Return what each limit's window holds for a call: when, and how much."""
        calls = [call for call in self.calls if now < call[0] + 60]
        spent = [spend for spend in self.spent if now < spend[0] + 3600]
        return {
            "calls_per_minute": [(t, 1) for t, _m, k in calls if k == key and key is not None],
            "module_calls_per_minute": [(t, 1) for t, m, _k in calls if m == module_id],
            "tokens_per_hour": [(t, n) for t, _k, n in spent],
            "key_tokens_per_hour": [(t, n) for t, k, n in spent if k == key and key is not None],
        }

    def waits(self, now: float, module_id: str, key: str | None) -> dict[str, float]:
        """Return how long each limit that is reached holds."""
        found = {}
        for name, held in self.amounts(now, module_id, key).items():
            limit, left = getattr(self.limits, name), sum(amount for _t, amount in held)
            while limit is not None and left >= limit:
                (t, amount), *held = held
                left -= amount
                found[name] = t + (60 if "minute" in name else 3600) - now
        return found


small = st.none() | st.integers(1, 4)
steps = st.lists(
    st.tuples(
        # Eighths of a second are exact as floats, and so are the edges of both windows.
        st.sampled_from([0.0, 0.0, 0.125, 7.5, 30.0, 59.875, 60.0, 1800.0, 3600.0]),
        st.sampled_from([SMITH, BARD]),
        st.sampled_from([ANN, BOB, None]),
        st.none() | st.integers(0, 3),  # tokens that were spent, or a call
    ),
    max_size=60,
)


@given(steps=steps, calls=small, module_calls=small, tokens=small, key_tokens=small)
def test_it_decides_as_one_who_remembers_everything(
    steps: list[tuple[float, str, str | None, int | None]],
    calls: int | None,
    module_calls: int | None,
    tokens: int | None,
    key_tokens: int | None,
) -> None:
    """Each call is let through or refused, and told to wait, as by looking at all that ever happened."""
    limits = Limits(
        calls_per_minute=calls,
        module_calls_per_minute=module_calls,
        tokens_per_hour=tokens,
        key_tokens_per_hour=key_tokens,
    )
    now = [1_000.0]
    limiter, naive = Limiter(limits, lambda: now[-1]), Naive(limits)
    for later, module_id, key, spent in steps:
        now[0] += later
        if spent is not None:
            limiter.spend(key, spent)
            naive.spent.append((now[0], key, spent))
        elif waits := naive.waits(now[0], module_id, key):
            error = refusal(limiter, module_id, key)
            assert waits[error.limit] == error.retry_after == max(waits.values())
        else:
            limiter.admit(module_id, key, {})
            naive.calls.append((now[0], module_id, key))
